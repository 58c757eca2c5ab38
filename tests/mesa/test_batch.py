"""A batch of Mesa's: its arguments, its result, and what interrupts it."""

from __future__ import annotations

import gc
import inspect
import json
import weakref

import mesa
import pytest
from mesa.examples import BoltzmannWealth

from farm_merge.errors import ConflictError, FarmMergeError, InvalidOptionError
from farm_merge.merge import audit
from farm_merge.mesa import batch_run
from farm_merge.read.compare import compare_simulations, varied_parameters
from tests.conftest import query
from tests.mesa.models import Walkers

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

TAKES_RNG = "rng" in inspect.signature(mesa.batch_run).parameters


def batch(parameters, tmp_path, processes=1, **options):
    options = {"max_steps": 6, "display_progress": False, "output": tmp_path / "exp.db", **options}
    return batch_run(Walkers, parameters, processes, **options)


@pytest.mark.parametrize("period", [-1, 1, 2])
def test_the_result_is_that_of_mesa(tmp_path, period):
    parameters = {"n": range(2, 4), "stop": [3, None], "width": 5}
    seeds = {"rng": [1, 2]} if TAKES_RNG else {}
    if not TAKES_RNG:
        parameters["seed"] = [1, 2]
    options = {"max_steps": 6, "data_collection_period": period, "display_progress": False}
    expected = mesa.batch_run(Walkers, parameters, 1, **seeds, **options)
    for row in expected:
        row["Shape"] = json.dumps(row["Shape"])
    found = batch(parameters, tmp_path, data_collection_period=period, **seeds)
    assert found.results() == expected


def test_processes_write_a_shard_each_and_all_runs_are_merged(tmp_path):
    found = batch({"n": [2, 3], "seed": [1, 2, 3]}, tmp_path, 2)
    assert len(found.completed) == 6
    shards = list((tmp_path / "exp.shards").glob("*.db"))
    assert 1 <= len(shards) <= 2
    assert audit(tmp_path / "exp.db", shards).problems == ()
    compared = compare_simulations(tmp_path / "exp.db")
    assert varied_parameters(compared) == ["parameters.n"]
    assert list(compared["seed"]) == [1, 2, 3] * 2
    assert list(compared["final_agent_vars.agents"]) == [2, 2, 2, 3, 3, 3]
    alone = batch({"n": [2, 3], "seed": [1, 2, 3]}, tmp_path, output=tmp_path / "alone.db")
    assert alone.results() == found.results()


def test_what_is_there_is_not_run_again_and_a_grid_may_grow(tmp_path):
    first = batch({"n": [2, 3], "seed": 1}, tmp_path)
    before = first.results()
    again = batch({"n": [2, 3], "seed": 1}, tmp_path)
    assert (len(again.completed), len(again.present)) == (0, 2)
    assert again.results() == before
    for shard in (tmp_path / "exp.shards").glob("*.db"):
        shard.unlink()  # the output knows them, too
    more = batch({"n": [2, 3, 4], "seed": 1}, tmp_path)
    assert [run.simulation_id for run in more.completed] == ["n4_r1"]
    assert more.results()[: len(before)] == before


@pytest.mark.parametrize("change", [{"width": 6}, {"max_steps": 9}, {"data_collection_period": 1}])
def test_runs_with_other_parameters_are_a_conflict_and_nothing_is_run(tmp_path, change):
    batch({"n": [2, 3], "width": 5, "seed": 1}, tmp_path)
    stored = (tmp_path / "exp.db").read_bytes()
    parameters = {"n": [2, 3], "width": change.pop("width", 5), "seed": 1}
    with pytest.raises(ConflictError, match=r"run n2_r1: \w+ is -?\d, not -?\d"):
        batch(parameters, tmp_path, **change)
    assert (tmp_path / "exp.db").read_bytes() == stored


@pytest.mark.parametrize(("fault", "reason"), [("raise", "walked away"), ("kill", "was killed")])
def test_a_run_that_fails_costs_only_itself(tmp_path, fault, reason):
    parameters = {"n": [2, 3], "fault": [None, fault], "seed": 1}
    with pytest.warns(UserWarning, match="2 of 4 runs failed"):
        found = batch(parameters, tmp_path, 2)
    assert len(found.completed) == 2
    assert all(reason in why for _, why in found.failed)
    assert {run.arguments["fault"] for run, _ in found.failed} == {fault}
    assert {row["fault"] for row in found.results()} == {None}
    assert query(tmp_path / "exp.db", "SELECT DISTINCT status FROM simulations") == [("completed",)]


def test_a_batch_that_was_interrupted_goes_on(tmp_path):
    parameters = {"n": [2, 3, 4], "fault": str(tmp_path / "stop"), "seed": 1}
    (tmp_path / "stop").touch()
    with pytest.raises(SystemExit):
        batch(parameters, tmp_path)
    assert not (tmp_path / "exp.db").exists()
    (tmp_path / "stop").unlink()
    assert len(batch(parameters, tmp_path).completed) == 3


def test_what_a_killed_process_left_is_taken_away(tmp_path):
    batch({"n": [2], "seed": 1}, tmp_path)
    (shard,) = (tmp_path / "exp.shards").glob("*.db")
    query(shard, "UPDATE simulations SET status = 'running'")
    (tmp_path / "exp.db").unlink()
    (tmp_path / "exp.shards" / "empty.db").touch()
    again = batch({"n": [2], "seed": 1}, tmp_path)
    assert len(again.completed) == 1
    assert again.merge.rows > 0
    assert query(shard, "SELECT count(*) FROM simulations") == [(0,)]


def test_models_that_have_ended_take_no_memory(tmp_path):
    alive = weakref.WeakSet()

    class Watched(BoltzmannWealth):  # with agents in the cells of a grid
        def __init__(self, n, seed=None):
            has_scenario = "scenario" in inspect.signature(BoltzmannWealth).parameters
            super().__init__(**({} if has_scenario else {"n": n, "seed": seed}))
            alive.add(self)

    options = {"max_steps": 3, "display_progress": False}
    found = batch_run(Watched, {"n": [5, 6], "seed": [1, 2]}, output=tmp_path / "exp.db", **options)
    assert len(found.completed) == 4
    gc.collect()
    assert not alive


def test_equal_values_are_runs_of_their_own(tmp_path):
    found = batch({"n": [2, 2], "seed": 1}, tmp_path)
    assert [run.simulation_id for run in found.runs] == ["r1", "r1-2"]
    assert len(found.completed) == 2


def test_options_that_contradict_each_other_are_refused(tmp_path):
    with pytest.raises(InvalidOptionError, match="iterations and rng are both given"):
        batch({"n": 2}, tmp_path, iterations=2, rng=1)
    with pytest.raises(InvalidOptionError, match="data_collection_period is 0"):
        batch({"n": 2}, tmp_path, data_collection_period=0)
    with pytest.raises(InvalidOptionError, match="empty"):
        batch({"n": []}, tmp_path)
    with pytest.raises(FarmMergeError, match="no run completed; the first failure: RuntimeError"):
        batch({"n": 2, "fault": "raise"}, tmp_path)
    assert not (tmp_path / "exp.db").exists()
