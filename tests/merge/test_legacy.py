"""Files of every AgentFarm era: the project's own, and real ones where they are at hand."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge import Action, audit, inspect_shard, merge_shards
from farm_merge.sqlite import sqlite3
from tests.conftest import query
from tests.merge.eras import write_era

ERAS = range(1, 9)
STATES = [
    (0, "agent_aa", 0.5),
    (0, "agent_bb", 1.5),
    (1, "agent_aa", 2.5),
    (1, "agent_bb", 3.5),
    (2, "agent_bb", 4.5),
]


@pytest.fixture
def merged(tmp_path):
    """Merge one file of an era, verified by content."""

    def merge(era, **options):
        source = write_era(tmp_path / "run_1.db", era)
        merge_shards([source], tmp_path / "exp.db", verify="content", **options)
        return tmp_path / "exp.db"

    return merge


@pytest.mark.parametrize("era", ERAS)
def test_an_era_is_recognised(era, tmp_path):
    found = inspect_shard(write_era(tmp_path / "run.db", era))
    assert found.schema.startswith(f"AgentFarm era {era} ")


@pytest.mark.parametrize("era", ERAS)
def test_the_states_of_an_era_are_in_todays_table(era, merged):
    output = merged(era)
    names = {"0": "agent_aa", "1": "agent_bb"} if era <= 3 else {}
    found = query(output, "SELECT step_number, agent_id, position_x FROM agent_states")
    assert [(step, names.get(agent, agent), x) for step, agent, x in found] == STATES
    name = "sim_one" if era >= 5 else "run_1"
    assert query(output, "SELECT DISTINCT simulation_id, typeof(agent_id) FROM agent_states") == [
        (name, "text")
    ]
    (first,) = query(output, "SELECT id FROM agent_states LIMIT 1")
    assert first == (f"{name}:{'0' if era <= 3 else 'agent_aa'}-0",)


@pytest.mark.parametrize("era", ERAS)
def test_merging_an_era_again_changes_nothing_and_it_verifies(era, merged, tmp_path):
    output = merged(era)
    before = output.read_bytes()
    vacuumed = tmp_path / "again" / "run_1.db"
    vacuumed.parent.mkdir()
    query(tmp_path / "run_1.db", "VACUUM INTO ?", str(vacuumed))
    report = merge_shards([tmp_path / "run_1.db", vacuumed], output)
    assert [outcome.action for outcome in report.simulations] == [Action.ALREADY_MERGED] * 2
    assert output.read_bytes() == before
    assert audit(output, [vacuumed]).problems == ()


@pytest.mark.parametrize("era", ERAS)
def test_a_table_that_today_lacks_stays_a_table_of_its_own(era, merged):
    output = merged(era)
    tables = {name for (name,) in query(output, "SELECT name FROM sqlite_schema")}
    wanted = {1: {"resources", "simulation_metrics"}, 2: {"learning_experiences"}}.get(era, set())
    if era in {3, 4, 5, 6}:
        wanted = {"learning_experiences"}
        assert query(
            output, "SELECT experience_id, typeof(agent_id) FROM learning_experiences"
        ) == [(1, "text")]
    if 4 <= era <= 7:
        wanted = wanted | {"reproduction_events"}
    assert wanted <= tables


def test_era_1_gets_its_step_numbers_and_keeps_the_surrogate(merged):
    output = merged(1)
    assert query(output, "SELECT step_number, step_id, state_id FROM agent_states LIMIT 2") == [
        (0, 1, 1),
        (0, 1, 2),
    ]
    assert query(output, "SELECT id, step_number, step_id FROM resource_states") == [
        (1, 0, 1),
        (2, 1, 2),
    ]
    assert query(output, "SELECT step_number, metric_name FROM simulation_metrics") == [
        (0, "total_agents"),
        (0, "births"),
        (1, "total_agents"),
        (2, "total_agents"),
        (2, "unheard_of"),
    ]


def test_the_tall_metrics_of_era_1_become_columns(merged):
    sql = "SELECT step_number, total_agents, births, typeof(total_agents) FROM simulation_steps"
    assert query(merged(1), sql) == [(0, 2, 0, "integer"), (1, 2, None, "integer"),
                                     (2, 1, None, "integer")]  # fmt: skip


def test_era_1_under_any_table_names(tmp_path):
    source = write_era(tmp_path / "run.db", 1)
    for name in ("Agents", "AgentStates", "SimulationSteps", "SimulationMetrics"):
        query(source, f"ALTER TABLE {name} RENAME TO my_{name}")
    assert inspect_shard(source).schema.startswith("AgentFarm era 1")
    merge_shards([source], tmp_path / "exp.db")
    assert query(tmp_path / "exp.db", "SELECT count(*) FROM agent_states") == [(5,)]


def test_a_step_that_does_not_exist_is_a_problem_with_its_count(tmp_path):
    source = write_era(tmp_path / "run.db", 1)
    query(source, "INSERT INTO AgentStates (agent_id, step_id) VALUES (0, 99), (1, 99)")
    with pytest.raises(ShardError, match="AgentStates: 2 rows have no step_number"):
        merge_shards([source], tmp_path / "exp.db")
    assert not (tmp_path / "exp.db").exists()


def test_era_2_keeps_both_rows_of_a_step_that_was_logged_twice(merged):
    sql = "SELECT id, step_number, amount FROM resource_states"
    assert query(merged(2), sql) == [(1, 0, 7.5), (2, 0, 7.5), (3, 1, 6.5)]


def test_renamed_columns_and_those_that_today_lacks(merged):
    output = merged(2)
    sql = "SELECT starting_health, starvation_threshold, parent_id FROM agents WHERE agent_id = '1'"
    assert query(output, sql) == [(100.0, 20, 0)]
    assert query(output, "SELECT DISTINCT starting_health FROM agent_states") == [(100.0,)]
    assert query(output, "SELECT action_target_id, position_before FROM agent_actions") == [
        ("1", "(1, 2)"),
        (None, None),
    ]


def test_counters_by_type_are_kept_and_written_as_today(merged):
    sql = "SELECT system_agents, independent_agents, agent_type_counts FROM simulation_steps"
    *_, last = query(merged(2), sql)
    assert last[:2] == (1, None)
    assert json.loads(last[2]) == {"system": 1, "independent": None, "control": 0}


@pytest.mark.parametrize(("era", "original"), [(3, 1), (4, "agent_aa-0"), (5, "agent_aa-0")])
def test_old_ids_of_states_are_kept_and_references_resolved(era, original, merged):
    output = merged(era)
    name = "sim_one" if era == 5 else "run_1"
    agent = "0" if era == 3 else "agent_aa"
    assert query(output, "SELECT original_id FROM agent_states LIMIT 1") == [(original,)]
    sql = "SELECT state_before_id, original_state_before_id FROM agent_actions WHERE action_id = 1"
    assert query(output, sql) == [(f"{name}:{agent}-0", original)]


@pytest.mark.parametrize("era", [6, 7, 8])
def test_ids_of_todays_form_are_not_kept_twice(era, merged):
    columns = query(merged(era), "SELECT name FROM pragma_table_info('agent_states')")
    assert ("original_id",) not in columns


def test_references_that_point_nowhere_are_counted(tmp_path):
    source = write_era(tmp_path / "run.db", 4)
    query(source, "UPDATE agent_actions SET state_after_id = 'nobody-7'")
    report = merge_shards([source], tmp_path / "exp.db")
    assert any("2 references point at no state" in note for note in report.notes)
    sql = "SELECT state_after_id, original_state_after_id FROM agent_actions"
    assert query(tmp_path / "exp.db", sql) == [(None, "nobody-7")] * 2
    ((choices,),) = query(tmp_path / "exp.db", "SELECT choices FROM merged_shards")
    assert json.loads(choices) == {"unresolved": {"state_after_id": 2}, "own_id": None}


@pytest.mark.parametrize("era", [5, 6, 7, 8])
def test_deaths_without_a_simulation_get_that_of_their_file(era, merged):
    assert query(merged(era), "SELECT simulation_id FROM health_incidents") == [("sim_one",)]


def test_a_file_without_its_registry_row_is_named_by_its_data(tmp_path):
    source = write_era(tmp_path / "simulation.db", 5)
    query(source, "DELETE FROM simulations")
    merge_shards([source], tmp_path / "exp.db")
    sql = "SELECT simulation_id, status, json_extract(results_summary, '$.steps') FROM simulations"
    assert query(tmp_path / "exp.db", sql) == [("sim_one", "unknown", 3)]


def test_metadata_of_a_run_without_any_is_derived(merged, tmp_path):
    output = merged(2)
    sql = "SELECT status, parameters, start_time, results_summary, end_time FROM simulations"
    ((status, parameters, start, summary, end),) = query(output, sql)
    assert (status, json.loads(parameters)) == ("unknown", {"width": 100})
    assert start == "2024-11-19 07:06:40.000000"
    assert json.loads(summary) == {"steps": 3, "agents": 2}
    assert end > "2026"


KEYS = {
    "agent_actions": "action_id",
    "resource_states": "id",
    "health_incidents": "incident_id",
    "simulation_config": "config_id",
}


def several(path, first, second):
    """Make a file with two simulations, as AgentFarm's experiment database wrote them."""
    source = write_era(path, 8, first)
    other = write_era(path.with_suffix(".other"), 8, second)
    for table in ("agents", "agent_states", "agent_actions", "health_incidents"):
        query(other, f"UPDATE {table} SET agent_id = '{second}_' || agent_id")
    query(other, "UPDATE agent_states SET id = simulation_id||':'||agent_id||'-'||step_number")
    for table, key in KEYS.items():
        query(other, f"UPDATE {table} SET {key} = {key} + 100")
    tables = [name for (name,) in query(other, "SELECT name FROM sqlite_schema WHERE sql NOTNULL")]
    with closing(sqlite3.connect(str(source), isolation_level=None)) as connection:
        connection.execute("ATTACH DATABASE ? AS other", (str(other),))
        for table in tables:
            connection.execute(f"INSERT INTO main.{table} SELECT * FROM other.{table}")
    return source


