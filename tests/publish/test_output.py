"""What an output may be, and how one that is there grows."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from farm_merge.errors import FarmMergeError, OutputError
from farm_merge.merge import audit, merge_shards
from farm_merge.publish import (
    building,
    existing_output,
    read_output,
    require_experiment,
    require_usable,
    settle_output,
    writing,
)
from farm_merge.publish import output as output_module
from farm_merge.read.listing import list_simulations
from farm_merge.schema import SHARD_MARK
from farm_merge.sqlite import sqlite3, transaction
from tests.conftest import as_nobody, query
from tests.publish.checks import names


def test_an_output_of_another_schema_is_refused_and_stays(make_shard, tmp_path):
    output = tmp_path / "exp.db"
    query(output, "CREATE TABLE precious (x)")
    before = output.read_bytes()
    with pytest.raises(OutputError, match=r"NEW\.db"):
        merge_shards([make_shard("a")], output)
    assert output.read_bytes() == before


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


def test_a_half_written_one_that_nobody_may_write_is_explained(make_shard, public):
    output = public / "exp.db"
    merge_shards([make_shard("a")], output)
    grow = "c.execute('CREATE TABLE t AS SELECT randomblob(9000) FROM agents, simulation_steps')"
    killed = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        f" c.execute('PRAGMA cache_size = 1'); c.execute('BEGIN'); {grow}; os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", killed, output], check=False).returncode == -9
    assert output.with_name("exp.db-journal").stat().st_size
    for path in (output, output.with_name("exp.db-journal")):
        path.chmod(0o444)
    public.chmod(0o555)
    words = "SQLite may not undo that here; make the file and its folder writable"
    with as_nobody():
        for look in (audit, list_simulations):
            with pytest.raises(FarmMergeError, match=words):
                look(output)
    public.chmod(0o755)


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


# What is built


def test_what_is_rolled_back_after_it_was_spilled_leaves_the_rest_whole(tmp_path):
    with building(tmp_path / "new.db") as connection:
        connection.execute("CREATE TABLE t (k INTEGER PRIMARY KEY, v) WITHOUT ROWID")
        rows = ((number, "x" * 100) for number in range(1000))
        with transaction(connection):
            connection.executemany("INSERT INTO t VALUES (?, ?)", rows)
        connection.execute("PRAGMA cache_size=10")

        def fail():
            with transaction(connection):
                connection.execute("UPDATE t SET v = 'y' || v")
                connection.execute("DELETE FROM t WHERE k % 3")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*), max(v) FROM t").fetchone() == (1000, "x" * 100)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(5, "Input/output error"), "cannot be written (Input/output error)"),
        (sqlite3.OperationalError("disk is full"), "SQLite cannot write it (disk is full)"),
        (sqlite3.InterfaceError("odd"), "SQLite cannot write it (odd)"),
        (MemoryError(), "there is not enough memory to write it"),
    ],
)
def test_what_a_machine_refuses_is_named_with_the_file(tmp_path, error, reason):
    def fail():
        with writing(tmp_path / "exp.db"):
            raise error

    with pytest.raises(OutputError) as caught:
        fail()
    assert (caught.value.path, caught.value.reason) == (tmp_path / "exp.db", reason)


WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE simulations SET status = 'other'")
print("writes", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
"""


def test_who_writes_an_output_is_waited_for(make_shard, tmp_path, monkeypatch):
    """SQLite would not wait for them when the journal mode changes."""
    database = make_shard("a")
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, database], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    ) as writer:  # fmt: skip
        assert writer.stdout.readline() == "writes\n"

        def wait(connection, mode):
            print("end", file=writer.stdin, flush=True)
            return transaction(connection, mode)

        monkeypatch.setattr(output_module, "transaction", wait, raising=False)
        with existing_output(database) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            statuses = connection.execute("SELECT status FROM simulations").fetchall()
    assert statuses == [("other",)]
