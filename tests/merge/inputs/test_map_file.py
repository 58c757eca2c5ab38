"""All tables of a file have their place, as SQLite accepts it."""

from __future__ import annotations

from contextlib import closing

from farm_merge.merge.inputs.map_file import map_file
from farm_merge.merge.inputs.mapping import Traits
from farm_merge.merge.tables.structure import read_structure
from farm_merge.sqlite import sqlite3
from tests.merge.values import structure


def mapped(*statements, kind="foreign"):
    """Return how tables are carried that a program made which brought a function along."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.create_function("slug", 1, str, deterministic=True)
        for statement in statements:
            connection.execute(statement)
        found = read_structure(connection, merged_form=False)
    return map_file(found, kind, Traits("none")).tables


def test_every_table_is_carried_todays_and_its_own():
    tables = mapped(
        "CREATE TABLE Agents (agent_id INTEGER PRIMARY KEY, birth_time INTEGER)",
        "CREATE TABLE notes (line)",
        kind="AgentFarm",
    )
    assert [(table.source, table.target) for table in tables] == [
        ("Agents", "agents"),
        ("notes", "notes"),
    ]


def test_a_constraint_that_sqlite_refuses_is_noted_and_no_column_goes():
    (table,) = mapped("CREATE TABLE t (k INTEGER PRIMARY KEY, v CHECK (slug(v) = 1))")
    assert [name for name, _ in table.columns] == ["k", "v"]
    assert table.definition.column("v").constraints == ()
    lost = "table t: not carried, since its cost is not known: a constraint of column v"
    assert table.notes == (lost,)


def test_values_that_an_unknown_function_computed_are_carried_where_they_are_stored():
    (table,) = mapped(
        "CREATE TABLE t (k INTEGER PRIMARY KEY, v, s AS (slug(v)) STORED, c AS (slug(v)))"
    )
    assert [name for name, _ in table.columns] == ["k", "v", "s"]
    lost = "table t: not carried, since its cost is not known: column c, how column s is computed"
    assert table.notes == (lost,)


def test_one_mapping_serves_all_files_of_one_structure():
    found = structure("CREATE TABLE t (k)")
    assert map_file(found, "foreign", Traits("none")) is map_file(found, "foreign", Traits("none"))
    assert map_file(found, "foreign", Traits("one")) is not map_file(
        found, "foreign", Traits("none")
    )
