"""Runs that still write, with real processes and real locks."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest

from farm_merge.errors import StillWrittenError
from farm_merge.merge import Action, audit, inspect_shard, merge_shards
from farm_merge.merge.inputs.file import look_at
from farm_merge.merge.inputs.running import OpenFiles, with_evidence
from farm_merge.sqlite import file_uri
from tests.conftest import query
from tests.merge.checks import actions
from tests.merge.eras import write
from tests.merge.values import run, source


@pytest.fixture
def live(tmp_path):
    return write(tmp_path / "live.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v)")


@pytest.mark.parametrize("journal_mode", ["DELETE", "WAL"])
def test_a_file_that_is_being_written_is_left_out_and_reported(
    live, writer, tmp_path, journal_mode
):
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


@pytest.mark.parametrize(("journal_mode", "rows"), [("DELETE", 1), ("WAL", 1), ("WAL", 2000)])
def test_what_is_committed_can_be_taken_while_the_run_goes_on(
    live, writer, tmp_path, journal_mode, rows
):
    process = writer(live, journal_mode, rows)
    merge_shards([live], tmp_path / "exp.db", include_running=True, verify="content")
    assert query(tmp_path / "exp.db", "SELECT v FROM t") == [("committed",)]
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"
    # The run went on undisturbed, and what it wrote since is merged when it is asked for.
    merge_shards([live], tmp_path / "exp.db", on_conflict="replace", include_running=True)
    assert query(tmp_path / "exp.db", "SELECT count(*) FROM t") == [(1 + rows,)]


def test_a_run_that_keeps_readers_out_costs_only_itself(
    live, writer, make_shard, tmp_path, monkeypatch
):
    """In rollback mode a transaction that spilled holds everybody off until it ends."""
    monkeypatch.setattr("farm_merge.merge.inputs.snapshot._PATIENCE_SECONDS", 0)
    writer(live, "DELETE", 2000)
    report = merge_shards([live, make_shard("a")], tmp_path / "exp.db", include_running=True)
    (left,) = report.left_out
    assert left.path == live
    assert "keeps readers out" in left.reason
    assert list(actions(report)) == ["a"]


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


# Evidence


IDLE = """
    import sys
    from farm_merge.sqlite import sqlite3
    connection = sqlite3.connect(sys.argv[1], uri=True)
    connection.execute("SELECT * FROM t").fetchall()
    print("open", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def idle(tmp_path):
    """Start a process that has a file open and does nothing."""
    processes = []

    def start(path, mode):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(IDLE), file_uri(path, mode=mode)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout.readline() == "open\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


on_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only /proc knows who has a file open"
)


@on_linux
def test_a_process_that_could_write_a_file_is_evidence(live, idle, tmp_path):
    """A connection that is idle in rollback mode holds no lock."""
    query(live, "INSERT INTO t (v) VALUES ('x')")
    process = idle(live, "rw")
    assert OpenFiles().writer(look_at(live)).startswith(f"process {process.pid} (")
    report = merge_shards([live], tmp_path / "exp.db")
    (left,) = report.left_out
    assert left.reason.startswith(f"its run has not ended: process {process.pid} (")
    report = merge_shards([live], tmp_path / "exp.db", include_running=True)
    assert actions(report) == {"live": Action.COPY}


@on_linux
def test_a_process_that_reads_a_file_is_none(live, idle, tmp_path):
    idle(live, "ro")
    assert OpenFiles().writer(look_at(live)) == ""


SWAPPED = """
    import os, sys
    with open(sys.argv[1], "rb") as read:
        print("open", flush=True)
        sys.stdin.readline()
        os.dup2(os.open(sys.argv[2], os.O_RDWR | os.O_CREAT), read.fileno())
        print("swapped", flush=True)
        sys.stdin.readline()
"""


@on_linux
def test_a_process_that_read_a_file_and_writes_another_is_none(live, tmp_path):
    found, open_files = look_at(live), OpenFiles()
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SWAPPED), live, tmp_path / "other"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "open\n"
        assert open_files.writer(found) == ""  # its descriptors are known now
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "swapped\n"
        assert open_files.writer(found) == ""
        process.kill()


def test_a_file_that_is_open_here_is_no_evidence(live):
    found = look_at(live)
    with live.open("r+b"):
        assert OpenFiles().writer(found) == ""


class Nobody(OpenFiles):
    """No process has anything open."""

    def writer(self, file):
        return ""


class Somebody(OpenFiles):
    """A process has everything open."""

    def writer(self, file):
        return "process 7 (run)"


@pytest.mark.parametrize(
    ("status", "seconds_ago", "open_files", "evidence"),
    [
        ("running", 5, Nobody(), "its status is running, and it wrote "),
        ("running", -5, Nobody(), "its status is running, and it wrote 0 s ago"),
        ("running", 61, Nobody(), ""),
        ("pending", 5, Nobody(), ""),
        (None, 5, Nobody(), ""),
        ("completed", 5, Somebody(), ""),  # one that ended is over, whoever looks at its file
        ("running", 10**6, Somebody(), "process 7 (run) has it open"),
        ("pending", 10**6, Somebody(), "process 7 (run) has it open"),
        (None, 10**6, Somebody(), "process 7 (run) has it open"),
    ],
)
def test_the_word_running_needs_a_write_a_short_time_ago(status, seconds_ago, open_files, evidence):
    written = int((time.time() - seconds_ago) * 1e9)
    found = source(runs=[run(None, status)])
    file = found.file._replace(identity=found.file.identity._replace(mtime_ns=written))
    found = with_evidence(replace(found, file=file), open_files, 60)
    assert found.simulations[0].evidence.startswith(evidence)
    assert bool(found.simulations[0].evidence) == bool(evidence)


def test_a_wal_that_was_written_counts_as_well():
    found = source(runs=[run(None, "running")])
    now = found.file.identity._replace(mtime_ns=time.time_ns())
    file = found.file._replace(companions=((Path("run.db-wal"), now),))
    assert with_evidence(found, Nobody(), 60).simulations[0].evidence == ""
    assert with_evidence(replace(found, file=file), Nobody(), 60).simulations[0].evidence


def test_each_simulation_of_a_file_has_evidence_of_its_own():
    now = int(time.time() * 1e9)
    found = source(runs=[run("a", "running"), run("b")])
    file = found.file._replace(identity=found.file.identity._replace(mtime_ns=now))
    found = with_evidence(replace(found, file=file), Nobody(), 60)
    assert [bool(it.evidence) for it in found.simulations] == [True, False]


def test_a_copy_is_evidence_of_nothing():
    found = source(runs=[run(None, "running")])
    file = found.file._replace(snapshot=Path("copy.db"))
    found = replace(found, file=file)
    assert with_evidence(found, Somebody(), 60) is found


def test_how_long_a_run_has_to_rest_is_the_users_choice(make_shard, tmp_path):
    path = make_shard("a", status="running")
    report = merge_shards([path], tmp_path / "exp.db", settle=0)
    assert actions(report) == {"a": Action.COPY}
    assert report.unfinished == 1
