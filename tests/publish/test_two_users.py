"""Two users share a folder: what happens to a command of one is in no way of the other's."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import content, union, write_shard
from tests.limits import open_folder

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs root, to be two users"
)

SCRIPT = """
import multiprocessing.popen_fork, os, signal, sys  # others may not read the first
from pathlib import Path
from click.testing import CliRunner
from farm_merge.cli import main
from farm_merge.merge import merge_shards
from farm_merge.publish import workshop

folder, how, umask, *words = sys.argv[1:]
ANN, BOB, GROUP = 54321, 54322, 54320

def forked(user, act):
    process = os.fork()
    if not process:
        os.setgroups([])
        os.setgid(GROUP)
        os.setuid(user)
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

def die(event):
    if event.phase == how:
        os.kill(os.getpid(), signal.SIGKILL)

def killed():
    os.umask(int(umask, 8))
    if how == "persist":
        made = workshop(Path(folder, "exp.db"))
        made.__enter__()
        os.kill(os.getpid(), signal.SIGKILL)
    merge_shards([folder + "/ann"], folder + "/exp.db", progress=die, jobs=1)

# Python may lie where only root may look, so all is imported before.
for last in ("-v", "--json"):
    CliRunner().invoke(main, [folder + "/ann", "-o", folder + "/warm/warm.db", last])
assert forked(ANN, killed) == -signal.SIGKILL

def works():
    os.umask(0o002)
    main(words)

sys.exit(forked(BOB, works))
"""


def act(folder, how, *words, umask="002"):
    """Let Ann's command be killed, and return Bob's."""
    command = [sys.executable, "-c", SCRIPT, folder, how, umask, *words]
    return subprocess.run([*map(str, command)], check=False, capture_output=True, text=True)


@pytest.fixture
def shared():
    """Make a folder of a group, with a shard of Ann's and one of Bob's."""
    with open_folder() as folder:
        for name in ("ann", "bob"):
            write_shard(folder / name / f"{name}.db", name, steps=20)
        os.chown(folder, 0, 54320)
        folder.chmod(0o2775)
        yield folder


def merging(folder, *words):
    return (folder / "bob", folder / "ann", "-o", folder / "exp.db", *words)


@pytest.mark.parametrize("how", ["inspect", "copy", "verify", "persist"])
def test_what_a_killed_merge_left_stops_nobody_and_is_named(shared, how):
    done = act(shared, how, *merging(shared))
    assert done.returncode == 0, done.stderr
    assert content(shared / "exp.db") == union(shared / "ann" / "ann.db", shared / "bob" / "bob.db")
    (left,) = shared.glob(".exp.db.*")
    assert f"note: {left} is of user 54321" in done.stderr
    assert f"rm -r '{left}'" in done.stderr


def test_a_database_that_a_killed_merge_extended_is_extended(shared):
    write_shard(shared / "first.db", "first")
    assert act(shared, "inspect", shared / "first.db", "-o", shared / "exp.db").returncode == 0
    done = act(shared, "copy", *merging(shared, "--json"))
    assert done.returncode == 0, done.stderr
    assert {it["simulation_id"] for it in json.loads(done.stdout)["simulations"]} == {"ann", "bob"}


def test_where_users_may_not_remove_each_others_files_a_lock_stays_and_is_free(shared):
    shared.chmod(0o3775)
    done = act(shared, "copy", *merging(shared))
    assert done.returncode == 0, done.stderr
    assert f"note: {shared / '.exp.db.merge-lock'} is of user 54321" in done.stderr


def test_a_lock_that_may_not_be_opened_is_named(shared):
    done = act(shared, "copy", *merging(shared), umask="077")
    lock = shared / ".exp.db.merge-lock"
    assert done.returncode == 1
    assert f"{lock}: is another user's, and may not be opened; remove it" in done.stderr
    lock.unlink()
    assert act(shared, "copy", *merging(shared)).returncode == 0
