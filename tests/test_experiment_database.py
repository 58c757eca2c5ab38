"""Many simulations in one database, from one process or several."""

from __future__ import annotations

import multiprocessing

import pytest

from farm_merge.errors import FarmMergeError, SimulationExistsError
from farm_merge.experiment_database import ExperimentDatabase
from farm_merge.merge import merge_shards
from farm_merge.models import AgentStateModel
from tests.conftest import content, query, union
from tests.test_data_logging import RESOURCE, STATE
from tests.test_database import write


def test_simulations_with_the_same_agent_ids_live_side_by_side(tmp_path):
    with ExperimentDatabase(tmp_path / "exp.db", "e") as experiment:
        for name in ("b", "a"):
            write(experiment.create_simulation_context(name, parameters={"seed": 5}))
            experiment.update_simulation_status(name, "completed", {"final": 1})
        assert experiment.get_simulation_ids() == ["a", "b"]
        with experiment.Session() as session:
            mine = session.query(AgentStateModel).filter(AgentStateModel.simulation_id == "a")
            assert [state.id for state in mine] == ["a:a1-0", "a:a1-1", "a:a1-2"]
        experiment.update_experiment_status("completed", {"runs": 2})
    rows = "SELECT simulation_id, experiment_id, status, seed, results_summary FROM simulations"
    assert query(tmp_path / "exp.db", rows) == [
        ("a", "e", "completed", 5, '{"final": 1}'),
        ("b", "e", "completed", 5, '{"final": 1}'),
    ]
    experiments = "SELECT name, status, results_summary FROM experiments"
    assert query(tmp_path / "exp.db", experiments) == [("e", "completed", '{"runs": 2}')]
    assert [each.name for each in tmp_path.iterdir()] == ["exp.db"]


def test_closing_flushes_every_context(tmp_path):
    experiment = ExperimentDatabase(tmp_path / "exp.db", "e")
    contexts = [experiment.create_simulation_context(name) for name in "ab"]
    for context in contexts:
        context.logger.log_step(0, [STATE], [RESOURCE], {})
    experiment.close()
    experiment.close()
    assert query(tmp_path / "exp.db", "SELECT count(*) FROM agent_states") == [(2,)]


def test_ids_are_unique_unless_resumed(tmp_path):
    with ExperimentDatabase(tmp_path / "exp.db", "e") as experiment:
        experiment.create_simulation_context("a")
        with pytest.raises(SimulationExistsError, match="'a'"):
            experiment.create_simulation_context("a")
        experiment.create_simulation_context("a", resume=True)
        with pytest.raises(FarmMergeError, match="nobody"):
            experiment.update_simulation_status("nobody", "completed")


def run(path, name):
    with ExperimentDatabase(path, "e") as experiment:
        write(experiment.create_simulation_context(name), steps=20)
        experiment.update_simulation_status(name, "completed")


def test_processes_that_create_the_same_database_at_once_all_succeed(tmp_path):
    path = tmp_path / "exp.db"
    names = [f"run_{number}" for number in range(6)]
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.starmap(run, [(path, name) for name in names])
        pool.close()
        pool.join()
    counts = query(path, "SELECT simulation_id, count(*) FROM agent_states GROUP BY 1")
    assert counts == [(name, 20) for name in names]


def test_an_experiment_database_is_a_shard_with_more_simulations(tmp_path, make_shard):
    run(tmp_path / "exp.db", "a")
    shard = make_shard("b")
    merge_shards([tmp_path / "exp.db", shard], tmp_path / "all.db")
    assert content(tmp_path / "all.db") == union(tmp_path / "exp.db", shard)


def test_shards_can_be_merged_into_a_database_that_is_open_here(tmp_path, make_shard):
    with ExperimentDatabase(tmp_path / "exp.db", "e") as experiment:
        write(experiment.create_simulation_context("a"))
        experiment.flush_all_buffers()
        merge_shards([make_shard("b")], tmp_path / "exp.db", experiment_id="e")
        assert experiment.get_simulation_ids() == ["a", "b"]
        write(experiment.create_simulation_context("c"))
    assert query(tmp_path / "exp.db", "PRAGMA integrity_check") == [("ok",)]
    assert query(tmp_path / "exp.db", "SELECT count(*) FROM simulations") == [(3,)]
