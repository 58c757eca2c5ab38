"""Comparisons: a row a simulation, groups of repetitions, two side by side."""

from __future__ import annotations

import pytest

from farm_merge import SimulationDatabase, compare
from farm_merge.errors import FarmMergeError
from farm_merge.merge import merge_shards
from farm_merge.read.compare import (
    compare_simulations,
    compare_two,
    group_repetitions,
    result_columns,
    varied_parameters,
    varied_results,
)
from tests.conftest import query
from tests.read.conftest import RUNS
from tests.read.foreign import write_foreign_runs


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


def test_repetitions_are_grouped_and_their_spread_is_named(four_runs):
    found = group_repetitions(compare_simulations(four_runs))
    row = found[(found["result"] == "final_total_agents") & (found["learning_rate"] == 0.1)].iloc[0]
    assert (row["n"], row["mean"]) == (2, 17)
    assert (row["low"], row["high"], row["interval"]) == (12, 22, "range of runs")


def test_a_run_that_failed_is_in_no_group_whatever_it_left(four_runs):
    found = group_repetitions(compare_simulations(four_runs))
    row = found[(found["result"] == "agents_born") & (found["learning_rate"] == 0.5)].iloc[0]
    assert (row["n"], row["mean"]) == (1, 3)  # b2 failed; it had 4


def test_a_run_that_failed_and_left_nothing_is_in_no_group(four_runs):
    before = group_repetitions(compare_simulations(four_runs))
    query(
        four_runs,
        "INSERT INTO simulations (simulation_id, status, parameters, simulation_db_path)"
        " SELECT 'record', 'failed', parameters, '' FROM simulations WHERE simulation_id = 'b1'",
    )
    assert group_repetitions(compare_simulations(four_runs)).equals(before)


def test_a_single_run_has_no_confidence_interval(four_runs):
    found = group_repetitions(compare_simulations(four_runs, ["simulation_id=a1"]))
    row = found[found["result"] == "final_total_agents"].iloc[0]
    assert row["n"] == 1
    assert row["mean"] == 12
    assert row["low"] != row["low"]
    assert row["interval"] == "one run"


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


def test_a_table_with_one_row_a_simulation_is_its_results(tmp_path):
    for name in "ab":
        query(tmp_path / f"{name}.db", "CREATE TABLE agents (id INTEGER PRIMARY KEY, x REAL)")
        query(tmp_path / f"{name}.db", f"INSERT INTO agents (x) VALUES ({ord(name)})")
        (tmp_path / f"{name}.json").write_text(f'{{"speed": {ord(name)}}}')
    merge_shards([tmp_path / "a.db", tmp_path / "b.db"], tmp_path / "exp.db")
    found = compare_simulations(tmp_path / "exp.db")
    assert list(found["parameters.speed"]) == [97, 98]
    assert list(found["agents.x"]) == [97, 98]
    assert set(group_repetitions(found)["result"]) == {"agents.x"}


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
    assert list(row["n"]) == [2, 1]  # one failed
    assert list(row["mean"]) == [17, 32]
    assert list(row["value"]) == [10, 20]
    assert set(row["parameters.result"]) == {"x"}


def test_what_no_simulation_can_have_is_not_counted(tmp_path):
    with SimulationDatabase(tmp_path / "run.db") as db:
        db.logger.log_step(0, [], [], {"total_agents": 3})
    found = compare_simulations(tmp_path / "run.db")
    assert not [name for name in found if name.startswith(("actions", "agents_"))]
    assert "mean_reward" not in found


def test_the_tables_of_any_model_are_compared_by_what_their_rows_are(tmp_path):
    found = compare_simulations(write_foreign_runs(tmp_path))
    expected = {
        "steps": [3, 3, 3],
        "final_model.gini": [4, 5, 6],
        "mean_model.gini": [2.5, 3.5, 4.5],  # a text is no number, and not 0
        "min_model.gini": [1, 2, 3],
        "max_model.gini": [4, 5, 6],
        "final_model.constant": [7, 7, 7],
        "final_sheep.agents": [2, 2, 2],
        "final_mean_sheep.wealth": [2, 3, 4],
        "final_max_sheep.wealth": [3, 4, 5],
        "final_sheep.mood=calm": [1, 1, 1],
        "final_sheep.mood=wild": [1, 1, 1],
        "outcome.score": [10, 20, 30],
        "outcome.verdict": ["good"] * 3,
        "rows_trades": [1, 2, 3],
    }
    assert {name: list(found[name]) for name in expected} == expected
    assert not [name for name in found if "herd_id" in name or "note" in name]
    assert varied_parameters(found) == ["parameters.speed"]
    assert "final_model.constant" not in varied_results(found)
    grouped = group_repetitions(found).set_index(["speed", "result"])
    assert grouped.loc[(1, "final_model.gini"), "mean"] == 4.5


def test_what_agents_do_more_than_once_a_step_are_events(tmp_path):
    for sql in (
        "CREATE TABLE bids (step INT, agent INT, price REAL)",
        "INSERT INTO bids VALUES (0, 1, 2), (1, 1, 2), (1, 1, 3)",
    ):
        query(tmp_path / "run.db", sql)
    merge_shards([tmp_path / "run.db"], tmp_path / "exp.db")
    found = compare_simulations(tmp_path / "exp.db")
    assert result_columns(found) == ["rows_bids"]
    assert list(found["rows_bids"]) == [3]


@pytest.mark.parametrize("metric", ["model.gini", "gini"])
def test_a_metric_is_chosen_by_its_table_and_column(tmp_path, metric):
    found = compare_simulations(write_foreign_runs(tmp_path), metrics=[metric])
    assert result_columns(found) == [
        "steps", "final_model.gini", "mean_model.gini", "min_model.gini", "max_model.gini",
    ]  # fmt: skip


def test_a_metric_that_is_not_there_is_named_with_those_that_are(tmp_path):
    output = write_foreign_runs(tmp_path)
    with pytest.raises(FarmMergeError, match=r"no simulation has a metric wool; .* model\.gini"):
        compare_simulations(output, metrics=["wool"])
    query(output, "ALTER TABLE sheep ADD COLUMN score REAL")
    query(output, "UPDATE sheep SET score = 1")
    with pytest.raises(FarmMergeError, match=r"metric score may be outcome\.score, sheep\.score"):
        compare_simulations(output, metrics=["score"])
