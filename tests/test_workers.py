"""Workers: results in order, errors where they belong, and nobody left when somebody is killed."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from farm_merge.workers import Workers
from tests.conftest import content, union

forks = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")


def run(script, *arguments):
    """Run a script in a process of its own, which has one thread."""
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


ORDER = """
import os, random, sys, threading, time
from farm_merge.workers import Workers

def work(number):
    time.sleep(random.random() / 50)
    if number % 7 == 3:
        raise ValueError(f"no {number}")
    return number * number, os.getpid()

if sys.argv[1] == "threads":
    threading.Thread(target=time.sleep, args=(2,), daemon=True).start()
found, pids = [], set()
for number, future in Workers(3).run(work, 40):
    try:
        square, pid = future.result()
        found.append(square)
        pids.add(pid)
    except ValueError as exc:
        found.append(str(exc))
assert found == [f"no {n}" if n % 7 == 3 else n * n for n in range(40)], found
print("own" if pids == {os.getpid()} else len(pids - {os.getpid()}))
"""


@forks
@pytest.mark.parametrize(("kind", "processes"), [("processes", "3"), ("threads", "own")])
def test_results_come_in_order_and_errors_where_they_belong(kind, processes):
    done = run(ORDER, kind)
    assert done.stdout.strip() == processes, done.stderr


def test_one_job_needs_no_process():
    assert [future.result() for _, future in Workers(1).run(lambda _: os.getpid(), 3)] == [
        os.getpid()
    ] * 3


def test_a_process_with_threads_is_not_forked():
    stop = threading.Event()
    other = threading.Thread(target=stop.wait)
    other.start()
    try:
        pids = {future.result() for _, future in Workers(4).run(lambda _: os.getpid(), 20)}
    finally:
        stop.set()
        other.join()
    assert pids == {os.getpid()}


KILLED = """
import os, signal, sys
from farm_merge.merge import merge_shards
from farm_merge.merge.write import graft
from farm_merge.errors import FarmMergeError

honest, parent = graft.transplant, os.getpid()

def transplant(shard, file, pages):
    if os.getpid() == parent:
        raise AssertionError("not forked")
    with pages._lock:
        os.kill(os.getpid(), signal.SIGKILL)

graft.transplant = transplant
try:
    merge_shards(sys.argv[2:], sys.argv[1], engine="graft", jobs=2)
except FarmMergeError as exc:
    print(exc)
"""


@forks
def test_a_worker_that_is_killed_ends_the_merge_with_a_reason(make_shard, tmp_path):
    """It holds the lock that the other one waits for."""
    shards = [make_shard(name, steps=300) for name in "abcd"]
    done = run(KILLED, tmp_path / "exp.db", *shards)
    assert "was killed" in done.stdout, done.stderr
    assert "jobs" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]


SLOW = """
import sys, time
from farm_merge.merge.write import graft
from farm_merge.__main__ import run

honest = graft.transplant

def transplant(shard, file, pages):
    print("working", flush=True)
    time.sleep(0.5)
    return honest(shard, file, pages)

graft.transplant = transplant
sys.argv[1:1] = ["-q", "--engine", "graft", "-j", "2", "-o"]
run()
"""


def children(pid):
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.usefixtures("interruptible")
@forks
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("send", [os.kill, os.killpg])
def test_workers_end_with_their_parent(make_shard, tmp_path, how, send):
    """A batch system, or `timeout`, signals all processes at once."""
    shards = [make_shard(name, steps=300) for name in "abcdefghijkl"]
    output = tmp_path / "exp.db"
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, str(output), *map(str, shards)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        process.stdout.readline()
        workers = children(process.pid)
        assert len(workers) == 2
        send(process.pid, how)
        process.communicate(timeout=30)
    assert process.returncode == (-how if how is signal.SIGKILL else 128 + how)
    deadline = time.monotonic() + 10
    while any(map(is_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, workers))
    assert not output.exists()
    again = run("from farm_merge.cli import main; main()", "-q", *shards, "-o", output)
    assert again.returncode == 0, again.stderr
    assert content(output) == union(*shards)


@forks
def test_a_bar_on_a_terminal_does_not_keep_a_merge_from_forking(make_shard, tmp_path):
    shards = [make_shard(name, steps=300) for name in "abcd"]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-c", SLOW.replace('"-q", ', ""), str(tmp_path / "exp.db"), *shards],
        stdout=subprocess.PIPE,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        process.stdout.readline()
        workers = children(process.pid)
        process.stdout.read()
    assert process.returncode == 0
    assert b"copy" in os.read(ours, 10_000)
    os.close(ours)
    assert len(workers) == 2
