"""A database gets the tables, columns and indexes of another, and keeps its rows."""

from __future__ import annotations

from contextlib import closing

import pytest

from farm_merge.merge.tables.changes import (
    change,
    index_changes,
    redefinitions,
    table_changes,
)
from farm_merge.merge.tables.structure import read_structure, registry, today
from farm_merge.schema import create_schema, ddl, ddl_of
from farm_merge.sqlite import sqlite3
from tests.merge.values import structure, table

BASE = "a INT PRIMARY KEY, b TEXT"


def made(*columns, indexes=()):
    """Return a structure of merged tables, called t, u, ..."""
    tables = [table(text, name="tuvw"[n]).create() for n, text in enumerate(columns)]
    return structure(*tables, *indexes, merged_form=True)


def test_what_is_there_needs_no_change():
    for found in (today(), registry(), made(BASE)):
        assert list(table_changes(found, found)) == []
        assert list(index_changes(found, found)) == []
        assert list(redefinitions(found, found)) == []


def test_a_table_that_lacks_is_made_and_a_column_added():
    have, want = made(BASE), made(f"{BASE}, c REAL", "k INT PRIMARY KEY")
    assert list(table_changes(have, want)) == [
        'ALTER TABLE main."t" ADD COLUMN "c" REAL',
        want.tables["u"].create(),
    ]
    assert list(table_changes(have, want, ["u"])) == [want.tables["u"].create()]
    assert list(table_changes(want, have)) == []  # nothing is ever taken away


def test_todays_tables_are_made_as_today_writes_them():
    assert list(table_changes(registry(), today(), ["agents"])) == [ddl_of("agents")]
    wider = structure(*ddl(), "ALTER TABLE agents ADD COLUMN mood TEXT", merged_form=True)
    assert list(table_changes(registry(), wider, ["agents"])) == [
        ddl_of("agents"),
        'ALTER TABLE main."agents" ADD COLUMN "mood" TEXT',
    ]
    other = structure(table("k INT PRIMARY KEY", name="agents").create(), merged_form=True)
    assert list(table_changes(registry(), other)) == [other.tables["agents"].create()]


def test_indexes_come_and_go_by_what_they_are():
    plain = "CREATE INDEX {} ON t (simulation_id, b)"
    have = made(BASE, indexes=[plain.format("i"), plain.format("j")])
    want = made(
        BASE, indexes=[plain.format("i"), plain.format("k").replace("INDEX", "UNIQUE INDEX", 1)]
    )
    assert list(index_changes(have, want)) == [
        'CREATE UNIQUE INDEX "k" ON "t" (simulation_id, "b")'
    ]
    assert list(index_changes(have, want, ["u"])) == []


@pytest.mark.parametrize(
    "columns",
    [
        "a INT PRIMARY KEY, b TEXT NOT NULL",
        "a INT PRIMARY KEY, b INT",
        f"{BASE}, UNIQUE (b)",
        f"{BASE}, CHECK (b > '')",
        f"{BASE}, FOREIGN KEY (b) REFERENCES t (a)",
    ],
)
def test_another_declaration_is_a_redefinition(columns):
    have, want = made(columns), made(BASE)
    assert list(redefinitions(have, want)) == [want.tables["t"]]
    # A column at the end is none: it can be added.
    assert list(redefinitions(want, made(f"{BASE}, c"))) == []


def test_a_database_becomes_another_and_keeps_its_rows():
    have = made("a INT PRIMARY KEY, b TEXT NOT NULL CHECK (b <> 'x')", indexes=[
        "CREATE UNIQUE INDEX i ON t (simulation_id, b)"])  # fmt: skip
    want = made("a INT PRIMARY KEY, b, c REAL", "k INT PRIMARY KEY", indexes=[
        "CREATE INDEX i ON t (simulation_id, b)"])  # fmt: skip
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        create_schema(connection, registry_only=True)
        connection.execute(have.tables["t"].create())
        connection.execute(have.indexes["t"][0].create())
        connection.execute("INSERT INTO t VALUES ('s', 1, 'one')")
        connection.execute("BEGIN")
        change(connection, have, want)
        connection.execute(
            "INSERT INTO t VALUES ('s', 2, NULL, 0.5), ('s', 3, 'x', 1), ('s', 4, 'x', 1)"
        )
        connection.execute("COMMIT")
        found = read_structure(connection)
        assert {name: found.tables[name] for name in "tu"} == dict(want.tables)
        assert found.indexes["t"] == want.indexes["t"]
        assert connection.execute("SELECT a, quote(b), c FROM t").fetchall() == [
            (1, "'one'", None),
            (2, "NULL", 0.5),
            (3, "'x'", 1.0),
            (4, "'x'", 1.0),
        ]
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_change_that_is_rolled_back_is_none():
    have, want = made("a INT PRIMARY KEY, b TEXT NOT NULL"), made("a INT PRIMARY KEY, b")
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        create_schema(connection, registry_only=True)
        connection.execute(have.tables["t"].create())
        connection.execute("BEGIN")
        change(connection, have, want)
        connection.execute("ROLLBACK")
        assert read_structure(connection).tables["t"] == have.tables["t"]
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute("INSERT INTO t VALUES ('s', 1, NULL)")
        # Nobody may write the schema of the output by hand afterwards.
        with pytest.raises(sqlite3.OperationalError):
            connection.execute("UPDATE sqlite_schema SET sql = NULL")
