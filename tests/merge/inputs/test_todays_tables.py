"""Tables of today's schema, from files that have them in an older form."""

from __future__ import annotations

import pytest

from farm_merge.merge import inspect_shard
from farm_merge.merge.inputs.map_file import map_file
from farm_merge.merge.inputs.mapping import Traits
from farm_merge.merge.tables.structure import today
from tests.conftest import query
from tests.merge.checks import merge_checked
from tests.merge.eras import write_era
from tests.merge.values import structure

STATES = "CREATE TABLE agent_states (step_number INT, agent_id INT, position_x REAL{})"


def mapped(statement, *more, **traits):
    """Return how the table of a file of AgentFarm is carried."""
    return map_file(structure(statement, *more), "AgentFarm", Traits("none", **traits)).tables[0]


def added(mapping):
    expected = today().tables[mapping.target]
    return [it.name for it in mapping.definition.columns if not expected.column(it.name)]


def test_columns_are_known_by_their_names_in_any_case():
    found = mapped("CREATE TABLE AgentStates (Step_Number INT, AGENT_ID INT, mood TEXT)")
    assert found.target == "agent_states"
    assert dict(found.columns) == {
        "step_number": 't."Step_Number"',
        "agent_id": 't."AGENT_ID"',
        "mood": 't."mood"',
    }
    assert added(found) == ["mood"]
    assert found.notes == ("columns added to agent_states: mood",)


def test_a_column_that_was_called_otherwise_gets_todays_name_once():
    found = mapped("CREATE TABLE agents (agent_id INT, max_health REAL)")
    assert dict(found.columns)["starting_health"] == 't."max_health"'
    both = mapped("CREATE TABLE agents (agent_id INT, max_health REAL, starting_health REAL)")
    assert dict(both.columns)["starting_health"] == 't."starting_health"'
    assert added(both) == ["max_health"]


def test_a_key_column_that_a_file_has_keeps_its_values(tmp_path):
    """Only what lacks is numbered: gaps and any order in the keys of a run are its own."""
    path = write_era(tmp_path / "run.db", 8, "s")
    keys = {
        "agent_actions": "action_id",
        "resource_states": "id",
        "health_incidents": "incident_id",
    }
    for table, key in keys.items():
        query(path, f"UPDATE {table} SET {key} = 70 - 7 * {key}")
        (mapping,) = [it for it in inspect_shard(path).mapping.tables if it.target == table]
        assert dict(mapping.columns)[key] == f't."{key}"'
    output = tmp_path / "exp.db"
    merge_checked(output, path)
    for table, key in keys.items():
        rows = f"SELECT {key} FROM {table} ORDER BY 1"
        assert query(output, rows) == query(path, rows)


def test_a_key_column_that_lacks_is_numbered():
    found = mapped("CREATE TABLE resource_states (step_number INT, resource_id INT, amount REAL)")
    assert dict(found.columns)["id"] == "row_number() OVER (ORDER BY t.rowid)"


def test_a_key_made_of_step_and_agent_is_never_numbered():
    found = mapped("CREATE TABLE agent_states (position_x REAL, step_number INT)")
    assert "agent_id" not in dict(found.columns)


def test_a_generated_id_is_kept_beside_where_it_holds_more():
    assert "original_id" not in dict(mapped(STATES.format(", id TEXT")).columns)
    found = mapped(STATES.format(", id TEXT"), original_ids=True)
    assert dict(found.columns)["original_id"] == 't."id"'
    assert "id" not in dict(found.columns)


def test_references_to_states_are_resolved_and_kept():
    found = mapped(
        "CREATE TABLE agent_actions (action_id INT, state_before_id INT)",
        state_references=("state_before_id",),
    )
    columns = dict(found.columns)
    assert columns["original_state_before_id"] == "t.state_before_id"
    assert columns["state_before_id"].startswith("(SELECT :simulation_id || ':' || s.agent_id")


@pytest.mark.parametrize(
    ("declared", "expected"),
    [("INTEGER", "VARCHAR(64)"), ("TEXT", "TEXT"), ("BLOB", "BLOB"), ("REAL", "REAL")],
)
def test_ids_that_were_integers_are_text_by_intention(declared, expected):
    found = mapped(f"CREATE TABLE agents (agent_id {declared})")
    assert found.definition.column("agent_id").declared_type == expected


def test_registry_rows_of_old_files_get_what_todays_never_lack():
    found = mapped("CREATE TABLE simulations (simulation_id TEXT, parameters)")
    columns = dict(found.columns)
    assert columns["parameters"] == "coalesce(t.\"parameters\", '{}')"
    assert columns["simulation_db_path"] == "''"
    found = mapped("CREATE TABLE experiments (experiment_id TEXT)")
    assert dict(found.columns)["name"] == "t.experiment_id"


STEPS = "CREATE TABLE SimulationSteps (step_id INTEGER PRIMARY KEY, step_number INT{})"
METRICS = "CREATE TABLE SimulationMetrics (metric_id INTEGER PRIMARY KEY, step_id INT, metric_name, metric_value)"


def steps(more="", *others):
    tables = map_file(structure(STEPS.format(more), *others), "AgentFarm", Traits("none")).tables
    return next(it for it in tables if it.target == "simulation_steps")


def test_tall_metrics_become_columns_where_steps_have_none():
    found = steps("", METRICS)
    assert dict(found.columns)["births"] == "m.births"
    assert "GROUP BY step_id) AS m ON m.step_id = t.step_id" in found.joined
    assert steps().joined == ""
    own = steps(", births INT", METRICS)
    assert dict(own.columns)["births"] == 't."births"'
    assert "births" not in own.joined


def test_a_step_is_looked_up_where_a_table_has_its_surrogate_alone():
    states = "CREATE TABLE AgentStates (step_id INT, agent_id INT{})"
    for more, expected in (("", "(SELECT s.step_number"), (", step_number INT", 't."step_number"')):
        tables = map_file(
            structure(STEPS.format(""), states.format(more)), "AgentFarm", Traits("none")
        ).tables
        found = next(it for it in tables if it.target == "agent_states")
        assert dict(found.columns)["step_number"].startswith(expected)


def test_todays_tables_are_carried_as_they_are():
    for mapping in map_file(today(), "today", Traits("one")).tables:
        assert mapping.definition == today().tables[mapping.source]
        is_about_runs = mapping.source != "experiments"
        assert mapping.simulation == ("t.simulation_id" if is_about_runs else ":simulation_id")
        assert all(text == f't."{name}"' or "coalesce" in text for name, text in mapping.columns)
        assert mapping.notes == ()
