"""A new file appears whole or not at all; an existing one grows by transactions."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading

import pytest

from farm_merge.errors import OutputError
from farm_merge.merge import merge_shards
from farm_merge.publish import (
    existing_output,
    file_name,
    locked,
    new_folder,
    new_output,
    read_output,
    require_experiment,
    require_usable,
    settle_output,
    workshop,
)
from farm_merge.schema import SHARD_MARK
from farm_merge.sqlite import sqlite3
from tests.conftest import as_nobody, query


def test_an_output_of_another_schema_is_refused_and_stays(make_shard, tmp_path):
    output = tmp_path / "exp.db"
    query(output, "CREATE TABLE precious (x)")
    before = output.read_bytes()
    with pytest.raises(OutputError, match=r"NEW\.db"):
        merge_shards([make_shard("a")], output)
    assert output.read_bytes() == before


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def never(_):
    raise AssertionError


def fail_in(context, *made):
    """Make files in a context, or one at its path, and fail."""
    with context as path:
        for name in made:
            (path / name).touch()
        raise ZeroDivisionError


def enter(context):
    with context:
        raise AssertionError


# The lock


def test_a_lock_is_held_and_leaves_nothing(tmp_path):
    output = tmp_path / "new" / "folder" / "exp.db"
    with locked(output, never):
        assert names(output.parent) == [".exp.db.merge-lock"]
        text = (output.parent / ".exp.db.merge-lock").read_text()
        assert text == f"process {os.getpid()} on {platform.node()}"
    assert names(output.parent) == []


def test_who_waits_learns_for_whom_and_goes_on_then(tmp_path):
    output, waiting, order = tmp_path / "exp.db", threading.Event(), []

    def second():
        with locked(output, lambda holder: (order.append(holder), waiting.set())):
            order.append("second")

    with locked(output, never):
        thread = threading.Thread(target=second)
        thread.start()
        assert waiting.wait(30)
        order.append("first")
    thread.join(30)
    assert order == [f"process {os.getpid()} on {platform.node()}", "first", "second"]
    assert names(tmp_path) == []


def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path):
    script = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom farm_merge.publish import locked\n"
        "with locked(Path(sys.argv[1]), print):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    output = tmp_path / "exp.db"
    assert subprocess.run([sys.executable, "-c", script, output], check=False).returncode == -9
    assert names(tmp_path) == [".exp.db.merge-lock"]
    with locked(output, never):
        pass
    assert names(tmp_path) == []


def test_a_folder_that_may_not_be_written_is_named(public):
    public.chmod(0o555)
    with as_nobody(), pytest.raises(OutputError, match="its folder cannot be written to"):
        enter(locked(public / "exp.db", never))
    (public / "file").touch()
    with pytest.raises(OutputError, match="its folder cannot be written to"):
        enter(locked(public / "file" / "exp.db", never))


def test_a_workshop_is_empty_and_gone_afterwards(tmp_path):
    output = tmp_path / "exp.db"
    left = tmp_path / ".exp.db.work" / "deep"
    left.mkdir(parents=True)
    (left / "old").touch()
    with workshop(output) as folder:
        assert names(folder) == []
    with pytest.raises(ZeroDivisionError):
        fail_in(workshop(output), "new")
    assert names(tmp_path) == []


def test_a_workshop_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / ".exp.db.work").touch()
    with pytest.raises(OutputError, match="cannot be made"), workshop(tmp_path / "exp.db"):
        pass


# What an output may be


def test_nothing_and_an_experiment_database_can_be_the_output(make_shard, tmp_path):
    require_usable(tmp_path / "exp.db")
    merge_shards([make_shard("a")], tmp_path / "exp.db")
    require_usable(tmp_path / "exp.db")
    (tmp_path / "link.db").symlink_to("exp.db")
    require_usable(tmp_path / "link.db")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.mkdir(), "not a regular file"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.write_text("nothing"), "not an experiment database of today's schema"),
        (lambda path: path.symlink_to("nowhere"), "is a link that points nowhere"),
        (lambda path: path.touch(), "not an experiment database"),
    ],
)
def test_what_is_something_else_cannot_be_the_output(tmp_path, make, reason):
    output = tmp_path / "exp.db"
    make(output)
    with pytest.raises(OutputError, match=reason) as caught:
        require_usable(output)
    assert caught.value.path == output


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_a_companion_without_its_database_is_named(make_shard, tmp_path, suffix):
    stray = tmp_path / f"exp.db{suffix}"
    stray.touch()
    with pytest.raises(OutputError, match="is there without its database") as caught:
        require_usable(tmp_path / "exp.db")
    assert caught.value.path == stray
    stray.unlink()
    merge_shards([make_shard("a")], tmp_path / "exp.db")
    (tmp_path / "exp.db-shm").touch()
    require_usable(tmp_path / "exp.db")


# A new output


def test_a_new_output_appears_when_it_is_whole(tmp_path):
    output = tmp_path / "exp.db"
    (tmp_path / ".exp.db.partial").write_text("what a killed merge left")
    with new_output(output) as partial:
        assert not partial.exists()
        partial.write_text("whole")
        assert not output.exists()
    assert output.read_text() == "whole"
    assert names(tmp_path) == ["exp.db"]


def test_a_new_output_that_fails_is_none(tmp_path):
    with pytest.raises(ZeroDivisionError):
        fail_in(new_output(tmp_path / "exp.db"), ".")
    assert names(tmp_path) == []


def test_a_new_output_replaces_nothing(tmp_path):
    output = tmp_path / "exp.db"

    def make():
        with new_output(output) as partial:
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


# An output that is there


@pytest.fixture
def output(make_shard, tmp_path):
    merge_shards([make_shard("a")], tmp_path / "exp" / "exp.db")
    return tmp_path / "exp" / "exp.db"


def test_an_output_that_is_read_cannot_be_written(output):
    with read_output(output) as connection:
        assert connection.execute("SELECT count(*) FROM agents").fetchone() == (3,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM agents")
    assert query(output, "SELECT count(*) FROM agents") == [(3,)]


def test_an_output_that_grows_is_in_wal_mode_and_one_file_afterwards(output):
    with existing_output(output) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.execute("DELETE FROM agents")
        assert "exp.db-wal" in names(output.parent)
    assert names(output.parent) == ["exp.db"]
    assert query(output, "PRAGMA journal_mode") == [("delete",)]


def test_the_file_has_everything_though_a_reader_keeps_it_in_wal_mode(output, tmp_path):
    with read_output(output) as reader:
        with existing_output(output) as connection:
            connection.execute("DELETE FROM agents")
            assert reader.execute("SELECT count(*) FROM agents").fetchone() == (0,)
        assert (output.parent / "exp.db-wal").stat().st_size == 0
        subprocess.run(["cp", output, tmp_path / "copy.db"], check=True)
    assert query(tmp_path / "copy.db", "SELECT count(*) FROM agents") == [(0,)]


def test_what_a_killed_merge_left_becomes_one_file(output):
    script = (
        "import os, signal, sys\nfrom pathlib import Path\n"
        "from farm_merge.publish import existing_output\n"
        "with existing_output(Path(sys.argv[1])) as connection:\n"
        "    connection.execute('DELETE FROM agents')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, output], check=False).returncode == -9
    assert "exp.db-wal" in names(output.parent)
    settle_output(output)
    assert names(output.parent) == ["exp.db"]
    assert query(output, "SELECT count(*) FROM agents") == [(0,)]


def test_an_output_at_rest_is_not_written_to_settle(output):
    before = output.read_bytes(), output.stat().st_mtime_ns
    settle_output(output)
    assert (output.read_bytes(), output.stat().st_mtime_ns) == before


# A shard is no output


def test_a_shard_never_becomes_an_output_by_a_slip(make_shard, tmp_path):
    """As in `farm-merge -o shards/*.db`."""
    first, second = make_shard("a"), make_shard("b")
    before = first.read_bytes()
    with pytest.raises(OutputError, match="is the shard of a simulation") as caught:
        merge_shards([second], first)
    assert f"farm-merge {first} … -o NEW.db" in caught.value.remedy
    assert first.read_bytes() == before
    require_experiment(tmp_path / "new.db")


def test_an_output_of_a_merge_is_one_also_from_before_there_was_a_mark(output):
    require_experiment(output)
    query(output, f"PRAGMA application_id = {SHARD_MARK}")
    require_experiment(output)


def test_the_name_of_a_file_is_a_name_in_its_folder():
    names = ["..", ".", "../x", "a/b", "a b", "x" * 300, "x" * 301, "ä" * 90, ".hidden", "%2E"]
    encoded = [file_name(name) for name in names]
    assert len(set(encoded)) == len(names)
    for name in encoded:
        assert "/" not in name
        assert name not in {".", ".."}
        assert len(name) <= 200
    assert file_name("a b") == "a b"
