"""From what a user names to the files that are meant, and what is not taken with the reason."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from farm_merge.errors import OutputError
from farm_merge.merge.inputs.find import find_inputs, is_database
from tests.conftest import as_nobody
from tests.merge.eras import write_nameless


@pytest.fixture
def folder(tmp_path):
    """A folder to search, beside nothing else."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def database(tmp_path):
    return write_nameless(tmp_path / "a.db", 1)


def put(database, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(database, path))


def reasons(found):
    return {path.name: error.reason for path, error in found.others.items()}


def test_a_folder_is_searched_through_and_through_in_a_stable_order(folder, database):
    wanted = [put(database, folder / name) for name in ("b.db", "z.db", "c/a.db", "c/d/a.db")]
    found = find_inputs([folder])
    assert found.files == tuple(wanted)
    assert found.searched == set(wanted)
    assert found.others == found.links == {}


def test_what_starts_like_a_database_is_one_whatever_it_is_called(folder, database):
    named = put(database, folder / "simulation.0001")
    (folder / "notes.txt").write_text("SQLite format 4")
    (folder / "short.bin").write_bytes(b"SQLite")
    assert find_inputs([folder]).files == (named,)


@pytest.mark.parametrize("name", ["empty.db", "text.SQLITE", "x.s3db", "y.db.gz"])
def test_what_is_called_like_a_database_is_meant_as_one(folder, name):
    (folder / name).write_bytes(b"" if name == "empty.db" else b"nothing of the kind")
    assert find_inputs([folder]).files == (folder / name,)


def test_what_is_named_is_meant_whatever_it_is(folder, tmp_path):
    odd = tmp_path / "odd.txt"
    odd.write_text("x")
    found = find_inputs([odd, tmp_path / "missing.db", tmp_path / "no*thing.db"])
    assert [path.name for path in found.files] == ["odd.txt", "missing.db", "no*thing.db"]
    assert found.searched == frozenset()


def test_patterns_match_files_and_folders(folder, database):
    put(database, folder / "x1" / "a.db")
    put(database, folder / "x2" / "deep" / "b.db")
    put(database, folder / "y" / "c.db")
    found = find_inputs([folder / "x*", f"{folder}/**/c.db"])
    assert [path.name for path in found.files] == ["a.db", "b.db", "c.db"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(folder, database):
    odd = put(database, folder / "a[1].db")
    put(database, folder / "a1.db")
    assert find_inputs([odd]).files == (odd,)


def test_a_file_is_an_input_once_under_its_own_name(folder, database):
    real = put(database, folder / "z" / "real.db")
    link = folder / "a.db"
    link.symlink_to(real)
    for paths in ([folder], [link, real], [real, link]):
        found = find_inputs(paths)
        assert found.files == (real,)
        assert found.links == {link: real}
    found = find_inputs([real, folder / "z" / ".." / "z" / "real.db", real])
    assert found.files == (real,)


def test_links_to_folders_are_followed_and_cycles_end(folder, database, tmp_path):
    elsewhere = put(database, tmp_path / "elsewhere" / "a.db")
    (folder / "link").symlink_to(elsewhere.parent)
    (elsewhere.parent / "back").symlink_to(folder)
    found = find_inputs([folder])
    assert found.files == (folder / "link" / "a.db",)


def test_hidden_databases_are_named_and_not_taken(folder, database):
    put(database, folder / ".hidden.db")
    (folder / ".notes").write_text("x")
    found = find_inputs([folder])
    assert found.files == ()
    assert reasons(found) == {".hidden.db": "is hidden"}
    assert find_inputs([folder / ".hidden.db"]).files == (folder / ".hidden.db",)


def test_companions_are_no_inputs_but_named_where_they_are_alone(folder, database):
    put(database, folder / "a.db")
    for name in ("a.db-wal", "b.db-wal", "c.db-journal", "d.db-shm"):
        (folder / name).write_bytes(b"frames")
    (folder / "e.db-wal").touch()
    found = find_inputs([folder, folder / "b.db-wal"])
    assert found.files == (folder / "a.db",)
    assert reasons(found) == dict.fromkeys(
        ("b.db-wal", "c.db-journal"), "is there without its database"
    )


def test_databases_of_other_kinds_are_named_and_other_files_are_not(folder):
    (folder / "old.data").write_bytes(
        b"** This file contains an SQLite 2.1 database **" + bytes(90)
    )
    (folder / "duck.data").write_bytes(bytes(8) + b"DUCK" + bytes(90))
    (folder / "table.parquet").write_bytes(b"PAR1" + bytes(90))
    found = find_inputs([folder])
    assert found.files == ()
    assert reasons(found) == {
        "old.data": "is a SQLite 2 database",
        "duck.data": "is a DuckDB database",
    }
    assert all(error.remedy for error in found.others.values())


def test_the_output_is_never_an_input(folder, database):
    output = put(database, folder / "exp.db")
    put(database, folder / "a.db")
    (folder / "link.db").symlink_to(output)
    ours = [folder / ".exp.db.partial", folder / ".exp.db.a.work" / "x.db"]
    others = [folder / ".other.db.b.work" / name for name in ("lock", "partial", "x.db")]
    for path in (*ours, *others):
        put(database, path)
    found = find_inputs([folder], output=output)
    assert found.files == (folder / "a.db",)
    assert found.others == {}
    for named in (output, folder / "link.db", folder / "*.db"):
        with pytest.raises(OutputError, match="is the output, and named among the inputs"):
            find_inputs([folder / "a.db", named], output=output)
    # What is not certainly a merge's is somebody's.
    found = find_inputs([folder], output=folder / "another.db")
    assert reasons(found) == {".exp.db.partial": "is hidden"}
    assert {*found.files} == {folder / ".exp.db.a.work" / "x.db", folder / "a.db", output}


def test_a_packed_file_is_a_database_by_what_it_holds(folder, database):
    for name, data in (("good", database.read_bytes()), ("text", b"not at all")):
        (folder / f"{name}.gz").write_bytes(gzip.compress(data))
    (folder / "torn.gz").write_bytes(gzip.compress(database.read_bytes())[:30])
    assert [path.name for path in find_inputs([folder]).files] == ["good.gz"]
    assert not is_database(folder / "torn.gz")


def test_what_is_no_file_is_passed_over(folder, database):
    os.mkfifo(folder / "pipe")
    (folder / "dead").symlink_to(folder / "nowhere")
    assert find_inputs([folder]).files == ()
    assert not is_database(folder / "pipe")
    assert not is_database(folder / "nowhere")


def test_a_folder_that_cannot_be_searched_is_named(public, database):
    put(database, public / "open" / "a.db")
    put(database, public / "closed" / "b.db")
    (public / "closed").chmod(0)
    with as_nobody():
        found = find_inputs([public])
    assert [path.name for path in found.files] == ["a.db"]
    assert reasons(found) == {"closed": "cannot be searched (Permission denied)"}


def test_a_name_of_any_bytes_is_found(folder, database):
    name = os.fsencode(folder) + b"/run\xff.db"
    Path(os.fsdecode(name)).write_bytes(database.read_bytes())
    assert [os.fsencode(path) for path in find_inputs([folder]).files] == [name]
