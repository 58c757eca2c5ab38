"""What is being made lies in a folder of its own, and nothing of it stays, whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from farm_merge.errors import OutputError
from farm_merge.publish import is_workshop, workshop
from tests.conftest import as_nobody
from tests.publish.checks import fail_in, names

KILLED = (
    "import os, signal, sys\n"
    "from pathlib import Path\n"
    "from farm_merge.publish import workshop\n"
    "with workshop(Path(sys.argv[1])) as folder:\n"
    "    for name in ('partial', 'partial-journal'):\n"
    "        (folder / name).write_bytes(b'half')\n"
    "    (folder / 'deep').mkdir()\n"
    "    (folder / 'deep' / 'file').touch()\n"
    "    print(folder, flush=True)\n"
    "    sys.stdin.read()\n"
)


def started(output):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(output)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    return process, Path(process.stdout.readline().strip())


def test_a_workshop_is_gone_afterwards(tmp_path):
    with workshop(tmp_path / "exp.db") as folder:
        assert folder.parent == tmp_path
        assert is_workshop(folder)
        (folder / "new").touch()
    with pytest.raises(ZeroDivisionError):
        fail_in(workshop(tmp_path / "exp.db"), "new")
    assert names(tmp_path) == []


def test_the_lock_goes_last(tmp_path, monkeypatch):
    """By it the next command knows what is left when a process is killed meanwhile."""
    seen, rmtree = [], shutil.rmtree

    def look(folder, **options):
        if is_workshop(folder):
            seen.append(names(folder))
        rmtree(folder, **options)

    monkeypatch.setattr(shutil, "rmtree", look)
    with workshop(tmp_path / "exp.db") as made:
        (made / "partial").touch()
        (made / "deep").mkdir()
        (made / "link").symlink_to(tmp_path)
    assert seen == [["lock"]]


def test_nobody_else_may_enter_a_workshop(public):
    public.chmod(0o777)
    with workshop(public / "exp.db") as folder:
        assert folder.stat().st_mode & 0o777 == 0o700


def test_what_a_killed_process_left_is_removed_and_what_a_live_one_makes_is_not(tmp_path):
    output = tmp_path / "exp.db"
    (dead, left), (alive, made) = started(output), started(output)
    os.kill(dead.pid, signal.SIGKILL)
    dead.communicate()
    with workshop(output) as folder:
        assert names(tmp_path) == sorted([made.name, folder.name])
    assert not left.exists()
    assert "deep" in names(made)
    alive.communicate("")
    assert names(tmp_path) == []


def test_a_workshop_whose_process_was_killed_at_once_is_empty_and_removed(tmp_path):
    (tmp_path / ".exp.db.x.work").mkdir()
    with workshop(tmp_path / "exp.db"):
        pass
    assert names(tmp_path) == []


def test_what_only_has_such_a_name_stays(tmp_path):
    mine = tmp_path / ".exp.db.mine.work"
    mine.mkdir()
    (mine / "notes").touch()
    (tmp_path / ".exp.db.file.work").touch()
    (tmp_path / "elsewhere").mkdir()
    for name in ("lock", "data"):  # what it leads to looks like a workshop
        (tmp_path / "elsewhere" / name).touch()
    (tmp_path / ".exp.db.link.work").symlink_to(tmp_path / "elsewhere")
    before = names(tmp_path)
    with workshop(tmp_path / "exp.db"):
        pass
    assert names(tmp_path) == before
    assert names(mine) == ["notes"]
    assert names(tmp_path / "elsewhere") == ["data", "lock"]
    assert not is_workshop(mine)


def test_a_link_in_what_was_left_is_not_followed(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "data").touch()
    left = tmp_path / ".exp.db.x.work"
    left.mkdir()
    (left / "lock").touch()
    (left / "link").symlink_to(mine)
    with workshop(tmp_path / "exp.db"):
        pass
    assert names(tmp_path) == ["mine"]
    assert names(mine) == ["data"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_what_another_user_s_killed_process_left_is_in_nobody_s_way(public):
    public.chmod(0o777)
    process, left = started(public / "exp.db")
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with as_nobody(), workshop(public / "exp.db") as folder:
        (folder / "new").touch()
    assert names(public) == [left.name]


def test_a_workshop_that_cannot_be_made_is_named(public):
    public.chmod(0o555)
    with as_nobody(), pytest.raises(OutputError, match="cannot be written to") as caught:
        fail_in(workshop(public / "exp.db"))
    assert caught.value.path == public / "exp.db"
