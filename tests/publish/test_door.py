"""What is new appears whole, durably, and never over something else."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from farm_merge.errors import OutputError
from farm_merge.publish import locked, new_folder, new_output, publish_new, replacing, workshop
from tests.conftest import query
from tests.publish.checks import enter, fail_in, names, never


@contextmanager
def making(output):
    with locked(output, never), workshop(output) as folder, new_output(output, folder) as partial:
        yield partial


def no_links(*_, **__):
    raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))


# A new output


def test_a_new_output_appears_when_it_is_whole(tmp_path):
    output = tmp_path / "exp.db"
    with making(output) as partial:
        assert not partial.exists()
        partial.write_text("whole")
        assert not output.exists()
    assert output.read_text() == "whole"
    assert names(tmp_path) == ["exp.db"]


def test_a_new_output_that_fails_is_none(tmp_path):
    with pytest.raises(ZeroDivisionError):
        fail_in(making(tmp_path / "exp.db"))
    assert names(tmp_path) == []


def test_a_new_output_replaces_nothing(tmp_path):
    output = tmp_path / "exp.db"

    def make():
        with making(output) as partial:
            partial.write_text("ours")
            output.write_text("theirs")

    with pytest.raises(OutputError, match="appeared while it was being made") as caught:
        make()
    assert "to extend it" in caught.value.remedy
    assert output.read_text() == "theirs"
    assert names(tmp_path) == ["exp.db"]


# A new folder


def test_a_new_folder_appears_when_it_is_full(tmp_path):
    folder = tmp_path / "out" / "parts"
    with new_folder(folder) as partial:
        (partial / "a").touch()
        assert not folder.exists()
    assert names(folder) == ["a"]
    assert names(folder.parent) == ["parts"]


def test_a_folder_that_is_empty_is_filled(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    with new_folder(folder) as partial:
        (partial / "a").touch()
    assert names(folder) == ["a"]


@pytest.mark.parametrize("what", ["a full folder", "a file"])
def test_what_is_there_already_is_not_touched(tmp_path, what):
    folder = tmp_path / "parts"
    if what == "a file":
        folder.write_text("mine")
    else:
        folder.mkdir()
        (folder / "mine").touch()
    with pytest.raises(OutputError, match="is there already, and not empty"):
        enter(new_folder(folder))
    assert names(tmp_path) == ["parts"]
    assert what == "a file" or names(folder) == ["mine"]


def test_a_folder_that_fails_is_none(tmp_path):
    with pytest.raises(ZeroDivisionError):
        fail_in(new_folder(tmp_path / "parts"), "a")
    assert names(tmp_path) == []


def test_a_folder_has_one_writer(tmp_path):
    folder = tmp_path / "parts"
    with new_folder(folder) as partial:
        (partial / "a").touch()
        with pytest.raises(OutputError, match=f"is being written by process {os.getpid()} on "):
            enter(new_folder(folder))
        assert names(partial) == ["a"]
    assert names(folder) == ["a"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written") as caught:
        enter(new_folder(tmp_path / "file" / "parts"))
    assert caught.value.path == tmp_path / "file" / "parts"


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_nothing_appears_beside_what_sqlite_would_replay_over_it(tmp_path, suffix, when):
    output, stray = tmp_path / "exp.db", tmp_path / f"exp.db{suffix}"
    if when == "before":
        stray.touch()

    def make():
        with making(output) as partial:
            partial.write_text("ours")
            stray.touch()

    with pytest.raises(OutputError, match="is there without its database") as caught:
        make()
    assert caught.value.path == stray
    assert names(tmp_path) == [stray.name]


def test_what_is_there_is_found_before_the_work(tmp_path):
    (tmp_path / "exp.db").touch()
    with pytest.raises(OutputError, match="is there already"):
        enter(making(tmp_path / "exp.db"))


# A file system without hard links


def test_without_hard_links_a_file_is_renamed(tmp_path, monkeypatch):
    monkeypatch.setattr("farm_merge.publish.door.os.link", no_links)
    with making(tmp_path / "exp.db") as partial:
        partial.write_text("whole")
    assert (tmp_path / "exp.db").read_text() == "whole"
    assert names(tmp_path) == ["exp.db"]


def test_without_hard_links_nothing_is_replaced_either(tmp_path, monkeypatch):
    monkeypatch.setattr("farm_merge.publish.door.os.link", no_links)
    with workshop(tmp_path / "exp.db") as folder:
        (folder / "partial").write_text("ours")
        (tmp_path / "exp.db").write_text("theirs")
        with pytest.raises(OutputError, match="appeared while it was being made"):
            publish_new(folder / "partial", tmp_path / "exp.db")
    assert (tmp_path / "exp.db").read_text() == "theirs"


# A file that takes another's place


def test_a_file_is_replaced_when_its_successor_is_whole(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<!doctype html> old")
    with pytest.raises(ZeroDivisionError):
        fail_in(replacing(page))
    assert page.read_text() == "<!doctype html> old"
    with replacing(page) as partial:
        partial.write_text("<!doctype html> new")
        assert page.read_text() == "<!doctype html> old"
    assert page.read_text() == "<!doctype html> new"
    assert names(tmp_path) == ["page.html"]


@pytest.mark.parametrize("kind", ["database", "text", "folder", "pipe", "device", "loop"])
def test_nothing_but_an_older_one_is_replaced(tmp_path, kind):
    place = Path(os.devnull) if kind == "device" else tmp_path / "precious"
    if kind == "database":
        query(place, "CREATE TABLE t (a)")
    elif kind == "text":
        place.write_text("precious")
    elif kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "loop":
        place.symlink_to(place)
    before = os.lstat(place)
    with pytest.raises(OutputError, match="something else"), replacing(place) as partial:
        partial.write_text("<!doctype html>")
    assert os.lstat(place) == before
    assert {*names(tmp_path)} <= {"precious"}


@pytest.mark.parametrize("there", [None, "", "<!doctype html> old"])
def test_a_link_leads_to_what_is_replaced(tmp_path, there):
    (tmp_path / "link").symlink_to("page.html")
    if there is not None:
        (tmp_path / "page.html").write_text(there)
    with replacing(tmp_path / "link") as partial:
        partial.write_text("<!doctype html> new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "page.html").read_text() == "<!doctype html> new"


def test_no_name_beside_it_is_written_to(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / ".page.html.partial").symlink_to(tmp_path / "victim")
    with replacing(tmp_path / "page.html") as partial:
        partial.write_text("new")
    assert (tmp_path / "victim").read_text() == "precious"


# What is published is on the disk


@pytest.fixture
def synced(monkeypatch):
    """The inodes that were synced."""
    found, fsync = set(), os.fsync

    def note(descriptor):
        found.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr("farm_merge.publish.door.os.fsync", note)
    return found


def test_a_file_and_its_folder_are_synced(tmp_path, synced):
    with making(tmp_path / "exp.db") as partial:
        partial.write_text("whole")
    assert {(tmp_path / "exp.db").stat().st_ino, tmp_path.stat().st_ino} <= synced


def test_all_of_a_folder_is_synced(tmp_path, synced):
    folder = tmp_path / "parts"
    with new_folder(folder) as partial:
        (partial / "deep").mkdir()
        (partial / "deep" / "a").touch()
    wanted = {path.stat().st_ino for path in (tmp_path, folder, *folder.rglob("*"))}
    assert wanted <= synced


@pytest.mark.parametrize("suffix", ["-wal", "-journal"])
def test_a_file_of_which_some_is_beside_it_does_not_appear(tmp_path, suffix):
    """As a database whose WAL a full disk kept SQLite from emptying."""

    def make():
        with making(tmp_path / "exp.db") as partial:
            partial.write_text("most of it")
            partial.with_name(f"partial{suffix}").write_text("the rest")

    with pytest.raises(OutputError, match=f"some of it is in its {suffix}"):
        make()
    assert names(tmp_path) == []
