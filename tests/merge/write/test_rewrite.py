"""A file of any schema becomes a shard in a private folder."""

from __future__ import annotations

from contextlib import closing

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge import inspect_shard
from farm_merge.merge.plan.target import make_target
from farm_merge.merge.tables.structure import read_structure
from farm_merge.merge.write.rewrite import as_shard, rewritten, try_rewriting
from farm_merge.sqlite import connect
from tests.conftest import query
from tests.merge.eras import write
from tests.merge.values import output, structure, table


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def prepared(path, *names, alone=True, before=None, **options):
    """Return an input with names for its simulations, and the tables that hold its rows."""
    source = inspect_shard(path, **options)
    source = source.remapped(source.traits._replace(alone=alone))
    target, misfits = make_target([source], before or output(), alone=alone)
    assert misfits == {}
    return source.named(names), target


def test_a_shard_is_read_where_it_is(make_shard, work):
    path = make_shard("a")
    source, target = prepared(path, "a", alone=False)
    with as_shard(source, target, work) as uri:
        assert path.name in uri
        assert list(work.iterdir()) == []


def test_any_other_file_is_rewritten_and_the_shard_is_gone_afterwards(tmp_path, work):
    path = write(
        tmp_path / "run.db",
        "CREATE TABLE t (k INTEGER PRIMARY KEY, v DEFAULT 5, c AS (k + 1))",
        "CREATE INDEX i ON t (v)",
        "INSERT INTO t (k, v) VALUES (7, 'x'), (3, NULL)",
    )
    source, target = prepared(path, "named")
    for with_indexes in (False, True):
        with rewritten(source, target, work, with_indexes=with_indexes) as shard:
            assert shard.parent == work
            assert query(shard, "SELECT * FROM t ORDER BY k") == [
                ("named", 3, None, 4),
                ("named", 7, "x", 8),
            ]
            with closing(connect(str(shard))) as connection:
                found = read_structure(connection)
            assert found.tables["t"] == target.want.tables["t"]
            assert bool(found.indexes.get("t")) == with_indexes
        assert list(work.iterdir()) == []


def test_what_a_file_lacks_is_null_and_not_a_default(tmp_path, work):
    path = write(
        tmp_path / "run.db", "CREATE TABLE t (k INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)"
    )
    before = output("x", tables=structure(
        table("k INTEGER PRIMARY KEY, v DEFAULT 5").create(), merged_form=True))  # fmt: skip
    source, target = prepared(path, "a", before=before)
    with rewritten(source, target, work) as shard:
        assert query(shard, "SELECT k, v FROM t") == [(1, None)]


def test_runs_get_their_other_names(tmp_path, work):
    path = write(
        tmp_path / "run.db",
        "CREATE TABLE t (simulation_id TEXT, k INTEGER PRIMARY KEY)",
        "CREATE TABLE settings (x)",
        "INSERT INTO t (simulation_id) VALUES ('a'), ('b'), (NULL)",
        "INSERT INTO settings VALUES (1)",
    )
    source, target = prepared(path, "nobody", "A", "B")
    with rewritten(source, target, work) as shard:
        assert query(shard, "SELECT * FROM t ORDER BY k") == [("A", 1), ("B", 2), ("nobody", 3)]
        assert query(shard, "SELECT simulation_id, x FROM settings") == [("nobody", 1)]
    source, target = prepared(path, "A", "B", on_orphan_rows="skip")
    with rewritten(source, target, work) as shard:
        assert query(shard, "SELECT * FROM t ORDER BY k") == [("A", 1), ("B", 2)]
        assert query(shard, "SELECT count(*) FROM settings") == [(0,)]


def test_rows_that_tables_refuse_are_named_with_their_table(tmp_path, work):
    path = write(tmp_path / "run.db", "CREATE TABLE T (k INTEGER PRIMARY KEY, v)",
                 "INSERT INTO T VALUES (1, 5), (2, 5)")  # fmt: skip
    before = output("x", tables=structure(
        table("k INTEGER PRIMARY KEY, v, UNIQUE (v)").create(), merged_form=True))  # fmt: skip
    source, target = prepared(path, "a", before=before)
    error = try_rewriting(source, target, work)
    assert (error.path, error.table) == (path, "T")
    assert "UNIQUE constraint failed" in error.reason
    with pytest.raises(ShardError, match="UNIQUE"), rewritten(source, target, work):
        raise AssertionError
    assert list(work.iterdir()) == []
    query(path, "UPDATE T SET v = k")
    assert try_rewriting(*prepared(path, "a", before=before), work) is None