def test_several_simulations_in_one_file_are_merged_one_by_one(tmp_path):
    source = several(tmp_path / "several.db", "one", "two")
    report = merge_shards([source], tmp_path / "exp.db", verify="content")
    assert [outcome.simulation_id for outcome in report.simulations] == ["one", "two"]
    sql = "SELECT simulation_id, count(*) FROM agent_states GROUP BY 1"
    assert query(tmp_path / "exp.db", sql) == [("one", 5), ("two", 5)]
    # The deaths have no simulation_id; their agents have it.
    assert query(tmp_path / "exp.db", "SELECT simulation_id, agent_id FROM health_incidents") == [
        ("one", "agent_aa"),
        ("two", "two_agent_aa"),
    ]


def test_a_death_that_two_simulations_claim_is_carried_apart(tmp_path):
    source, output = several(tmp_path / "several.db", "one", "two"), tmp_path / "exp.db"
    query(source, "UPDATE agent_states SET agent_id = 'agent_aa', id = 'x' WHERE step_number = 2"
          " AND simulation_id = 'two'")  # fmt: skip
    merge_shards([source], output)
    assert query(output, "SELECT simulation_id, agent_id FROM health_incidents") == [
        ("several_unattributed", "agent_aa"),
        ("two", "two_agent_aa"),
    ]


