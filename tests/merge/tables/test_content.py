"""In which tables a simulation differs between two databases, by value and type."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from farm_merge.merge.tables.content import common_keys, differing_tables
from farm_merge.merge.tables.structure import read_structure
from farm_merge.schema import create_schema
from farm_merge.sqlite import sqlite3
from tests.merge.values import table

BASE = "k INT, v, PRIMARY KEY (k)"


@contextmanager
def both(left, right, *indexes):
    """Yield a connection with two databases that have a table t, and their structures."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("ATTACH ':memory:' AS shard")
    for schema, columns in (("main", left), ("shard", right)):
        if columns is not None:
            made = table(columns).create().replace('TABLE "t"', f'TABLE {schema}."t"')
            connection.execute(made)
    for index in indexes:
        connection.execute(index)
    yield connection
    connection.close()


def compared(connection, name="s"):
    structures = read_structure(connection), read_structure(connection, "shard")
    return (
        list(differing_tables(connection, name, *structures)),
        list(common_keys(connection, name, *structures)),
    )


def insert(connection, schema, *rows):
    for row in rows:
        connection.execute(f"INSERT INTO {schema}.t VALUES ('s', {row})")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1", "1.0"),
        ("1", "'1'"),
        ("'a'", "'A'"),
        ("'a'", "'a '"),
        ("'a'", "x'61'"),
        ("NULL", "0"),
        ("''", "NULL"),
        ("9007199254740993", "9007199254740992.0"),
    ],
)
def test_values_differ_by_their_bytes_and_by_their_types(one, other):
    with both(BASE, BASE) as connection:
        insert(connection, "main", f"1, {one}")
        insert(connection, "shard", f"1, {other}")
        assert compared(connection) == (["t"], ["t"])
        connection.execute("DELETE FROM shard.t")
        insert(connection, "shard", f"1, {one}")
        assert compared(connection) == ([], ["t"])


@pytest.mark.parametrize(
    ("main", "shard"),
    [
        (["1, 1"], []),
        ([], ["1, 1"]),
        (["1, 1"], ["1, 1", "2, 1"]),
        (["1, 1", "2, 1"], ["1, 1"]),
        (["1, 1"], ["2, 1"]),
    ],
)
def test_rows_that_only_one_has_make_a_difference(main, shard):
    with both(BASE, BASE) as connection:
        insert(connection, "main", *main)
        insert(connection, "shard", *shard)
        assert compared(connection)[0] == ["t"]


def test_other_simulations_are_not_compared():
    with both(BASE, BASE) as connection:
        insert(connection, "main", "1, 1")
        insert(connection, "shard", "1, 2")
        assert compared(connection, "another") == ([], [])


def test_the_order_of_rows_is_not_content():
    with both(BASE, "k INT, v, PRIMARY KEY (k DESC)") as connection:
        insert(connection, "main", "1, 1", "2, 2")
        insert(connection, "shard", "1, 1", "2, 2")
        assert compared(connection)[0] == []


def test_keys_that_a_collation_calls_equal_are_not():
    columns = "k TEXT COLLATE NOCASE, v, PRIMARY KEY (k)"
    with both(columns, columns) as connection:
        insert(connection, "main", "'a', 1")
        insert(connection, "shard", "'A', 1")
        assert compared(connection) == (["t"], ["t"])


def test_a_column_that_only_one_has_makes_a_difference_where_it_holds_something():
    for left, right, schema in (("k INT, w, v, PRIMARY KEY (k)", BASE, "main"),
                                (BASE, "k INT, w, v, PRIMARY KEY (k)", "shard")):  # fmt: skip
        with both(left, right) as connection:
            insert(connection, schema, "1, NULL, 5")
            insert(connection, "shard" if schema == "main" else "main", "1, 5")
            assert compared(connection)[0] == []
            connection.execute(f"UPDATE {schema}.t SET w = ''")
            assert compared(connection)[0] == ["t"]


def test_columns_are_the_same_in_any_case_and_order():
    with both("K INT, V, w, PRIMARY KEY (K)", "w, v, k INT, PRIMARY KEY (k)") as connection:
        insert(connection, "main", "1, 2, 3")
        insert(connection, "shard", "3, 2, 1")
        assert compared(connection) == ([], ["t"])


def test_computed_columns_are_not_compared():
    with both("k INT, v, c AS (v + 1), PRIMARY KEY (k)", BASE) as connection:
        insert(connection, "main", "1, 1")
        insert(connection, "shard", "1, 1")
        assert compared(connection)[0] == []


@pytest.mark.parametrize("left", [BASE, None])
def test_a_table_that_only_one_has_makes_a_difference_where_it_has_rows(left):
    with both(left, None if left else BASE) as connection:
        assert compared(connection)[0] == []
        insert(connection, "main" if left else "shard", "1, 1")
        assert compared(connection) == (["t"], [])


def test_clocks_are_not_content():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    create_schema(connection)
    connection.execute("ATTACH ':memory:' AS shard")
    for name, sql in connection.execute(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'table'"
    ).fetchall():
        connection.execute(sql.replace(f"TABLE {name}", f"TABLE shard.{name}"))
    for schema, time in (("main", 1), ("shard", 2)):
        connection.execute(
            f"INSERT INTO {schema}.simulation_config (simulation_id, config_id, timestamp,"
            " config_data) VALUES ('s', 1, ?, '{}')", (time,)
        )  # fmt: skip
    assert compared(connection)[0] == []
    connection.execute("UPDATE shard.simulation_config SET config_data = ''")
    assert compared(connection)[0] == ["simulation_config"]
    connection.close()


def test_rows_clash_by_their_key_by_uniques_and_by_unique_indexes():
    index = "CREATE UNIQUE INDEX i ON t (simulation_id, w)"
    columns = "k INT, v, w, PRIMARY KEY (k), UNIQUE (v)"
    for row, clashes in (
        ("1, 8, 9", ["t"]), ("2, 2, 9", ["t"]), ("2, 8, 3", ["t"]), ("2, 8, 9", []), ("2, NULL, NULL", []),
    ):  # fmt: skip
        with both(columns, columns, index) as connection:
            insert(connection, "main", "1, 2, 3", "5, NULL, NULL")
            insert(connection, "shard", row)
            assert compared(connection)[1] == clashes, row


def test_rows_that_are_numbered_do_not_clash():
    columns = "row_number INT, v, PRIMARY KEY (row_number)"
    with both(columns, columns) as connection:
        insert(connection, "main", "1, 2")
        insert(connection, "shard", "1, 3")
        assert compared(connection) == (["t"], [])
