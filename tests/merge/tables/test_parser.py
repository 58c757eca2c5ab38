"""CREATE statements, read as SQLite reads them."""

from __future__ import annotations

from contextlib import closing

import pytest

from farm_merge.merge.tables.parser import parse_index, parse_table
from farm_merge.sqlite import sqlite3


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t (a, b)",
        "CREATE TABLE t (a INTEGER PRIMARY KEY DESC, b TEXT UNIQUE)",
        'CREATE TABLE "a ""b" ([c] INT /* , ) */ NOT NULL ON CONFLICT IGNORE, `d` DEFAULT (1, 2))'.replace(
            "(1, 2)", "(1 + (2))"
        ),
        "CREATE TABLE t (a TEXT CONSTRAINT n PRIMARY KEY, b REFERENCES t (a) ON UPDATE SET NULL MATCH SIMPLE NOT DEFERRABLE INITIALLY DEFERRED NOT NULL)",
        "CREATE TABLE t (a, b, CONSTRAINT k PRIMARY KEY (b, a) CONSTRAINT u UNIQUE (a) CHECK (a > ')'))",
        "CREATE TABLE t(a decimal(10, 5) default -1.5e-3, b varchar default 'it''s', c as (a) unique)",
        "CREATE TABLE t AS SELECT 1 AS x, 'a' AS y",
    ],
)
def test_a_definition_and_its_merged_form_are_one(sql):
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(sql)
        ((kept,),) = connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'table'")
        name = parse_table(kept).name.replace('"', '""')
        told = [row[1] for row in connection.execute(f'PRAGMA table_xinfo("{name}")')]
        key = [
            row[1]
            for row in sorted(
                connection.execute(f'PRAGMA table_xinfo("{name}")'), key=lambda r: r[5]
            )
            if row[5]
        ]
        definition = parse_table(kept)
        assert [each.name for each in definition.columns] == told
        assert list(definition.key_names) == key
        if key:
            again = parse_table(definition.create())
            assert again.merged
            assert again.create() == definition.create()


def test_an_index_and_its_merged_form_are_one():
    index = parse_index(
        "CREATE UNIQUE INDEX IF NOT EXISTS main.i ON t (a COLLATE nocase ASC, b+1) WHERE c"
    )
    assert parse_index(index.create()) == index
    assert index.where == "c"


def test_an_unfinished_statement_is_refused():
    with pytest.raises(ValueError, match="too early"):
        parse_table("CREATE TABLE t (a")
