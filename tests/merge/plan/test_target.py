"""The tables of the output in which the rows of all inputs have their place."""

from __future__ import annotations

from farm_merge.merge import plan_merge
from tests.merge.checks import merge_checked
from tests.merge.eras import write_rows


def test_the_plan_says_which_columns_are_added(tmp_path):
    merge_checked(
        tmp_path / "exp.db",
        write_rows(tmp_path / "a.db", "CREATE TABLE t (k INTEGER PRIMARY KEY)", "1"),
    )
    second = write_rows(
        tmp_path / "b.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, z TEXT)", "1, 'z'"
    )
    target = plan_merge([second], tmp_path / "exp.db").target
    assert [(table, column.name) for table, column in target.added_columns] == [("t", "z")]
