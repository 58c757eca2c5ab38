"""Inputs move away once they are safe, and nothing else does."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys

import pytest

from farm_merge.errors import InvalidOptionError, OutputError, ShardError
from farm_merge.merge import audit, merge_shards, plan_merge
from farm_merge.merge.write.archive import archive_inputs, finish_moves
from farm_merge.sqlite import sqlite3
from tests.conftest import query


def test_merged_inputs_move_to_the_archive_and_nothing_else_does(make_shard, tmp_path):
    good, other = make_shard("a"), make_shard("b", folder="more", file="a.db")
    running = make_shard("c", status="running")
    text = tmp_path / "shards" / "text.db"
    text.write_text("nonsense")
    merge_shards(
        [tmp_path / "shards", tmp_path / "more"],
        tmp_path / "exp.db",
        on_bad_shard="skip",
        archive=tmp_path / "archive",
    )
    assert not good.exists()
    assert not other.exists()
    assert running.exists()
    assert text.exists()
    assert sorted(path.name for path in (tmp_path / "archive").iterdir()) == ["a.db", "more_a.db"]
    assert audit(tmp_path / "exp.db", [tmp_path / "archive"]).problems == ()


def test_nothing_moves_where_nothing_was_verified(make_shard, tmp_path):
    shard = make_shard("a")
    with pytest.raises(InvalidOptionError, match="verified"):
        merge_shards([shard], tmp_path / "exp.db", verify="none", archive=tmp_path / "archive")
    assert shard.exists()


def test_a_wal_moves_with_its_file(make_shard, tmp_path):
    shard = make_shard("a")
    copy = tmp_path / "copy"
    copy.mkdir()
    writer = sqlite3.connect(str(shard), isolation_level=None)
    writer.execute("PRAGMA journal_mode = WAL")
    writer.execute("PRAGMA wal_autocheckpoint = 0")
    writer.execute("UPDATE agents SET genome_id = 'late'")
    for name in ("a.db", "a.db-wal"):
        shutil.copy(shard.parent / name, copy)
    writer.close()
    merge_shards([copy], tmp_path / "exp.db", archive=tmp_path / "archive")
    assert sorted(path.name for path in (tmp_path / "archive").iterdir()) == ["a.db", "a.db-wal"]
    assert query(tmp_path / "archive" / "a.db", "SELECT DISTINCT genome_id FROM agents") == [
        ("late",)
    ]


def make(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(path))


def test_files_of_one_name_keep_as_many_folders_as_they_need(tmp_path):
    folder = tmp_path / "done"
    paths = [tmp_path / part / "run.db" for part in ("x/a", "x/b", "y/b")]
    make(*paths)
    moved = archive_inputs(paths, folder)
    assert [after.name for _, after in moved] == ["run.db", "b_run.db", "y_b_run.db"]
    assert [before for before, _ in moved] == paths
    assert [after.read_text() for _, after in moved] == list(map(str, paths))
    assert not any(path.exists() for path in paths)


def test_nothing_in_the_archive_is_replaced(tmp_path):
    folder, path = tmp_path / "done", tmp_path / "x" / "run.db"
    make(path, folder / "run.db")
    ((_, after),) = archive_inputs([path], folder)
    assert after == folder / "x_run.db"
    assert (folder / "run.db").read_text() == str(folder / "run.db")


def test_an_archive_that_has_every_name_is_an_error(tmp_path):
    folder, path = tmp_path / "done", tmp_path / "run.db"
    parts = path.with_suffix("").parts[1:]
    make(path, *(folder / f"{'_'.join(parts[-number:])}.db" for number in range(1, len(parts) + 1)))
    with pytest.raises(OutputError, match="has a file for every name"):
        archive_inputs([path], folder)
    assert path.exists()


def test_an_archive_that_cannot_be_written_is_an_error_after_all_is_merged(tmp_path):
    path = tmp_path / "run.db"
    make(path, tmp_path / "file")
    with pytest.raises(OutputError, match=r"cannot take the merged files .*; all are merged"):
        archive_inputs([path], tmp_path / "file" / "done")
    assert path.exists()


def test_companions_move_with_their_file(tmp_path):
    path = tmp_path / "run.db"
    make(path, *(path.with_name(f"run.db{suffix}") for suffix in ("-wal", "-shm", "-journal")))
    make(tmp_path / "run.db-other")
    archive_inputs([path], tmp_path / "done")
    assert sorted(it.name for it in (tmp_path / "done").iterdir()) == [
        "run.db", "run.db-journal", "run.db-shm", "run.db-wal",
    ]  # fmt: skip
    assert [it.name for it in tmp_path.iterdir() if it.is_file()] == ["run.db-other"]


# A move that is stopped


def kill_at(number, paths, folder):
    """Archive in a process that is killed at its so-manieth change of a folder."""
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from farm_merge.merge.write.archive import archive_inputs\n"
        "seen = 0\n"
        "def audit(event, args):\n"
        "    global seen\n"
        "    if event in {'os.link', 'os.rename', 'os.remove', 'os.symlink'}:\n"
        "        if 'run.db' in str(args[0]) or 'run.db' in str(args[1:2]):\n"
        "            seen += 1\n"
        "            if seen == int(sys.argv[1]):\n"
        "                os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.addaudithook(audit)\n"
        "archive_inputs(map(Path, sys.argv[3:]), Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", script, str(number), str(folder), *map(str, paths)]
    return subprocess.run(command, check=False).returncode


def test_a_database_and_its_wal_are_never_apart_and_the_next_run_finishes(tmp_path):
    for number in range(1, 8):
        path, folder = tmp_path / str(number) / "run.db", tmp_path / str(number) / "done"
        wal = path.with_name("run.db-wal")
        make(path, wal)
        contents = {"run.db": path.read_text(), "run.db-wal": wal.read_text()}
        code = kill_at(number, [path], folder)
        for place in (path.parent, folder):
            assert not (place / "run.db").exists() or (place / "run.db-wal").exists()
        assert path.exists() or (folder / "run.db").exists()
        finish_moves([wal] if wal.exists() and not path.exists() else [], folder)
        archive_inputs([path] if path.exists() else [], folder)
        assert {it.name: it.read_text() for it in folder.iterdir()} == contents
        assert [it.name for it in path.parent.iterdir()] == ["done"]
        if code == 0:
            break
    assert number > 3


def test_the_same_merge_finishes_a_move(make_shard, tmp_path):
    shard = make_shard("a")
    merge_shards([tmp_path / "shards"], tmp_path / "exp.db")
    (tmp_path / "done").mkdir()
    for name in ("a.db", "a.db-wal"):
        (tmp_path / "done" / name).write_bytes(shard.read_bytes())
    (tmp_path / "shards" / "a.db-wal").write_bytes(shard.read_bytes())
    (tmp_path / "shards" / "b.db-wal").write_text("another's")
    shard.unlink()
    make_shard("c")
    merge_shards([tmp_path / "shards"], tmp_path / "exp.db", archive=tmp_path / "done",
                 on_bad_shard="skip")  # fmt: skip
    assert [it.name for it in (tmp_path / "shards").iterdir()] == ["b.db-wal"]


def test_only_what_is_in_the_archive_with_its_database_is_removed(tmp_path):
    """A WAL may be all that is left of a run's last commits."""
    wal, folder = tmp_path / "run.db-wal", tmp_path / "done"
    make(wal)
    make(folder / "run.db", folder / "run.db-wal")  # of another run
    finish_moves([wal], folder)
    shutil.copy(wal, folder)
    (folder / "run.db").unlink()
    finish_moves([wal], folder)
    assert wal.exists()
    (folder / "run.db").touch()
    finish_moves([wal], folder)
    assert not wal.exists()


