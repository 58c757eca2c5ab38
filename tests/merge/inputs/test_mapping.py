"""How a table of a file is read: whose its rows are, and in which order they were written."""

from __future__ import annotations

import pytest

from farm_merge.merge.inputs.classify import target_names
from farm_merge.merge.inputs.mapping import (
    SourceTables,
    Traits,
    ordinal_of,
    simulation_of,
    step_number_of,
)
from tests.merge.values import structure

TABLES = (
    "CREATE TABLE with_id (simulation_id TEXT, k)",
    "CREATE TABLE without_id (k)",
    "CREATE TABLE agents (simulation_id TEXT, agent_id)",
    "CREATE TABLE deaths (simulation_id TEXT, agent_id)",
    "CREATE TABLE simulations (simulation_id TEXT)",
)


def tables(kind="foreign", statements=TABLES, **traits):
    found = structure(*statements)
    return SourceTables(found, kind, target_names(found, kind), Traits(**traits))


def simulation(table, kind="foreign", **traits):
    file = tables(kind, **traits)
    return simulation_of(file, file.structure.tables[table])


def test_in_a_file_of_one_all_rows_are_its_own():
    for ids in ("none", "one"):
        assert simulation("with_id", ids=ids) == ":simulation_id"
        assert simulation("without_id", ids=ids) == ":simulation_id"
    assert simulation("simulations", "AgentFarm", ids="one") == "t.simulation_id"
    assert simulation("simulations", "AgentFarm", ids="none") == ":simulation_id"
    assert simulation("simulations", "AgentFarm", ids="one", renamed=True) == ":simulation_id"


def test_in_a_file_of_several_rows_say_whose_they_are_or_are_nobodys():
    assert simulation("with_id", ids="many") == "coalesce(t.simulation_id, :unattributed)"
    assert simulation("without_id", ids="many") == ":unattributed"
    assert simulation("simulations", "AgentFarm", ids="many") == "t.simulation_id"


def test_agents_decide_whose_the_rows_of_agentfarm_are():
    found = simulation("deaths", "AgentFarm", ids="many")
    assert found.startswith("coalesce(t.simulation_id, (SELECT CASE count(DISTINCT id)")
    assert 'FROM source."agents" AS a WHERE a.agent_id = t.agent_id' in found
    assert found.endswith(", :unattributed)")
    assert "agents" not in simulation("deaths", ids="many")


def test_runs_that_get_other_names_are_looked_up():
    found = simulation("with_id", ids="many", renamed=True)
    assert found == (
        "coalesce((SELECT n.name FROM temp.renamed AS n WHERE n.own_id IS"
        " coalesce(t.simulation_id, :unattributed)), coalesce(t.simulation_id, :unattributed))"
    )
    assert simulation("without_id", ids="many", renamed=True) == ":unattributed"


@pytest.mark.parametrize(
    ("statement", "ids", "expected"),
    [
        ("CREATE TABLE t (a)", "one", "row_number() OVER (ORDER BY t.rowid)"),
        ("CREATE TABLE t (a)", "many", "row_number() OVER (PARTITION BY s ORDER BY t.rowid)"),
        (
            'CREATE TABLE t ("a b" PRIMARY KEY, b) WITHOUT ROWID',
            "one",
            'row_number() OVER (ORDER BY t."a b")',
        ),
        ("CREATE TABLE t (rowid, oid, _rowid_)", "one", "row_number() OVER ()"),
    ],
)
def test_rows_are_numbered_as_they_were_written(statement, ids, expected):
    table = structure(statement).tables["t"]
    assert ordinal_of(table, "s", Traits(ids)) == expected


def test_a_step_is_found_by_its_surrogate():
    steps = "CREATE TABLE SimulationSteps (step_id INTEGER PRIMARY KEY, step_number)"
    assert step_number_of(tables("AgentFarm", (steps,))) == (
        '(SELECT s.step_number FROM source."SimulationSteps" AS s WHERE s.step_id = t.step_id)'
    )
    for other in ("CREATE TABLE simulation_steps (step_number)", "CREATE TABLE t (x)"):
        assert step_number_of(tables("AgentFarm", (other,))) == "NULL"
