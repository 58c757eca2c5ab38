"""Many simulations in one database, from one process or several."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from contextlib import suppress

import pytest

from farm_merge.errors import (
    FarmMergeError,
    InvalidRecordError,
    OutputError,
    RefusedRowsError,
    SimulationExistsError,
)
from farm_merge.experiment_database import ExperimentDatabase
from farm_merge.merge import merge_shards
from farm_merge.models import AgentStateModel
from tests.conftest import content, query, union
from tests.logged import RESOURCE, STATE, write


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
    assert [file.name for file in tmp_path.iterdir()] == ["exp.db"]


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


def test_those_who_know_sqlite_utils_have_it_on_the_experiment(tmp_path):
    with ExperimentDatabase(tmp_path / "exp.db", "e") as experiment:
        context = experiment.create_simulation_context("a", {"rate": 0.1})
        write(context)
        assert experiment.db.table("agent_states").count == 3  # what was held is there
        (row,) = experiment.db.query("SELECT parameters FROM simulations")
        assert row == {"parameters": '{"rate": 0.1}'}
        experiment.db.table("notes").insert({"simulation_id": "a", "text": "odd"})
        write_more = context.logger.log_agent_action
        write_more(3, "a1", "move")
    assert query(tmp_path / "exp.db", "SELECT * FROM notes") == [("a", "odd")]
    assert query(tmp_path / "exp.db", "SELECT count(*) FROM agent_actions") == [(4,)]


def test_opening_an_experiment_loads_neither_sqlite_utils_nor_pandas(tmp_path):
    code = (
        "import sys\n"
        "from farm_merge import ExperimentDatabase\n"
        "with ExperimentDatabase(sys.argv[1], 'e') as experiment:\n"
        "    experiment.create_simulation_context('a').logger.log_step(0, [], [], {})\n"
        "    experiment.update_simulation_status('a', 'completed')\n"
        "print(sorted({'pandas', 'sqlalchemy', 'sqlite_utils', 'tqdm'} & set(sys.modules)))\n"
    )
    command = [sys.executable, "-c", code, tmp_path / "exp.db"]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def test_an_experiment_has_a_name_for_people(tmp_path):
    about = {"name": "Attack", "description": "Who fights?"}
    for _ in range(2):
        ExperimentDatabase(tmp_path / "exp.db", "e", **about).close()
    found = query(tmp_path / "exp.db", "SELECT name, description FROM experiments")
    assert found == [("Attack", "Who fights?")]


def refuse(context):
    with suppress(InvalidRecordError):
        context.logger.log_agent_action(-1, "a1", "move")


def test_what_one_simulation_refused_is_reported_and_costs_no_other(tmp_path):
    experiment = ExperimentDatabase(tmp_path / "exp.db", "e")
    contexts = [experiment.create_simulation_context(name) for name in "ab"]
    refuse(contexts[0])
    for context in contexts:
        context.logger.log_step(0, [STATE], [RESOURCE], {})
    experiment.update_simulation_status("a", "completed")
    stored = "SELECT status FROM simulations WHERE simulation_id = 'a'"
    assert query(tmp_path / "exp.db", stored) == [("incomplete",)]
    with pytest.raises(RefusedRowsError, match=r"(?s)exp\.db: .*'a': 1 rows"):
        experiment.close()
    experiment.close()
    assert query(tmp_path / "exp.db", "SELECT count(*) FROM agent_states") == [(2,)]
    assert query(tmp_path / "exp.db", "SELECT status FROM simulations ORDER BY 1") == [
        ("incomplete",),
        ("running",),
    ]
    with pytest.raises(RefusedRowsError), ExperimentDatabase(tmp_path / "b.db", "e") as other:
        refuse(other.create_simulation_context("a"))


def test_the_error_that_ended_an_experiment_is_not_hidden_by_what_was_refused(tmp_path):
    def fail():
        with ExperimentDatabase(tmp_path / "exp.db", "e") as experiment:
            refuse(experiment.create_simulation_context("a"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_a_simulation_that_cannot_be_written_keeps_its_rows_and_costs_no_other(tmp_path):
    experiment = ExperimentDatabase(tmp_path / "exp.db", "e")
    first, second = (experiment.create_simulation_context("a", resume=again) for again in (0, 1))
    third = experiment.create_simulation_context("b")
    for births, context in enumerate((first, second, third), 1):
        context.logger.log_step(0, [], [], {"births": births})
    with pytest.raises(OutputError, match="still held"):
        experiment.flush_all_buffers()
    with pytest.raises(OutputError, match="still held"):
        experiment.close()
    births = "SELECT simulation_id, births FROM simulation_steps"
    assert query(tmp_path / "exp.db", births) == [("a", 1), ("b", 3)]
    query(tmp_path / "exp.db", "DELETE FROM simulation_steps WHERE simulation_id = 'a'")
    experiment.close()
    assert query(tmp_path / "exp.db", births) == [("a", 2), ("b", 3)]