@pytest.mark.parametrize("how", ["", "*.db", "a.db"])
def test_the_same_command_after_all_was_archived_says_so(make_shard, tmp_path, how):
    make_shard("a")
    words = [tmp_path / "shards" / how], tmp_path / "exp.db"
    merge_shards(*words, archive=tmp_path / "done")
    plan = plan_merge(*words, archive=tmp_path / "done")
    report = merge_shards(*words, archive=tmp_path / "done")
    assert not plan.outcomes
    assert not any(report.files.values())
    assert [note for note in report.notes if "archived before" in note] == [
        f"{words[0][0]}: all was merged and archived before; {tmp_path / 'done'} has 1 files of it"
    ]
    assert plan.notes == report.notes
    (tmp_path / "done" / "a.db").unlink()
    with pytest.raises(ShardError, match=r"no database found|no such file"):
        merge_shards(*words, archive=tmp_path / "done")


def test_what_is_new_is_merged_beside_what_was_archived(make_shard, tmp_path):
    paths = [make_shard("a"), tmp_path / "shards" / "b.db"]
    merge_shards(paths[:1], tmp_path / "exp.db", archive=tmp_path / "done")
    make_shard("b")
    report = merge_shards(paths, tmp_path / "exp.db", archive=tmp_path / "done")
    assert [outcome.simulation_id for outcome in report.simulations] == ["b"]
    assert "archived before" in report.notes[0]


