"""Virtual tables, and the tables behind them, as their modules make them."""

from __future__ import annotations

from contextlib import closing

import pytest

from farm_merge.merge.tables.virtual import parse_virtual_table
from farm_merge.sqlite import sqlite3


@pytest.mark.parametrize(
    "using",
    [
        "fts3(a)",
        "fts4(a, b)",
        'fts4(a, content="", tokenize=porter)',
        "fts4(a, matchinfo=fts3)",
        "FTS4(a, content='other')",
        "fts5(a, b UNINDEXED)",
        "fts5(a, content='')",
        "fts5(a, content=other, columnsize=0)",
        "fts5(a, columnsize = 0)",
        "rtree(id, a, b)",
        "rtree_i32(id, a, b, +c)",
    ],
)
def test_the_tables_behind_a_virtual_table_are_those_that_its_module_makes(using):
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE other (a)")
        connection.execute(f'CREATE VIRTUAL TABLE "my Words" USING {using}')
        asked = (
            "SELECT lower(name) FROM sqlite_schema WHERE type = 'table' AND name LIKE 'my Words_%'"
        )
        made = {name for (name,) in connection.execute(asked)}
        ((sql,),) = connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'my Words'")
    found = parse_virtual_table(sql)
    assert found.name == "my Words"
    assert found.module == using.partition("(")[0].lower()
    assert found.shadows == made


def test_an_ordinary_table_beside_one_is_no_shadow_of_it():
    assert "sites_data" not in parse_virtual_table(
        "CREATE VIRTUAL TABLE sites USING rtree(id, a, b)"
    ).shadows  # fmt: skip
    assert not parse_virtual_table("CREATE VIRTUAL TABLE x USING mine(a, content=b)").shadows


@pytest.mark.parametrize(
    "sql", ["", "CREATE TABLE t (virtual)", "CREATE VIRTUAL TABLE", "CREATE TABLE virtual (x)"]
)
def test_other_statements_make_none(sql):
    assert parse_virtual_table(sql) is None


def test_a_virtual_table_without_arguments():
    found = parse_virtual_table("CREATE VIRTUAL TABLE IF NOT EXISTS main.[a b] USING dbstat")
    assert (found.name, found.module, found.options) == ("a b", "dbstat", ())
