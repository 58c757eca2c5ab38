"""Tables that today's schema does not have, as they are carried."""

from __future__ import annotations

from contextlib import closing

import pytest

from farm_merge.merge.inputs.map_file import map_file
from farm_merge.merge.inputs.mapping import Traits
from farm_merge.merge.tables.definition import ForeignKey
from farm_merge.merge.tables.structure import read_structure, today
from farm_merge.schema import ddl
from farm_merge.sqlite import sqlite3
from tests.merge.values import structure


def mapped(*statements, kind="foreign", table="t", **traits):
    """Return how a table of a file is carried."""
    found = structure(*statements)
    tables = map_file(
        found, kind, Traits(**{"ids": "none", "identified_by_column": False, **traits})
    )
    return next(it for it in tables.tables if it.source == table)


def columns(mapping):
    return [str(column).replace('"', "") for column in mapping.definition.columns]


def test_a_table_with_a_key_is_carried_as_it_is():
    found = mapped("CREATE TABLE t (k INT PRIMARY KEY, v TEXT NOT NULL, w AS (v))")
    assert columns(found) == ["k INT", "v TEXT NOT NULL", "w GENERATED ALWAYS AS (v) VIRTUAL"]
    assert dict(found.columns) == {"k": 't."k"', "v": 't."v"'}
    assert found.definition.merged
    assert found.origin == 'FROM source."t" AS t'
    assert found.notes == ()


def test_a_table_without_a_key_gets_the_rowid():
    found = mapped("CREATE TABLE t (row_number, v)")
    assert found.definition.key_names == ("row_number_",)
    assert dict(found.columns)["row_number_"] == "t.rowid"
    assert found.notes == ("table t has no primary key, and gets row_number_",)


def test_a_key_that_not_all_files_have_is_a_number_too():
    found = mapped("CREATE TABLE t (k INT PRIMARY KEY, v)", numbered=frozenset({"t"}))
    assert found.definition.key_names == ("row_number",)
    assert columns(found)[1:] == ["k INT", "v"]
    assert found.notes == ("rows of t are numbered by row_number: not all have its key",)
    found = mapped("CREATE TABLE t (k PRIMARY KEY) WITHOUT ROWID", numbered=frozenset({"t"}))
    assert dict(found.columns)["row_number"] == 'row_number() OVER (ORDER BY t."k")'


@pytest.mark.parametrize(
    ("column", "kept"),
    [
        ("people_id INT", True),
        ("people INT", True),
        ("peopleid", True),
        ("people_row INT", True),
        ("people_id TEXT", False),
        ("people_id INT REFERENCES people (name)", False),
        ("other_id INT", False),
    ],
)
def test_rowids_are_kept_where_other_rows_may_refer_to_them(column, kept):
    found = mapped(
        "CREATE TABLE people (name TEXT PRIMARY KEY, original_rowid)",
        f"CREATE TABLE likes (k INTEGER PRIMARY KEY, {column})",
        table="people",
    )
    assert ("original_rowid_" in dict(found.columns)) == kept
    assert bool(found.notes) == kept


def test_a_rowid_that_is_the_key_needs_not_be_kept():
    found = mapped(
        "CREATE TABLE people (id INTEGER PRIMARY KEY)",
        "CREATE TABLE likes (people_id INT)",
        table="people",
    )
    assert [name for name, _ in found.columns] == ["id"]


def test_a_simulation_id_that_names_runs_is_taken_out():
    found = mapped(
        "CREATE TABLE t (simulation_id TEXT, k, v, PRIMARY KEY (simulation_id, k),"
        " UNIQUE (simulation_id, v))",
        "CREATE INDEX whole ON t (simulation_id)",
        "CREATE INDEX first ON t (simulation_id, v)",
        "CREATE INDEX last ON t (v, Simulation_Id)",
        ids="one",
        identified_by_column=True,
    )
    assert columns(found) == ["k", "v"]
    assert (found.definition.key, found.definition.uniques) == (('"k"',), (('"v"',),))
    assert [(index.name, index.terms) for index in found.indexes] == [
        ("first", ('"v"',)),
        ("last", ('"v"',)),
    ]


def test_a_simulation_id_that_names_nothing_is_renamed():
    found = mapped(
        "CREATE TABLE t (simulation_id INT, k, PRIMARY KEY (simulation_id, k), UNIQUE (simulation_id))",
        "CREATE INDEX i ON t (k, simulation_id)",
        "CREATE INDEX j ON t (k)",
    )
    assert columns(found) == ["original_simulation_id INT", "k"]
    assert found.definition.key == ('"original_simulation_id"', '"k"')
    assert found.definition.uniques == (('"original_simulation_id"',),)
    assert dict(found.columns)["original_simulation_id"] == 't."simulation_id"'
    assert [index.name for index in found.indexes] == ["j"]
    (note,) = found.notes
    assert "names no simulation, and becomes original_simulation_id" in note


