"""Inputs move away once they are safe, and nothing else does."""

from __future__ import annotations

import shutil

import pytest

from farm_merge.errors import InvalidOptionError
from farm_merge.merge import audit, merge_shards
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
