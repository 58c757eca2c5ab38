"""An input that is open, and the tables that it shows."""

from __future__ import annotations

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge import inspect_shard, merge_shards
from tests.conftest import query
from tests.merge.eras import write

VIRTUAL = "CREATE VIRTUAL TABLE words USING fts5(text)"


def damaged(path, table):
    """Overwrite the page in which a table starts."""
    ((page,),) = query(path, "SELECT rootpage FROM sqlite_schema WHERE name = ?", table)
    data = bytearray(path.read_bytes())
    data[(page - 1) * 4096 : page * 4096] = b"\xee" * 4096
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("more", [[], [VIRTUAL, "INSERT INTO words VALUES ('hello')"]])
@pytest.mark.parametrize("table", ["first", "second"])
def test_every_table_is_checked_also_beside_virtual_ones(tmp_path, more, table):
    """A check of the whole file would run the modules of virtual tables."""
    path = write(
        tmp_path / "run.db",
        "CREATE TABLE first (x)",
        "INSERT INTO first VALUES (1)",
        "CREATE TABLE second (x)",
        "INSERT INTO second VALUES (2)",
        *more,
    )
    inspect_shard(path)
    with pytest.raises(ShardError, match=r"damaged|malformed") as caught:
        inspect_shard(damaged(path, table))
    assert caught.value.path == path


def test_damage_behind_a_virtual_table_is_nobodys_loss(tmp_path):
    """What it holds is not carried, and its module does not run."""
    path = write(
        tmp_path / "run.db",
        "CREATE TABLE t (k INTEGER PRIMARY KEY)",
        "INSERT INTO t VALUES (1)",
        VIRTUAL,
        "INSERT INTO words VALUES ('hello')",
    )
    damaged(path, "words_data")
    report = merge_shards([path], tmp_path / "exp.db")
    assert any("WARNING: virtual tables are not carried" in note for note in report.notes)
    assert query(tmp_path / "exp.db", "SELECT * FROM t") == [("run", 1)]


def test_a_unique_index_that_lies_is_damage(tmp_path):
    path = write(
        tmp_path / "run.db",
        "CREATE TABLE t (k INTEGER PRIMARY KEY, v)",
        "CREATE INDEX i ON t (v)",
        "INSERT INTO t VALUES (1, 'a'), (2, 'b')",
    )
    with pytest.raises(ShardError, match=r"quick_check reports|malformed"):
        inspect_shard(damaged(path, "i"))
