"""What another declared type would do to the values of a column."""

from __future__ import annotations

import pytest

from farm_merge.merge import inspect_shard, merge_shards
from farm_merge.merge.inputs.retype import ChangedValues, count_changed_values
from tests.conftest import query
from tests.merge.eras import write_rows

CREATE = "CREATE TABLE t (k INTEGER PRIMARY KEY, V)"


def changed(path, declared_type, column="V"):
    source = inspect_shard(path).named(["run"])
    return count_changed_values(source, source.mapping.tables[0], column, declared_type)


@pytest.mark.parametrize(
    ("value", "declared_type", "different", "equal"),
    [
        ("'007'", "INT", 1, 0),
        ("'7'", "INT", 1, 0),
        ("'word'", "INT", 0, 0),
        ("7", "TEXT", 1, 0),
        ("7", "REAL", 0, 1),
        ("7.0", "INT", 0, 1),
        ("7.5", "INT", 0, 0),
        ("9007199254740993", "REAL", 1, 0),
        ("NULL", "TEXT", 0, 0),
        ("x'37'", "TEXT", 0, 0),
        ("'007'", "", 0, 0),
        ("'007'", "BLOB", 0, 0),
    ],
)
def test_values_are_counted_by_what_becomes_of_them(
    tmp_path, value, declared_type, different, equal
):
    path = write_rows(tmp_path / "run.db", CREATE, f"1, {value}", "2, NULL")
    assert changed(path, declared_type) == ChangedValues(different, equal)


def test_a_column_is_found_in_any_case(tmp_path):
    path = write_rows(tmp_path / "run.db", CREATE, "1, '007'")
    assert changed(path, "INT", "v") == ChangedValues(1, 0)
    assert changed(path, "INT", "nowhere") == ChangedValues(0, 0)


def test_a_value_of_a_column_that_is_written_in_another_case_stays_as_it_is(tmp_path):
    first = write_rows(tmp_path / "a.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v INT)", "1, 5")
    second = write_rows(tmp_path / "b.db", CREATE, "1, '007'")
    merge_shards([first, second], tmp_path / "exp.db")
    assert query(tmp_path / "exp.db", "SELECT quote(v) FROM t") == [("5",), ("'007'",)]
