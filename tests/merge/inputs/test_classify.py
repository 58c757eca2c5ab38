"""Which schema a file has, and what its tables are called in an output."""

from __future__ import annotations

import pytest

from farm_merge.merge import inspect_shard, merge_shards
from farm_merge.merge.inputs import legacy
from farm_merge.merge.inputs.classify import classify, target_names
from farm_merge.merge.tables.structure import registry, today
from tests.conftest import query
from tests.merge.eras import write, write_era
from tests.merge.values import structure

AGENTFARM = (
    f"CREATE TABLE agents (agent_id, {', '.join(sorted(legacy.MARKS - {'agent_id'}))})",
    "CREATE TABLE agent_states (id, agent_id, step_number)",
)


def test_todays_schema_is_known_by_its_marks_and_its_registry():
    assert classify(today(), current=True) == ("today", "farm-merge 1")
    assert classify(registry(), current=True) == ("today", "farm-merge 1")
    assert classify(today(), current=True, family="foreign")[0] == "today"
    assert classify(today(), current=False)[0] != "today"
    assert classify(structure("CREATE TABLE t (x)"), current=True) == ("foreign", "foreign")


def test_agentfarm_is_known_by_columns_that_other_models_do_not_share():
    assert classify(structure(*AGENTFARM), current=False)[0] == "AgentFarm"
    assert classify(structure(AGENTFARM[0]), current=False) == ("foreign", "foreign")
    other = "CREATE TABLE agents (agent_id, x, y)"
    assert classify(structure(other, AGENTFARM[1]), current=False) == ("foreign", "foreign")


def test_a_user_may_know_better():
    assert classify(structure(*AGENTFARM), current=False, family="foreign") == (
        "foreign",
        "foreign",
    )
    found = classify(structure("CREATE TABLE agents (agent_id)"), current=False, family="agentfarm")
    assert found == ("AgentFarm", "AgentFarm of an unknown era")


@pytest.mark.parametrize("era", range(1, 9))
def test_an_era_stays_one_under_any_case(era, tmp_path):
    path = write_era(tmp_path / "run.db", era)
    for (name,) in query(path, "SELECT name FROM sqlite_schema WHERE type = 'table'"):
        if not name.startswith("sqlite"):
            query(path, f"ALTER TABLE {name} RENAME TO {name}_x")
            query(path, f"ALTER TABLE {name}_x RENAME TO {name.upper()}")
    assert inspect_shard(path).schema.startswith(f"AgentFarm era {era} ")


def test_names_that_are_taken_get_a_suffix_and_a_number():
    found = structure(
        "CREATE TABLE Agents (x)",
        "CREATE TABLE agents_foreign (x)",
        "CREATE TABLE Simulations (x)",
        "CREATE TABLE t (x)",
    )
    assert target_names(found, "foreign") == {
        "agents": "Agents_foreign",
        "agents_foreign": "agents_foreign_foreign",
        "simulations": "Simulations_foreign",
        "t": "t",
    }
    assert target_names(found, "foreign", alone=True) == {
        "agents": "Agents",
        "agents_foreign": "agents_foreign",
        "simulations": "Simulations_foreign",
        "t": "t",
    }


def test_two_tables_whose_names_are_taken_get_two_names(tmp_path):
    """The one that comes second finds its first choice taken, and the next as well."""
    path = write(
        tmp_path / "run.db",
        "CREATE TABLE agent_states_foreign (x)",
        "CREATE TABLE Agent_States (x)",
        "INSERT INTO agent_states_foreign VALUES (1)",
        "INSERT INTO Agent_States VALUES (2)",
    )
    found = inspect_shard(path)
    assert [(it.source, it.target) for it in found.mapping.tables] == [
        ("Agent_States", "Agent_States_foreign"),
        ("agent_states_foreign", "agent_states_foreign_foreign"),
    ]
    output = tmp_path / "exp.db"
    merge_shards([path, write_era(tmp_path / "old.db", 3)], output)
    assert query(output, "SELECT x FROM Agent_States_foreign") == [(2,)]
    assert query(output, "SELECT x FROM agent_states_foreign_foreign") == [(1,)]


def test_a_name_is_numbered_until_it_is_free():
    found = structure(
        "CREATE TABLE AGENTS_foreign2 (a)",
        "CREATE TABLE Agents_Foreign (b)",
        "CREATE TABLE agents (c)",
    )
    assert target_names(found, "foreign") == {
        "agents_foreign2": "AGENTS_foreign2",
        "agents_foreign": "Agents_Foreign",
        "agents": "agents_foreign3",
    }


def test_agentfarms_tables_are_known_by_name_or_by_shape():
    name, columns = next(iter(legacy.SHAPES.items()))
    found = structure(
        f"CREATE TABLE whatever ({', '.join(columns)})", "CREATE TABLE AgentStates (x)"
    )
    assert target_names(found, "AgentFarm") == {"whatever": name, "agentstates": "agent_states"}


def test_two_tables_of_one_name_do_not_become_one():
    found = structure("CREATE TABLE AgentStates (x)", "CREATE TABLE agent_states (x)")
    assert target_names(found, "AgentFarm") == {
        "agentstates": "agent_states",
        "agent_states": "agent_states_foreign",
    }