def test_a_table_that_gets_another_name_takes_its_indexes_and_references_along():
    found = structure(
        "CREATE TABLE agents (id INTEGER PRIMARY KEY, v)",
        "CREATE INDEX i ON agents (v)",
        "CREATE TABLE likes (k INTEGER PRIMARY KEY, a INT REFERENCES Agents, b REFERENCES agents (id))",
    )
    agents, likes = map_file(found, "foreign", Traits("none", identified_by_column=False)).tables
    assert agents.target == "agents_foreign"
    assert [index.table for index in agents.indexes] == ["agents_foreign"]
    assert agents.notes == ("table agents becomes agents_foreign",)
    assert likes.definition.foreign_keys == (
        ForeignKey(("a",), "agents_foreign", ("id",)),
        ForeignKey(("b",), "agents_foreign", ("id",)),
    )


@pytest.mark.parametrize(
    ("parent", "reference", "traits"),
    [
        ("CREATE TABLE p (k, v)", "REFERENCES p (k)", {}),  # nothing makes k unique
        ("CREATE TABLE p (k INT PRIMARY KEY)", "REFERENCES nowhere (k)", {}),
        ("CREATE TABLE p (k INT, l INT, PRIMARY KEY (k, l))", "REFERENCES p", {}),
        ("CREATE TABLE p (k INT PRIMARY KEY)", "REFERENCES p", {"numbered": frozenset({"p"})}),
    ],
)
def test_references_that_could_not_be_kept_are_not_declared(parent, reference, traits):
    found = mapped(parent, f"CREATE TABLE t (k INTEGER PRIMARY KEY, a {reference})", **traits)
    assert found.definition.foreign_keys == ()


def test_references_lose_their_simulation_which_is_always_in_front():
    found = mapped(
        "CREATE TABLE p (simulation_id TEXT, k, PRIMARY KEY (simulation_id, k))",
        "CREATE TABLE t (simulation_id TEXT, k INTEGER PRIMARY KEY, a,"
        " FOREIGN KEY (simulation_id, a) REFERENCES p,"
        " FOREIGN KEY (simulation_id) REFERENCES q)",
        ids="one",
        identified_by_column=True,
    )
    assert found.definition.foreign_keys == (ForeignKey(("a",), "p", ("k",)),)


def test_collations_that_sqlite_does_not_have_are_left_out_with_a_note():
    found = structure_with_collation()
    (mapping,) = map_file(found, "foreign", Traits("none", identified_by_column=False)).tables
    assert columns(mapping) == ["k TEXT", "v TEXT COLLATE NOCASE"]
    assert mapping.definition.key == ('"k"',)
    assert [index.terms for index in mapping.indexes] == [('"v"',)]
    assert mapping.notes == ("collations of t that SQLite does not have: mine, yours",)


def structure_with_collation():
    with closing(sqlite3.connect(":memory:")) as connection:
        for name in ("mine", "yours"):
            connection.create_collation(name, lambda one, other: (one > other) - (one < other))
        connection.execute(
            "CREATE TABLE t (k TEXT COLLATE mine, v TEXT COLLATE NOCASE, PRIMARY KEY (k COLLATE mine))"
        )
        connection.execute("CREATE INDEX i ON t (v COLLATE yours)")
        return read_structure(connection)


def test_computed_columns_that_other_files_store_are_stored():
    statement = "CREATE TABLE t (k INT PRIMARY KEY, V INT AS (k + 1), w AS (k))"
    found = mapped(statement, stored=frozenset({"t.v"}))
    assert columns(found) == ["k INT", "V INT", "w GENERATED ALWAYS AS (k) VIRTUAL"]
    assert dict(found.columns) == {"k": 't."k"', "V": 't."V"'}
    assert found.notes == ("computed columns of t are stored: V",)


def test_agentfarms_ids_become_text_with_a_note():
    found = mapped(
        "CREATE TABLE t (k INTEGER PRIMARY KEY, agent_id INT, parent_id VARCHAR(9), x INT)",
        kind="AgentFarm",
    )
    assert columns(found)[1:] == ["agent_id VARCHAR(64)", "parent_id VARCHAR(9)", "x INT"]
    assert found.notes == ("ids of t become text: agent_id",)


@pytest.mark.parametrize(
    ("column", "added"),
    [("step_id INT", True), ("step_id INT, step_number INT", False), ("step_number INT", False)],
)
def test_the_number_of_a_step_is_added_where_a_table_has_its_surrogate_alone(column, added):
    found = mapped(
        "CREATE TABLE simulation_steps (step_id INTEGER PRIMARY KEY, step_number INT)",
        f"CREATE TABLE t (k INTEGER PRIMARY KEY, {column})",
        kind="AgentFarm",
    )
    names = [it.name for it in found.definition.columns]
    assert names.count("step_number") == 1
    assert dict(found.columns)["step_number"].startswith("(SELECT" if added else "t.")
    assert found.notes == ()


def test_a_merged_table_of_a_shard_stays_as_it_is():
    own = "CREATE TABLE t (simulation_id, k INT, PRIMARY KEY (simulation_id, k)) WITHOUT ROWID"
    found = structure(*ddl(), own, merged_form=True)
    tables = map_file(found, "today", Traits("many")).tables
    mapping = next(it for it in tables if it.source == "t")
    assert mapping.simulation == "t.simulation_id"
    assert mapping.definition.key_names == ("k",)
    assert today().tables.keys() <= {it.target for it in tables}
