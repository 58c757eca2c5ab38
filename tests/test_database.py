"""Shards and in-memory databases: registered, closed clean, persisted whole or not at all."""

from __future__ import annotations

import json
import multiprocessing

import pytest
from sqlalchemy import select

from farm_merge.config import SimulationConfig
from farm_merge.database import InMemorySimulationDatabase, SimulationDatabase
from farm_merge.errors import (
    ConflictError,
    FarmMergeError,
    InvalidRecordError,
    OutputError,
    SimulationExistsError,
)
from farm_merge.models import AgentStateModel, Simulation
from farm_merge.sqlite import file_uri, sqlite3
from tests.conftest import content, query
from tests.test_data_logging import RESOURCE, STATE


def write(db, steps=3):
    db.logger.log_agent("a1", 0, "system", (1.0, 2.0), 5.0, 100.0)
    for step in range(steps):
        db.logger.log_step(step, [STATE], [RESOURCE], {"total_agents": 1})
        db.logger.log_agent_action(step, "a1", "move")
    db.save_configuration({"n": steps})


def test_a_finished_shard_is_one_file_readable_in_a_read_only_folder(tmp_path):
    path = tmp_path / "new" / "folder" / "run_1.db"
    with SimulationDatabase(path) as db:
        write(db)
    assert [each.name for each in path.parent.iterdir()] == ["run_1.db"]
    assert query(path, "PRAGMA journal_mode") == [("delete",)]
    path.parent.chmod(0o555)
    try:
        connection = sqlite3.connect(file_uri(path, mode="ro"), uri=True)
        assert connection.execute("SELECT count(*) FROM agent_states").fetchone() == (3,)
        connection.close()
    finally:
        path.parent.chmod(0o755)


def test_a_simulation_is_registered_with_what_it_ran_on(tmp_path):
    config = SimulationConfig.from_centralized_config(seed=7)
    with SimulationDatabase(tmp_path / "run_1.db", config):
        pass
    row = dict(
        zip(
            ("simulation_id", "status", "seed", "commit", "host", "python", "packages", "rate"),
            query(
                tmp_path / "run_1.db",
                "SELECT simulation_id, status, seed, git_commit, host, python_version,"
                " package_versions, parameters ->> 'learning_rate' FROM simulations"
                " WHERE start_time <= end_time",
            )[0],
            strict=True,
        )
    )
    assert (row["simulation_id"], row["status"], row["seed"]) == ("run_1", "completed", 7)
    assert row["rate"] == config.learning_rate
    assert row["host"]
    assert row["python"].startswith("3.")
    assert {"farm-merge", "numpy", "sqlite"} <= json.loads(row["packages"]).keys()


def test_an_id_that_is_there_is_an_error_unless_resumed(tmp_path):
    SimulationDatabase(tmp_path / "run.db").close()
    with pytest.raises(SimulationExistsError, match="resume=True"):
        SimulationDatabase(tmp_path / "run.db")
    SimulationDatabase(tmp_path / "run.db", resume=True).close()


def fail(path):
    with SimulationDatabase(path) as db:
        write(db)
        raise ZeroDivisionError


def test_a_run_that_raised_has_failed_and_kept_its_rows(tmp_path):
    with pytest.raises(ZeroDivisionError):
        fail(tmp_path / "run.db")
    assert query(tmp_path / "run.db", "SELECT status FROM simulations") == [("failed",)]
    assert query(tmp_path / "run.db", "SELECT count(*) FROM agent_states") == [(3,)]


def test_a_file_of_another_schema_is_refused_with_the_remedy(tmp_path):
    query(tmp_path / "old.db", "CREATE TABLE agents (agent_id)")
    with pytest.raises(OutputError, match=r"farm-merge .*old\.db -o NEW\.db"):
        SimulationDatabase(tmp_path / "old.db")
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(OutputError, match=r"text\.db"):
        SimulationDatabase(tmp_path / "text.db")


