"""Shards: registered with what they ran on, closed as one file, every error named."""

from __future__ import annotations

import json
from contextlib import closing

import pytest
from sqlalchemy import select

from farm_merge.config import DatabaseConfig, SimulationConfig
from farm_merge.database import InMemorySimulationDatabase, SimulationDatabase
from farm_merge.errors import (
    FarmMergeError,
    InvalidRecordError,
    OutputError,
    SimulationExistsError,
)
from farm_merge.models import AgentStateModel, Simulation
from farm_merge.sqlite import file_uri, sqlite3
from tests.conftest import query
from tests.logged import write


def test_a_finished_shard_is_one_file_that_readers_leave_alone(tmp_path):
    path = tmp_path / "new" / "folder" / "run_1.db"
    with SimulationDatabase(path) as db:
        write(db)
    assert query(path, "PRAGMA journal_mode") == [("delete",)]
    with closing(sqlite3.connect(file_uri(path, mode="ro"), uri=True)) as connection:
        assert connection.execute("SELECT count(*) FROM agent_states").fetchone() == (3,)
        # A reader of a database in WAL mode makes files, which a read-only folder does not allow.
        assert [file.name for file in path.parent.iterdir()] == ["run_1.db"]


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


def test_how_a_file_is_written_needs_no_configuration_of_the_model(tmp_path):
    settings = DatabaseConfig(buffer_size=1, journal_mode="DELETE")
    with SimulationDatabase(tmp_path / "run.db", settings=settings) as db:
        db.logger.log_agent_action(0, "a1", "move")
        assert query(tmp_path / "run.db", "SELECT count(*) FROM agent_actions") == [(1,)]
        assert db.config is None


def fill(db):
    """Let a database take what does not fit on its disk."""
    db._connection.execute("PRAGMA max_page_count = 1")
    rows = [(f"agent_{number}", *[0.0] * 9) for number in range(1000)]
    db.logger.log_step(0, rows, [], {})


def test_a_disk_that_is_full_is_an_error_that_keeps_the_rows(tmp_path):
    db = SimulationDatabase(tmp_path / "run.db")
    fill(db)
    with pytest.raises(OutputError, match=r"1001 rows .* still held \(database or disk is full\)"):
        db.close()
    with pytest.raises(OutputError, match=r"run\.db: cannot be written \(.*full\)"):
        db.save_configuration({"text": "x" * 100_000})
    db._connection.execute("PRAGMA max_page_count = 100000")
    db.close()
    assert query(tmp_path / "run.db", "SELECT count(*) FROM agent_states") == [(1000,)]


def test_a_status_says_at_once_that_rows_were_refused(tmp_path):
    """The process may be killed before it closes the database."""
    db = SimulationDatabase(tmp_path / "run.db")
    with pytest.raises(InvalidRecordError):
        db.logger.log_agent_action(-1, "a1", "move")
    db.update_simulation_status("completed", {"steps": 3})
    (found,) = query(tmp_path / "run.db", "SELECT status, results_summary FROM simulations")
    assert found[0] == "incomplete"
    assert json.loads(found[1]) == {"steps": 3, "refused_rows": {"log_agent_action": 1}}
    db.logger.refused.clear()
    db.close()
