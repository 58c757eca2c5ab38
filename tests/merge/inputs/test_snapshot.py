"""A copy of a database is what one commit left; nobody waits long for it, or is waited for."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from farm_merge.errors import ShardError, StillWrittenError
from farm_merge.merge.inputs.file import fingerprint, look_at
from farm_merge.merge.inputs.inspect import inspect_file
from farm_merge.merge.inputs.running import OpenFiles
from farm_merge.merge.inputs.snapshot import at_rest, held, snapshot
from farm_merge.merge.options import Options
from farm_merge.sqlite import connect
from tests.conftest import query
from tests.merge.eras import write


@pytest.fixture
def path(tmp_path):
    """A database that nobody has written for an hour."""
    found = write(tmp_path / "run.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v)")
    an_hour_ago = time.time() - 3600
    os.utime(found, (an_hour_ago, an_hour_ago))
    return found


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "private").mkdir()
    return tmp_path / "private"


def test_a_database_at_rest_is_read_where_it_is(path, folder):
    with at_rest(path, folder, OpenFiles()) as place:
        assert place == path
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("seconds", [0, 1])
def test_one_that_was_written_just_now_is_copied(path, folder, seconds):
    """A second write within one tick of the clock would not be noticed; whole seconds are coarse."""
    now = time.time() if not seconds else int(time.time()) - seconds
    os.utime(path, (now, now))
    with at_rest(path, folder, OpenFiles()) as place:
        assert place != path
        assert query(place, "SELECT name FROM sqlite_schema") == [("t",)]


@pytest.mark.parametrize("journal_mode", ["DELETE", "WAL"])
def test_one_that_a_process_may_write_is_copied_as_it_is_committed(
    path, folder, writer, journal_mode
):
    process = writer(path, journal_mode)
    an_hour_ago = time.time() - 3600
    os.utime(path, (an_hour_ago, an_hour_ago))
    with at_rest(path, folder, OpenFiles()) as place:
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "done\n"
        assert query(place, "SELECT v FROM t") == [("committed",)]


def test_one_that_changes_all_the_same_is_named(path, folder):
    def read():
        with at_rest(path, folder, OpenFiles()):
            query(path, "INSERT INTO t VALUES (1, 'late')")

    with pytest.raises(ShardError, match=r"run\.db: changed while it was read; run it again"):
        read()


def test_the_bytes_of_one_in_wal_mode_are_never_held(path):
    query(path, "PRAGMA journal_mode = WAL")
    with pytest.raises(StillWrittenError), held(path):
        pass


def test_while_bytes_are_held_nobody_commits(path):
    script = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)\n"
        "try:\n"
        "    connection.execute('INSERT INTO t VALUES (1, 2)')\n"
        "except sqlite3.OperationalError as exc:\n"
        "    print(exc)\n"
    )
    write_once = [sys.executable, "-c", script, str(path)]
    with held(path) as file:
        before = file.read()
        done = subprocess.run(write_once, check=True, capture_output=True, text=True)
        assert done.stdout == "database is locked\n"
        file.seek(0)
        assert file.read() == before
    assert subprocess.run(write_once, check=True, capture_output=True, text=True).stdout == ""


@pytest.mark.parametrize("seconds", [-3600, 0, 3600])
def test_nothing_is_left_beside_one_that_rests_in_wal_mode(path, folder, seconds):
    """SQLite makes a WAL and its index beside it only to read it."""
    query(path, "PRAGMA journal_mode=WAL")
    query(path, "INSERT INTO t (v) VALUES ('committed')")
    os.utime(path, (time.time() + seconds,) * 2)
    before = sorted(path.parent.iterdir())
    copy = snapshot(path, folder / "copy.db").readable_path
    assert query(copy, "SELECT v FROM t") == [("committed",)]
    assert sorted(path.parent.iterdir()) == before


def test_one_that_is_opened_while_it_is_copied_is_copied_anew(path, folder, monkeypatch):
    query(path, "PRAGMA journal_mode=WAL")
    query(path, "INSERT INTO t (v) VALUES ('before')")
    opened = []

    def connect_late(*arguments, **how):
        connection = connect(*arguments, **how)
        if not opened:  # another connects, and commits, before a byte is read
            opened.append(connect(path.as_uri()))
            opened[0].execute("INSERT INTO t (v) VALUES ('meanwhile')")
        return connection

    monkeypatch.setattr("farm_merge.merge.inputs.snapshot.connect", connect_late)
    copy = snapshot(path, folder / "copy.db").readable_path
    assert query(copy, "SELECT v FROM t") == [("before",), ("meanwhile",)]
    opened[0].close()


def test_what_a_run_commits_after_it_was_copied_is_not_read(path, folder):
    query(path, "INSERT INTO t (v) VALUES ('before')")
    taken = snapshot(path, folder / "copy.db")
    query(path, "INSERT INTO t (v) VALUES ('afterwards')")
    found = inspect_file(taken, Options())
    assert found.path == path
    assert found.contents.row_counts == ({"t": 1},)
    assert found.contents.fingerprint == fingerprint(look_at(folder / "copy.db"))


def test_a_database_that_sqlite_cannot_copy_is_named(path, folder):
    """Its header is that of a database, and behind it is less than it claims."""
    query(path, "INSERT INTO t (v) VALUES (zeroblob(20000))")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ShardError, match="SQLite cannot read it") as caught:
        snapshot(path, folder / "copy.db")
    assert caught.value.path == path
