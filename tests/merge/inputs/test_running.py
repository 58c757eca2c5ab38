"""Runs that still write, with real processes and real locks."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

from farm_merge.errors import StillWrittenError
from farm_merge.merge import Action, audit, inspect_shard, merge_shards
from farm_merge.merge.inputs.file import look_at
from tests.conftest import query
from tests.merge.checks import actions
from tests.merge.eras import write

WRITER = """
    import sys, time
    from farm_merge.sqlite import sqlite3
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    connection.execute("PRAGMA journal_mode = " + sys.argv[2])
    connection.execute("PRAGMA cache_size = 10")
    connection.execute("INSERT INTO t (v) VALUES ('committed')")
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO t (v) VALUES (?)", [("x" * 500,)] * int(sys.argv[3]))
    print("writing", flush=True)
    sys.stdin.readline()
    connection.execute("COMMIT")
    print("done", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def writer(tmp_path):
    """Start a process that stands in the middle of a transaction."""
    processes = []

    def start(path, journal_mode, rows=1):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(path), journal_mode, str(rows)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout.readline() == "writing\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def live(tmp_path):
    return write(tmp_path / "live.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v)")


@pytest.mark.parametrize("journal_mode", ["DELETE", "WAL"])
def test_a_file_that_is_being_written_is_left_out_with_a_word(live, writer, tmp_path, journal_mode):
    process = writer(live, journal_mode)
    with pytest.raises(StillWrittenError):
        look_at(live)
    report = merge_shards([live], tmp_path / "exp.db")
    (left,) = report.left_out
    assert "include_running=True" in left.explained()
    assert not (tmp_path / "exp.db").exists()
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"
    look_at(live)


@pytest.mark.parametrize("journal_mode", ["DELETE", "WAL"])
@pytest.mark.parametrize("rows", [1, 2000])
def test_what_is_committed_can_be_taken_while_the_run_goes_on(
    live, writer, tmp_path, journal_mode, rows
):
    if journal_mode == "DELETE" and rows > 1:
        pytest.skip("a transaction that spilled holds everybody off until it ends")
    process = writer(live, journal_mode, rows)
    merge_shards([live], tmp_path / "exp.db", include_running=True, verify="content")
    assert query(tmp_path / "exp.db", "SELECT v FROM t") == [("committed",)]
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"
    # The run went on undisturbed, and what it wrote since is merged when it is asked for.
    merge_shards([live], tmp_path / "exp.db", on_conflict="replace", include_running=True)
    assert query(tmp_path / "exp.db", "SELECT count(*) FROM t") == [(1 + rows,)]


@pytest.mark.parametrize("journal_mode", ["DELETE", "WAL"])
@pytest.mark.parametrize("rows", [1, 2000])
def test_a_run_that_was_killed_while_writing_gives_what_it_committed(
    live, writer, tmp_path, journal_mode, rows
):
    process = writer(live, journal_mode, rows)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    found = inspect_shard(live)
    assert found.contents.row_counts == ({"t": 1},)
    merge_shards([live], tmp_path / "out" / "exp.db", verify="content")
    assert query(tmp_path / "out" / "exp.db", "SELECT v FROM t") == [("committed",)]
    assert audit(tmp_path / "out" / "exp.db", [live]).problems == ()
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_run_that_has_not_ended_is_left_out_unless_asked_for(make_shard, tmp_path):
    running, done = make_shard("a", status="running"), make_shard("b")
    report = merge_shards([running, done], tmp_path / "exp.db")
    assert [left.path for left in report.left_out] == [running]
    report = merge_shards([running, done], tmp_path / "exp.db", include_running=True)
    assert actions(report)["a"] is Action.COPY
