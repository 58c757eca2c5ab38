"""Rows that the tables of an output could refuse are tried before anything is written."""

from __future__ import annotations

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge import merge_shards, plan_merge
from tests.conftest import query
from tests.merge.checks import ids, merge_checked, tables_of
from tests.merge.eras import write_rows

UNIQUE = "CREATE TABLE t (k INTEGER PRIMARY KEY, v UNIQUE)"
LOOSE = "CREATE TABLE t (k INTEGER PRIMARY KEY, v)"


@pytest.fixture
def output(tmp_path):
    merge_checked(tmp_path / "exp.db", write_rows(tmp_path / "first.db", UNIQUE, "1, 5"))
    return tmp_path / "exp.db"


def test_a_file_whose_rows_do_not_fit_costs_only_itself(output, tmp_path):
    twins = write_rows(tmp_path / "twins.db", LOOSE, "1, 5", "2, 5")
    fine = write_rows(tmp_path / "fine.db", LOOSE, "1, 5")
    with pytest.raises(ShardError, match=r"twins\.db: table t: UNIQUE constraint failed"):
        plan_merge([twins, fine], output)
    report = merge_shards([twins, fine], output, on_bad_shard="skip")
    assert [left.path for left in report.left_out] == [twins]
    assert ids(output) == ["fine", "first"]


def test_what_a_misfit_asked_for_is_not_asked_of_others(output, tmp_path):
    """A file that is left out brings no column, and no table."""
    twins = write_rows(tmp_path / "twins.db", LOOSE, "1, 5", "2, 5")
    query(twins, "ALTER TABLE t ADD COLUMN w")
    query(twins, "CREATE TABLE more (x)")
    fine = write_rows(tmp_path / "fine.db", LOOSE, "1, 5")
    plan = plan_merge([twins, fine], output, on_bad_shard="skip")
    assert plan.target.added_tables == plan.target.added_columns == []
    assert [planned.simulation_id for planned in plan.to_write] == ["fine"]


def test_what_is_skipped_brings_no_table(make_shard, tmp_path):
    merge_shards([make_shard("a")], tmp_path / "exp.db")
    rival = make_shard("a", folder="others", shift=1.0)
    query(
        rival, "CREATE TABLE more (simulation_id, x, PRIMARY KEY (simulation_id, x)) WITHOUT ROWID"
    )
    query(rival, "INSERT INTO more VALUES ('a', 1)")
    merge_shards([rival, make_shard("b")], tmp_path / "exp.db", on_conflict="skip")
    assert ids(tmp_path / "exp.db") == ["a", "b"]
    assert "more" not in tables_of(tmp_path / "exp.db")