def test_rows_of_nobody_among_several_simulations_are_carried_apart(tmp_path):
    source, output = several(tmp_path / "several.db", "one", "two"), tmp_path / "exp.db"
    query(source, "UPDATE resource_states SET simulation_id = NULL WHERE id = 1")
    with pytest.raises(ShardError, match="resource_states: 1 rows belong to none"):
        merge_shards([source], output, on_orphan_rows="error")
    merge_shards([source], output, verify="content")
    apart = "SELECT count(*) FROM resource_states WHERE simulation_id = 'several_unattributed'"
    assert query(output, apart) == [(1,)]
    ((choices,),) = query(
        output, "SELECT choices FROM merged_shards WHERE simulation_id = 'several_unattributed'"
    )
    assert json.loads(choices)["orphan_rows"] == {"chosen": "keep", "rows": {"resource_states": 1}}


def test_all_eras_in_one_merge_and_in_any_order(tmp_path):
    sources = [write_era(tmp_path / "in" / f"era{era}.db", era, f"sim_{era}") for era in ERAS]
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    merge_shards(sources, first, verify="content")
    merge_shards(sources[:3], second)
    merge_shards(sources[::-1], second, verify="content")
    for output in (first, second):
        assert audit(output, sources).problems == ()
        assert query(output, "PRAGMA integrity_check") == [("ok",)]
    third = tmp_path / "third.db"
    merge_shards([second], third)
    assert audit(third, [first, *sources]).problems == ()