def test_on_another_file_system_a_file_is_copied_whole(tmp_path, monkeypatch):
    def no_links(*_, **__):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr("farm_merge.merge.write.archive.os.link", no_links)
    path = tmp_path / "run.db"
    make(path, tmp_path / "run.db-wal")
    os.utime(path, ns=(5, 7))
    archive_inputs([path], tmp_path / "done")
    assert sorted(it.name for it in (tmp_path / "done").iterdir()) == ["run.db", "run.db-wal"]
    assert (tmp_path / "done" / "run.db").stat().st_mtime_ns == 7
    assert [it.name for it in tmp_path.iterdir()] == ["done"]


def test_a_link_is_archived_as_a_link_that_leads_to_its_file(tmp_path):
    make(tmp_path / "data" / "run.db")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "run.db").symlink_to("../data/run.db")
    archive_inputs([tmp_path / "in" / "run.db"], tmp_path / "deep" / "done")
    assert (tmp_path / "deep" / "done" / "run.db").read_text() == str(tmp_path / "data" / "run.db")
    assert [*(tmp_path / "in").iterdir()] == []


@pytest.mark.parametrize("archive", ["shards", "shards/../shards", "link", "shards/done", "."])
def test_what_is_in_the_archive_stays_there(make_shard, tmp_path, archive):
    """Whatever leads to it, and however often the same command is given."""
    for name in "ab":
        make_shard(name)
    make_shard("a", folder="shards/more", file="a.db")
    (tmp_path / "link").symlink_to("shards")
    before = sorted(path.read_bytes() for path in (tmp_path / "shards").rglob("*.db"))
    for _ in range(3):
        merge_shards([tmp_path / "shards"], tmp_path / "exp.db", archive=tmp_path / archive)
        kept = [path for path in tmp_path.rglob("*.db") if path.name != "exp.db"]
        assert sorted(path.read_bytes() for path in kept) == before


def test_a_link_in_the_archive_to_what_is_merged_is_no_copy_of_it(make_shard, tmp_path):
    shard = make_shard("a")
    content = shard.read_bytes()
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "a.db").symlink_to(shard)
    merge_shards([shard], tmp_path / "exp.db", archive=archive)
    assert (archive / "shards_a.db").read_bytes() == content


def test_a_link_to_a_link_in_the_archive_still_leads_somewhere(make_shard, tmp_path):
    shard = make_shard("a")
    (tmp_path / "runs").mkdir()
    link = tmp_path / "runs" / "a.db"
    link.symlink_to(shard)
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "a.db").symlink_to(link)
    merge_shards([link], tmp_path / "exp.db", archive=archive)
    assert (archive / "runs_a.db").read_bytes() == shard.read_bytes()
