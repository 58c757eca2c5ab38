"""An input as a file: looked at once, and read without leaving a trace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import xxhash

from farm_merge.errors import ShardError, StillWrittenError
from farm_merge.merge import merge_shards
from farm_merge.merge.inputs.file import (
    Identity,
    companions,
    fingerprint,
    has_graftable_pages,
    identify,
    look_at,
    opened,
    require_unchanged,
)
from farm_merge.merge.inputs.snapshot import snapshot as snapshot_of
from farm_merge.sqlite import sqlite3
from tests.conftest import as_nobody, content, query, write_shard
from tests.merge.checks import snapshot
from tests.merge.eras import write, write_nameless
from tests.merge.values import input_file


def test_a_wal_left_by_a_killed_run_is_read_and_its_folder_stays_as_it_was(make_shard, tmp_path):
    shard = make_shard("a", journal_mode="WAL")
    script = (
        "import os, signal, sys\n"
        "from farm_merge.sqlite import sqlite3\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "row = ('a', 'late')\n"
        "connection.execute('INSERT INTO agents (simulation_id, agent_id) VALUES (?, ?)', row)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, shard], check=False).returncode == -9
    assert shard.with_name("a.db-wal").stat().st_size > 0
    before = snapshot(shard.parent)
    merge_shards([shard.parent], tmp_path / "exp.db")
    assert snapshot(shard.parent) == before
    assert query(tmp_path / "exp.db", "SELECT count(*) FROM agents WHERE agent_id='late'") == [(1,)]


def test_a_read_only_folder_of_shards_can_be_merged(public, tmp_path):
    """Nothing is written there, whoever could; and who could not needs not."""
    shard = write_shard(public / "in" / "a.db", "a", journal_mode="WAL")
    merge_shards([shard], tmp_path / "exp.db")
    assert [path.name for path in shard.parent.iterdir()] == ["a.db"]
    shard.chmod(0o444)
    shard.parent.chmod(0o555)
    output = public / "out" / "exp.db"
    output.parent.mkdir()
    output.parent.chmod(0o777)
    try:
        with as_nobody():
            merge_shards([shard], output)
    finally:
        shard.parent.chmod(0o755)
    assert sorted(path.name for path in shard.parent.iterdir()) == ["a.db"]
    assert content(output) == content(shard)


def test_a_hot_journal_left_by_a_killed_run_is_rolled_back_elsewhere(make_shard, tmp_path):
    shard = make_shard("a", steps=2000)
    expected = content(shard)
    script = (
        "import os, signal, sys\n"
        "from farm_merge.sqlite import sqlite3\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA cache_size = 5')\n"
        "connection.execute('BEGIN')\n"
        "connection.execute('UPDATE agent_states SET position_x = -1')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, shard], check=False).returncode == -9
    assert shard.with_name("a.db-journal").stat().st_size > 0
    before = snapshot(shard.parent)
    merge_shards([shard], tmp_path / "exp.db")
    assert snapshot(shard.parent) == before
    assert content(tmp_path / "exp.db") == expected


def test_a_shard_that_this_process_has_open_is_refused(make_shard, tmp_path):
    shard = make_shard("a")
    connection = sqlite3.connect(str(shard))
    connection.execute("SELECT * FROM agents").fetchone()
    with pytest.raises(ShardError, match="open in this process"):
        merge_shards([shard], tmp_path / "exp.db")
    connection.close()


# The parts of it


@pytest.fixture
def file(tmp_path):
    return write_nameless(tmp_path / "run.db", 1)


def test_a_look_finds_which_file_it_is_and_what_is_in_its_header(file):
    found, status = look_at(file), file.stat()
    assert found.path == found.readable_path == file
    assert found.identity == Identity(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    )
    assert found.header.page_size == 4096
    assert not found.header.is_utf16
    assert found.companions == ()
    require_unchanged(found)


def test_numbers_that_sqlite_cannot_store_are_folded(file):
    """Times after 2262, as some file systems have them."""
    os.utime(file, ns=(0, 2**63 - 1))
    assert identify(file).mtime_ns == 2**63 - 1
    try:
        os.utime(file, (0, 2**33))
    except OverflowError:
        pytest.skip("the file system has no such times")
    assert -(2**63) <= identify(file).mtime_ns < 2**63


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file"),
        (lambda path: path.touch(), "empty"),
        (lambda path: path.mkdir(), "not a regular file"),
        (os.mkfifo, "not a regular file"),
        (lambda path: path.symlink_to("nowhere"), "a link that points nowhere"),
        (lambda path: path.symlink_to(path.name), "cannot be looked at (Too many levels"),
        (lambda path: path.write_bytes(b"x" * 200), "not a SQLite database"),
        (lambda path: path.write_bytes(b"SQLite format 3\0"), "a SQLite database"),
    ],
)
def test_what_is_no_database_is_named(tmp_path, make, reason):
    path = tmp_path / "odd.db"
    make(path)
    with pytest.raises(ShardError) as caught:
        look_at(path)
    assert caught.value.reason.startswith(reason)
    assert caught.value.path == path


def test_a_file_in_a_closed_folder_is_named_with_the_reason(public):
    path = write_nameless(public / "closed" / "run.db", 1)
    path.parent.chmod(0)
    with as_nobody(), pytest.raises(ShardError, match="Permission denied") as caught:
        identify(path)
    assert caught.value.path == path


def test_a_file_that_may_not_be_read_is_named_with_the_reason(public):
    path = write_nameless(public / "run.db", 1)
    found = look_at(path)
    path.chmod(0)
    with as_nobody():
        for read in (lambda: look_at(path), lambda: fingerprint(found)):
            with pytest.raises(ShardError, match="Permission denied"):
                read()


def test_companions_count_where_they_hold_anything(file):
    wal, journal = (file.with_name(f"run.db{suffix}") for suffix in ("-wal", "-journal"))
    wal.touch()
    assert companions(file) == ()
    file.with_name("run.db-shm").write_bytes(b"x")
    wal.write_bytes(b"x")
    journal.write_bytes(b"y")
    assert companions(file) == ((wal, identify(wal)), (journal, identify(journal)))
    wal.unlink()
    wal.mkdir()
    with pytest.raises(ShardError, match="not a regular file"):
        companions(file)


@pytest.mark.parametrize("change", ["bytes", "time", "another", "gone", "wal"])
def test_a_file_that_changed_is_noticed(file, change):
    found = look_at(file)
    if change == "bytes":
        query(file, "UPDATE t SET v = 2")
    elif change == "time":
        os.utime(file, ns=(1, 1))
    elif change == "another":
        copy = file.with_name("copy")
        shutil.copy2(file, copy)
        copy.rename(file)
    elif change == "gone":
        file.unlink()
    else:
        file.with_name("run.db-wal").write_bytes(b"x")
    reason = "no such file" if change == "gone" else "changed after it was inspected"
    with pytest.raises(ShardError, match=reason):
        require_unchanged(found)


def test_a_fingerprint_is_of_all_that_is_read(file):
    found = look_at(file)
    whole = file.read_bytes()
    assert fingerprint(found) == xxhash.xxh3_128_hexdigest(whole)
    file.with_name("run.db-wal").write_bytes(b"more")
    assert fingerprint(found) == xxhash.xxh3_128_hexdigest(whole + b"more")


def test_what_is_committed_is_read_from_a_copy(live):
    """A snapshot is what a reader saw; what is committed later is not in it."""
    path, writer = live
    found = snapshot_of(path, path.with_name("copy.db"))
    writer.execute("INSERT INTO t VALUES (2, 'later')")
    assert found.readable_path == path.with_name("copy.db")
    assert query(found.readable_path, "SELECT v FROM t") == [("first",)]
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("INSERT INTO t VALUES (3, 'not committed')")
    again = snapshot_of(path, path.with_name("again.db"))
    assert query(again.readable_path, "SELECT count(*) FROM t") == [(2,)]
    require_unchanged(found)  # its run goes on, and that does not matter
    with pytest.raises(ShardError, match="changed"):
        require_unchanged(found._replace(snapshot=None))


@pytest.fixture
def live(tmp_path):
    """A file in WAL mode with a connection that writes it."""
    path = write(tmp_path / "live.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v)",
                 "INSERT INTO t VALUES (1, 'first')")  # fmt: skip
    with closing(sqlite3.connect(str(path), isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        yield path, writer


def test_a_snapshot_of_a_damaged_file_is_refused_by_its_name(file):
    data = bytearray(file.read_bytes())
    data[16:18] = b"\x00\x03"  # a size that no page has
    file.write_bytes(data)
    with pytest.raises(ShardError, match="SQLite cannot read it") as caught:
        snapshot_of(file, file.with_name("copy.db"))
    assert caught.value.path == file


def test_a_run_that_keeps_readers_out_for_good_is_left_alone(file, monkeypatch):
    monkeypatch.setattr("farm_merge.merge.inputs.snapshot._PATIENCE_SECONDS", 0)
    with closing(sqlite3.connect(str(file), isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StillWrittenError, match="keeps readers out"):
            snapshot_of(file, file.with_name("copy.db"))


def test_what_sqlite_cannot_read_is_named(file):
    found = look_at(file)
    data = bytearray(file.read_bytes())
    data[100:108] = b"\xff" * 8  # the first page of the schema
    file.write_bytes(data)
    with (
        pytest.raises(ShardError, match="SQLite cannot read it") as caught,
        opened(found) as source,
    ):
        source.execute("SELECT * FROM source.t")
    assert caught.value.path == file


def test_an_input_can_only_be_read(file):
    with opened(look_at(file)) as source, pytest.raises(sqlite3.OperationalError):
        source.execute("DELETE FROM source.t")
    assert [path.name for path in file.parent.iterdir()] == ["run.db"]


@pytest.mark.parametrize(
    ("change", "graftable"),
    [
        ({}, True),
        ({"size": 4096}, False),  # the header claims two pages
        ({"reserved": 8}, False),
        ({"auto_vacuum": True}, False),
        ({"encoding": 2}, False),
        ({"schema_format": 1}, False),
        ({"snapshot": Path("copy")}, False),
        ({"companions": ((Path("x-wal"), Identity(1, 1, 1, 1, 1)),)}, False),
    ],
)
def test_pages_are_copied_of_files_that_this_sqlite_could_have_made(change, graftable):
    found = input_file()
    if size := change.pop("size", None):
        found = found._replace(identity=found.identity._replace(size_bytes=size))
    of_file = {name: change.pop(name) for name in ("snapshot", "companions") if name in change}
    found = found._replace(header=found.header._replace(**change), **of_file)
    assert has_graftable_pages(found) == graftable


def test_a_file_that_takes_more_work_than_its_size_explains_is_refused(file, monkeypatch):
    monkeypatch.setattr("farm_merge.merge.inputs.file._MOST_STEPS", 5_000_000)
    counting = "WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < {}) SELECT count(*) FROM t"
    with opened(look_at(file)) as connection:
        connection.execute(counting.format(1000)).fetchall()
    with (
        pytest.raises(ShardError, match=r"SQLite cannot read it \(interrupted\)"),
        opened(look_at(file)) as connection,
    ):
        connection.execute(counting.format(10**9)).fetchall()