def test_an_integer_registry_row_gives_its_metadata(tmp_path):
    source = write_era(tmp_path / "run_7.db", 3)
    query(
        source,
        "INSERT INTO simulations VALUES (1, NULL, NULL, 'completed', '{\"a\": 1}', NULL, '')",
    )
    merge_shards([source], tmp_path / "exp.db")
    assert query(
        tmp_path / "exp.db", "SELECT simulation_id, status, parameters FROM simulations"
    ) == [("run_7", "completed", '{"a": 1}')]


LEGACY = os.environ.get("FARM_MERGE_LEGACY")
needs_legacy = pytest.mark.skipif(not LEGACY, reason="FARM_MERGE_LEGACY names no folder")


def real_files():
    return sorted(Path(LEGACY or ".").rglob("*.db")) if LEGACY else []


@needs_legacy
def test_real_files_of_every_era_merge_in_one_command_and_verify(tmp_path):
    output = tmp_path / "exp.db"
    before = {path: path.read_bytes() for path in Path(LEGACY).rglob("*") if path.is_file()}
    report = merge_shards([LEGACY], output, include_running=True, verify="content")
    assert report.left_out == ()
    assert len(report.simulations) == len(real_files())
    assert audit(output, [LEGACY]).problems == ()
    assert {path: path.read_bytes() for path in Path(LEGACY).rglob("*") if path.is_file()} == before
    assert query(output, "PRAGMA integrity_check") == [("ok",)]


@needs_legacy
@pytest.mark.parametrize("path", real_files(), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_every_row_of_a_real_file_arrives(path, tmp_path):
    """Counted without this package: rows before, table by table, and rows after."""
    copy = tmp_path / "copy"
    shutil.copytree(path.parent, copy)
    copy.chmod(0o755)
    for file in copy.iterdir():
        file.chmod(0o644)
    tables = query(copy / path.name, "SELECT name FROM sqlite_schema WHERE type = 'table'")
    before = {
        name.lower().replace("_", ""): query(copy / path.name, f"SELECT count(*) FROM {name}")[0][0]
        for (name,) in tables
        if name not in {"sqlite_sequence", "experiments", "simulations"}
    }
    output = tmp_path / "exp.db"
    merge_shards([path], output, include_running=True)
    after = {}
    for (name,) in query(output, "SELECT name FROM sqlite_schema WHERE type = 'table'"):
        after[name.replace("_", "")] = query(output, f"SELECT count(*) FROM {name}")[0][0]
    assert {name: rows for name, rows in before.items() if rows} == {
        name: rows
        for name, rows in after.items()
        if rows and name not in {"experiments", "simulations", "mergedshards"}
    }


@needs_legacy
def test_the_wal_of_a_killed_run_is_read(tmp_path):
    killed = next(path for path in real_files() if path.with_name(f"{path.name}-wal").exists())
    report = merge_shards([killed], tmp_path / "exp.db")
    assert report.unfinished == 1
    assert query(tmp_path / "exp.db", "SELECT count(*) FROM agent_states") == [(1764,)]
    ((parameters,),) = query(tmp_path / "exp.db", "SELECT parameters FROM simulations")
    assert json.loads(parameters)["seed"] == 12
