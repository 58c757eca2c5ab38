"""One process at a time, whatever lies about under the lock's name, and whoever left it."""

from __future__ import annotations

import errno
import multiprocessing
import os
import platform
import subprocess
import sys
import threading

import pytest

from farm_merge.errors import OutputError
from farm_merge.publish import locked
from tests.conftest import as_nobody
from tests.publish.checks import enter, names, never

NAME = ".exp.db.merge-lock"


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


def test_a_link_to_an_output_has_the_lock_of_the_output(tmp_path):
    """Else two would write it at once, and SQLite would refuse one of them."""
    output, link = tmp_path / "exp.db", tmp_path / "elsewhere" / "link.db"
    output.touch()
    link.parent.mkdir()
    link.symlink_to(output)
    with locked(link, never):
        assert names(tmp_path) == [NAME, "elsewhere", "exp.db"]
        assert names(link.parent) == ["link.db"]


def test_a_folder_that_may_not_be_written_is_named(public):
    public.chmod(0o555)
    with as_nobody(), pytest.raises(OutputError, match="its folder cannot be written to"):
        enter(locked(public / "exp.db", never))
    (public / "file").touch()
    with pytest.raises(OutputError, match="its folder cannot be written to"):
        enter(locked(public / "file" / "exp.db", never))


# What others may have put there


@pytest.mark.parametrize("kind", ["symbolic", "hard", "dangling"])
def test_a_link_is_no_lock_and_what_it_points_to_stays(tmp_path, kind):
    victim, lock = tmp_path / "victim", tmp_path / NAME
    victim.write_text("precious")
    if kind == "hard":
        lock.hardlink_to(victim)
    else:
        lock.symlink_to(victim if kind == "symbolic" else tmp_path / "nowhere")
    with pytest.raises(OutputError, match="is no lock of farm-merge; move it away") as caught:
        enter(locked(tmp_path / "exp.db", never))
    assert caught.value.path == lock
    assert victim.read_text() == "precious"
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_is_a_loop_of_links_is_no_lock(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    output = tmp_path / "loop" / "folder" / "exp.db"
    with pytest.raises(OutputError, match="its folder cannot be written to") as caught:
        enter(locked(output, never))
    assert caught.value.path == output


@pytest.mark.parametrize(
    "make",
    [os.mkfifo, lambda path: path.write_text("somebody's notes\n"), lambda path: path.mkdir()],
)
def test_what_is_no_lock_is_not_written_to(tmp_path, make):
    lock = tmp_path / NAME
    make(lock)
    with pytest.raises(OutputError):
        enter(locked(tmp_path / "exp.db", never))
    assert not lock.is_file() or lock.read_text() == "somebody's notes\n"


def test_only_a_holder_that_looks_like_one_is_named(tmp_path):
    import fcntl

    with (tmp_path / NAME).open("w") as file:
        file.write("\x1b[2Jprocess 1")
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        holders = []

        def stop(holder):
            holders.append(holder)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            enter(locked(tmp_path / "exp.db", stop))
    assert holders == ["another process"]


def test_the_lock_that_another_user_left_is_in_nobody_s_way(public):
    public.chmod(0o777)
    (public / NAME).write_text("process 1 on elsewhere")
    (public / NAME).chmod(0o644)
    with as_nobody(), locked(public / "exp.db", never):
        pass
    assert names(public) == []


def test_where_users_keep_off_each_other_s_files_a_lock_stays_and_is_free(public):
    public.chmod(0o1777)
    (public / NAME).write_text("process 1 on elsewhere")
    for _ in range(2):
        with as_nobody(), locked(public / "exp.db", never):
            pass


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_lock_that_may_not_be_opened_is_named_with_what_to_do(public):
    public.chmod(0o777)
    (public / NAME).touch(mode=0o600)
    with as_nobody(), pytest.raises(OutputError, match="is another user's") as caught:
        enter(locked(public / "exp.db", never))
    assert caught.value.path == public / NAME
    assert "remove it, if nobody is writing exp.db" in str(caught.value)


def test_a_full_disk_is_no_reason_not_to_hold_a_lock(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("farm_merge.publish.lock.os.pwrite", full)
    with locked(tmp_path / "exp.db", never):
        pass


def take_often(output, seconds, results):
    import time

    taken = overlaps = 0
    inside = output.with_name("inside")
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            with locked(output, lambda _: None):
                try:
                    inside.mkdir()
                except FileExistsError:
                    overlaps += 1
                inside.rmdir()
            taken += 1
        results.put((taken, overlaps, ""))
    except OutputError as exc:
        results.put((taken, overlaps, repr(exc)))


def test_many_processes_take_turns_and_none_fails(tmp_path):
    """Also in the moment between the look at a lock and its holder's taking it away."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [
        context.Process(target=take_often, args=(tmp_path / "exp.db", 1, results)) for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    found = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert [(overlaps, error) for _, overlaps, error in found] == [(0, "")] * 4
    assert sum(taken for taken, *_ in found) > 100
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "text", ["", "pro", "process ", "process 12", "process 12 on", "process 12 on h"]
)
def test_a_lock_whose_holder_was_killed_while_it_signed_is_one(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with locked(tmp_path / "exp.db", never):
        pass
    assert names(tmp_path) == []