def test_configurations_states_and_counts_can_be_read_back(tmp_path):
    with SimulationDatabase(tmp_path / "run.db") as db:
        assert db.get_configuration() == {}
        write(db)
        db.save_configuration({"n": "new"})
        assert db.get_configuration() == {"n": "new"}
        assert db.get_table_row_count("agent_states") == 3
        db.update_agent_state("a1", 1, {"current_health": 1.5})
        for wrong in ({"colour": 1}, {}):
            with pytest.raises(FarmMergeError):
                db.update_agent_state("a1", 1 if wrong else 99, wrong or {"age": 1})
        with pytest.raises(InvalidRecordError):
            db.get_table_row_count("sqlite_schema")
        with db.Session() as session:
            health = session.scalars(
                select(AgentStateModel.current_health).order_by(AgentStateModel.step_number)
            ).all()
        assert health == [90.0, 1.5, 90.0]
        db.cleanup()


@pytest.mark.parametrize("kind", [SimulationDatabase, InMemorySimulationDatabase])
def test_sessions_see_what_was_logged(tmp_path, kind):
    first = tmp_path / "run.db" if kind is SimulationDatabase else None
    with kind(first, simulation_id="run") as db:
        write(db)
        with db.Session() as session:
            assert session.get(Simulation, "run").status == "running"
            assert len(session.scalars(select(AgentStateModel)).all()) == 3


def test_memory_is_persisted_to_a_file_that_equals_a_shard(tmp_path):
    with SimulationDatabase(tmp_path / "shard.db", simulation_id="run") as db:
        write(db)
    with InMemorySimulationDatabase(simulation_id="run") as db:
        write(db)
        told = db.persist_to_disk(tmp_path / "deep" / "memory.db", show_progress=False)
    for path in (tmp_path / "shard.db", tmp_path / "deep" / "memory.db"):
        query(path, "UPDATE simulation_config SET timestamp = 0")
    assert content(tmp_path / "deep" / "memory.db") == content(tmp_path / "shard.db")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["memory.db"]
    assert told["rows"]["agent_states"] == 3
    assert told["total_rows"] == 1 + 3 * 4 + 1
    assert not told["merged"]
    where = "SELECT simulation_db_path FROM simulations"
    assert query(tmp_path / "deep" / "memory.db", where) == [(str(tmp_path / "deep/memory.db"),)]


def test_only_some_tables_can_be_persisted(tmp_path):
    with InMemorySimulationDatabase(simulation_id="run") as db:
        write(db)
        told = db.persist_to_disk(tmp_path / "x.db", tables=["agents"], show_progress=False)
        with pytest.raises(InvalidRecordError, match="colours"):
            db.persist_to_disk(tmp_path / "y.db", tables=["colours"])
    assert told["rows"] == {"agents": 1}
    assert query(tmp_path / "x.db", "SELECT count(*) FROM agent_states") == [(0,)]


def persist(path, simulation_id):
    with InMemorySimulationDatabase(simulation_id=simulation_id) as db:
        write(db)
        db.persist_to_disk(path, show_progress=False)


def test_several_processes_can_persist_into_one_experiment(tmp_path):
    path = tmp_path / "exp.db"
    persist(path, "first")
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.starmap(persist, [(path, f"run_{number}") for number in range(5)])
        pool.close()
        pool.join()
    counts = query(path, "SELECT simulation_id, count(*) FROM agent_states GROUP BY 1")
    assert counts == [("first", 3), *((f"run_{number}", 3) for number in range(5))]
    assert [each.name for each in tmp_path.iterdir()] == ["exp.db"]


def test_persisting_other_data_under_an_id_that_is_there_is_a_conflict(tmp_path):
    persist(tmp_path / "exp.db", "run")
    with InMemorySimulationDatabase(simulation_id="run") as db:
        write(db, steps=1)
        with pytest.raises(ConflictError, match="run"):
            db.persist_to_disk(tmp_path / "exp.db", show_progress=False)
    assert [each.name for each in tmp_path.iterdir()] == ["exp.db"]


def test_the_memory_limit_is_kept_and_nothing_is_lost(tmp_path):
    db = InMemorySimulationDatabase(memory_limit_mb=1, simulation_id="run")
    rows = [(f"agent_{number}", *STATE[1:]) for number in range(40_000)]
    with pytest.raises(FarmMergeError, match=r"still held .*the limit is 1 MB"):
        db.logger.log_step(0, rows, [], {})
    db._connection.execute("PRAGMA max_page_count = 100000")
    assert db.get_table_row_count("agent_states") == 40_000
    db.close()
