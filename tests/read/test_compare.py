"""Comparisons: a row a simulation, groups of repetitions, two side by side."""

from __future__ import annotations

import pytest
from scipy import stats

from farm_merge import SimulationDatabase, compare
from farm_merge.errors import FarmMergeError
from farm_merge.merge import merge_shards
from farm_merge.read.compare import (
    compare_simulations,
    compare_two,
    group_repetitions,
    varied_parameters,
)
from tests.conftest import query
from tests.read.conftest import RUNS


def test_one_row_a_simulation(four_runs):
    found = compare_simulations(four_runs)
    assert list(found.index) == list(RUNS)
    assert list(found["final_total_agents"]) == [12, 22, 32, 42]
    assert list(found["mean_total_agents"]) == [11, 21, 31, 41]
    assert list(found["steps"]) == [3, 3, 3, 3]
    assert list(found["agents_born"]) == [1, 2, 3, 4]
    assert list(found["actions_move"]) == [3, 3, 3, 3]
    assert list(found["mean_reward"]) == [0, 1, 2, 3]
    assert list(found["parameters.world.size"]) == [10] * 4
    assert varied_parameters(found) == ["parameters.learning_rate"]


def test_repetitions_are_grouped_with_students_confidence_interval(four_runs):
    found = group_repetitions(compare_simulations(four_runs))
    row = found[(found["result"] == "final_total_agents") & (found["learning_rate"] == 0.1)].iloc[0]
    assert (row["n"], row["mean"]) == (2, 17)
    low, high = stats.t.interval(0.95, 1, loc=17, scale=stats.sem([12, 22]))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high))


def test_a_single_run_has_no_confidence_interval(four_runs):
    found = group_repetitions(compare_simulations(four_runs, ["simulation_id=a1"]))
    row = found[found["result"] == "final_total_agents"].iloc[0]
    assert row["n"] == 1
    assert row["mean"] == 12
    assert row["ci_low"] != row["ci_low"]


def test_two_simulations_side_by_side(four_runs):
    found = compare_two(four_runs, "a1", "b2").set_index("name")
    assert found.loc["final_total_agents", "difference"] == 30
    assert found.loc["status", ["a1", "b2"]].tolist() == ["completed", "failed"]
    with pytest.raises(FarmMergeError, match="has no simulation nobody"):
        compare_two(four_runs, "a1", "nobody")


def test_a_parameter_that_not_all_have_makes_no_set(four_runs):
    query(
        four_runs,
        "UPDATE simulations SET parameters = json_set(parameters, '$.speed', 2)"
        " WHERE simulation_id = 'a1'",
    )
    assert varied_parameters(compare_simulations(four_runs)) == ["parameters.learning_rate"]


def test_a_database_without_agentfarms_tables_has_parameters_alone(tmp_path):
    for name in "ab":
        query(tmp_path / f"{name}.db", "CREATE TABLE agents (id INTEGER PRIMARY KEY, x REAL)")
        query(tmp_path / f"{name}.db", f"INSERT INTO agents (x) VALUES ({ord(name)})")
        (tmp_path / f"{name}.json").write_text(f'{{"speed": {ord(name)}}}')
    merge_shards([tmp_path / "a.db", tmp_path / "b.db"], tmp_path / "exp.db")
    found = compare_simulations(tmp_path / "exp.db")
    assert list(found["parameters.speed"]) == [97, 98]
    assert group_repetitions(found).empty


def test_names_that_notebooks_import_are_the_same():
    assert compare.compare_simulations is compare_simulations
    assert compare.group_repetitions is group_repetitions


def test_a_parameter_that_is_called_like_a_column_keeps_its_values(four_runs):
    query(
        four_runs,
        "UPDATE simulations SET parameters = json_object('n', seed, 'mean', 1, 'result', 'x',"
        " 'value', seed * 2, 'steps', 7), seed = CASE WHEN simulation_id < 'b' THEN 10 ELSE 20 END",
    )
    query(
        four_runs,
        "UPDATE simulations SET parameters = json_set(parameters, '$.n', seed, '$.value', seed)",
    )
    found = compare_simulations(four_runs)
    assert list(found["parameters.steps"]) == [7] * 4
    assert list(found["steps"]) == [3] * 4
    grouped = group_repetitions(found, ["n", "value", "mean", "result"])
    row = grouped[grouped["result"] == "final_total_agents"].set_index("parameters.n")
    assert list(row.index) == [10, 20]
    assert list(row["n"]) == [2, 2]
    assert list(row["mean"]) == [17, 37]
    assert list(row["value"]) == [10, 20]
    assert set(row["parameters.result"]) == {"x"}


def test_what_no_simulation_can_have_is_not_counted(tmp_path):
    with SimulationDatabase(tmp_path / "run.db") as db:
        db.logger.log_step(0, [], [], {"total_agents": 3})
    found = compare_simulations(tmp_path / "run.db")
    assert not [name for name in found if name.startswith(("actions", "agents_"))]
    assert "mean_reward" not in found
