"""How databases are opened, named and attached, and how transactions end."""

from __future__ import annotations

import os
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_merge.sqlite import (
    attached,
    column_types,
    connect,
    file_uri,
    make_disposable,
    quoted,
    sqlite3,
    table_names,
    transaction,
)
from tests.conftest import query


@pytest.fixture
def connection():
    with closing(connect()) as connection:
        connection.execute("CREATE TABLE t (x)")
        yield connection


@pytest.mark.parametrize(
    "name", ["a b", "per%cent", "quo'te", "hash#?", "ünï", "?mode=ro", "a&b=c"]
)
def test_any_path_has_a_uri(tmp_path, name):
    path = tmp_path / f"{name}.db"
    with closing(connect(file_uri(path))) as connection:
        connection.execute("CREATE TABLE t (x)")
    assert [found.name for found in tmp_path.iterdir()] == [path.name]
    read_only = closing(connect(file_uri(path, mode="ro")))
    with read_only as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM t")


def test_a_path_of_any_bytes_has_a_uri(tmp_path):
    path = os.fsencode(tmp_path) + b"/a\xff.db"
    with closing(connect(file_uri(os.fsdecode(path)))) as connection:
        connection.execute("CREATE TABLE t (x)")
    assert [os.fsencode(found.name) for found in tmp_path.iterdir()] == [b"a\xff.db"]


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_any_name_can_be_quoted(name):
    with closing(sqlite3.connect(":memory:")) as connection:
        ((found, *_),) = connection.execute(f"SELECT 1 AS {quoted(name)}").description
    assert found == name


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("trusted_schema", 0), ("cell_size_check", 1), ("ignore_check_constraints", 1), ("query_only", 0)],
)  # fmt: skip
def test_what_a_file_holds_is_not_trusted(connection, pragma, value):
    assert connection.execute(f"PRAGMA {pragma}").fetchone() == (value,)


def test_a_connection_can_be_for_reading_alone():
    with (
        closing(connect(read_only=True)) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        connection.execute("CREATE TABLE t (x)")


def fail_in(context, *statements):
    """Run statements on the connection of a context, and fail."""
    connection, entered = context
    with entered:
        for statement in statements:
            connection.execute(statement).fetchall()
        raise ZeroDivisionError


def test_a_transaction_is_all_or_nothing(connection):
    with transaction(connection):
        connection.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(ZeroDivisionError):
        fail_in((connection, transaction(connection, "IMMEDIATE")), "INSERT INTO t VALUES (2)")
    assert not connection.in_transaction
    assert connection.execute("SELECT x FROM t").fetchall() == [(1,)]


def test_the_first_error_counts(connection):
    """SQLite may have rolled back already."""
    connection.execute("CREATE UNIQUE INDEX i ON t (x)")
    insert = "INSERT OR ROLLBACK INTO t VALUES (1)"
    with pytest.raises(sqlite3.IntegrityError):
        fail_in((connection, transaction(connection)), insert, insert)
    assert connection.execute("SELECT x FROM t").fetchall() == []


def test_a_database_is_attached_for_a_while(connection, tmp_path):
    uri = file_uri(tmp_path / "a.db")
    query(tmp_path / "a.db", "CREATE TABLE u (y)")
    for _ in range(12):  # SQLite's limit is ten at a time
        with attached(connection, uri, "other"):
            assert table_names(connection, "other") == ["u"]
    with pytest.raises(ZeroDivisionError):
        fail_in((connection, attached(connection, uri, "other")))
    databases = [name for _, name, _ in connection.execute("PRAGMA database_list")]
    assert databases == ["main"]


def test_what_fails_in_a_transaction_is_not_hidden_by_what_cannot_be_detached(connection, tmp_path):
    query(tmp_path / "a.db", "CREATE TABLE u (y)")
    other = attached(connection, file_uri(tmp_path / "a.db"), "other")
    with pytest.raises(ZeroDivisionError):
        fail_in((connection, other), "BEGIN", "SELECT * FROM other.u")


def test_only_main_is_disposable(tmp_path):
    query(tmp_path / "a.db", "CREATE TABLE u (y)")
    uri = file_uri(tmp_path / "a.db")
    with closing(connect(file_uri(tmp_path / "b.db"))) as connection:
        connection.execute("ATTACH DATABASE ? AS other", (uri,))
        make_disposable(connection)
        modes = [
            connection.execute(f"PRAGMA {schema}.journal_mode").fetchone()[0]
            for schema in ("main", "other")
        ]
    assert modes == ["off", "delete"]


def test_tables_and_columns_are_listed(connection):
    connection.execute('CREATE TABLE "A b" (k INTEGER PRIMARY KEY AUTOINCREMENT, v TEXT, c AS (k))')
    connection.execute("CREATE TABLE sqliteX (y)")
    connection.execute("CREATE VIEW v AS SELECT 1")
    assert table_names(connection) == ["A b", "sqliteX", "t"]
    assert column_types(connection, "A b") == {"k": "INTEGER", "v": "TEXT", "c": ""}
