"""Inputs move away once they are safe, and nothing else does."""

from __future__ import annotations

import shutil

import pytest

from farm_merge.errors import InvalidOptionError, OutputError
from farm_merge.merge import audit, merge_shards
from farm_merge.merge.write.archive import archive_inputs
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
