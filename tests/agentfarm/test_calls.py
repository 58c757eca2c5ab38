"""The calls of AgentFarm's simulation: a small run of our own, and every call for itself."""

from __future__ import annotations

import gc
import json
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from sqlalchemy.exc import SQLAlchemyError

from farm_merge.agentfarm import (
    DataLoggingConfig,
    ExperimentDatabase,
    InMemorySimulationDatabase,
    SessionManager,
    SimulationContext,
    SimulationDatabase,
    setup_db,
)
from farm_merge.config import DatabaseConfig, SimulationConfig
from farm_merge.errors import (
    InvalidOptionError,
    InvalidRecordError,
    OutputError,
    RefusedRowsError,
    SimulationExistsError,
)
from farm_merge.merge import merge_shards
from farm_merge.models import AgentModel, AgentStateModel, ExperimentModel, Simulation
from farm_merge.sqlite import sqlite3
from tests.agentfarm.replay import Replay
from tests.conftest import query
from tests.logged import RESOURCE, STATE

BEGAN = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
AGENT = {
    "simulation_id": "run",
    "agent_id": "a1",
    "birth_time": 0,
    "agent_type": "system",
    "position": (3, 4),
    "initial_resources": 8,
    "starting_health": 100.0,
    "genome_id": "::1",
    "generation": 0,
    "action_weights": {"move": 0.5},
}


def call(on: str, name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Return a line of a recording; what is called `db` is the database, `logger` its logger."""
    return {"on": on, "obj": on, "call": name, "args": list(args), "kwargs": kwargs}


def small_run() -> list[dict[str, Any]]:
    """Return the calls of a run of two steps, in the order in which a simulation makes them."""
    begin = {"simulation_id": "run", "status": "running", "parameters": {"seed": 7, "rate": 0.5}}
    return [
        {**call("class", "SimulationDatabase", "<db_path>", simulation_id="run"), "obj": "db"},
        call("db", "add_simulation_record", **begin, start_time={"datetime": BEGAN.isoformat()}),
        {**call("db", "logger"), "read": True, "value": {"obj": "logger"}},
        call("logger", "log_resource", resource_id="r1", initial_amount=30, position=(1.5, 2)),
        call("db", "save_configuration", {"steps": 2}),
        call("logger", "flush_all_buffers"),
        call("logger", "log_agents_batch", [AGENT, {**AGENT, "agent_id": "a2"}]),
        *(line for step in (0, 1) for line in one_step(step)),
        call("db", "update_agent_death", agent_id="a2", death_time=1, cause="unknown"),
        call("db", "update_agent_death", agent_id="nobody", death_time=1, cause="unknown"),
        call("logger", "flush_all_buffers"),
        call(
            "db",
            "update_simulation_record",
            "run",
            status="completed",
            end_time={"datetime": "2026-03-01T10:00:00+01:00"},
            results_summary={"final_population": 1},
        ),
        call("db", "update_simulation_record", "another", status="failed"),
        call("db", "close"),
        call("db", "close"),
        call("logger", "flush_all_buffers"),
        call("db", "close"),
    ]


def one_step(step: int) -> list[dict[str, Any]]:
    act = {"step_number": step, "agent_id": "a1", "action_type": "gather", "reward": 1}
    learned = {"module_type": "dqn", "module_id": 140, "action_taken": 2}
    return [
        call("logger", "log_agent_action", **act, action_target_id="r1", details={"amount": 2}),
        call("logger", "log_agent_action", **act, **learned, action_taken_mapped="gather"),
        call("logger", "log_health_incident", step, "a1", 100.0, 98.0, "combat", details={}),
        call("logger", "flush_if_needed"),
        call("logger", "log_step", step, [STATE], [RESOURCE], {"total_agents": 2}),
    ]


def require_rows(path: Path) -> None:
    """Compare a database with what the small run logs."""
    registry = "SELECT seed, parameters, status, results_summary, start_time, end_time"
    assert query(path, f"{registry} FROM simulations") == [
        (
            7,
            '{"seed": 7, "rate": 0.5}',
            "completed",
            '{"final_population": 1}',
            "2026-03-01 08:30:00.000000",
            "2026-03-01 09:00:00.000000",
        )
    ]
    agents = "SELECT agent_id, death_time, position_x, action_weights FROM agents"
    weights = '{"move": 0.5}'
    assert query(path, agents) == [("a1", None, 3.0, weights), ("a2", 1, 3.0, weights)]
    actions = "SELECT step_number, action_target_id, reward, module_type, module_id, details"
    learned = '{"action_taken": 2, "action_taken_mapped": "gather"}'
    assert query(path, f"{actions} FROM agent_actions") == [
        row
        for step in (0, 1)
        for row in [
            (step, "r1", 1.0, None, None, '{"amount": 2}'),
            (step, None, 1.0, "dqn", "140", learned),
        ]
    ]
    incidents = "SELECT step_number, agent_id, health_before, health_after, cause, details"
    assert query(path, f"{incidents} FROM health_incidents") == [
        (0, "a1", 100.0, 98.0, "combat", None),
        (1, "a1", 100.0, 98.0, "combat", None),
        (1, "a2", 0.0, 0.0, "unknown", '{"final_state": "dead"}'),
    ]
    resources = "SELECT step_number, amount FROM resource_states"
    assert query(path, resources) == [(0, 30.0), (0, 5.0), (1, 5.0)]
    steps = "SELECT step_number, total_agents, resources_consumed FROM simulation_steps"
    assert query(path, steps) == [(0, 2, 0.0), (1, 2, 0.0)]
    assert query(path, "SELECT config_data FROM simulation_config") == [('{"steps": 2}',)]
    assert query(path, "SELECT count(*) FROM agent_states") == [(2,)]


def test_a_run_on_disk(tmp_path):
    Replay(tmp_path / "run.db").run(small_run())
    require_rows(tmp_path / "run.db")
    assert [file.name for file in tmp_path.iterdir()] == ["run.db"]


def test_a_run_in_memory(tmp_path):
    replay = Replay(
        tmp_path / "run.db", lambda name: InMemorySimulationDatabase(simulation_id=name)
    )
    calls = small_run()
    replay.run(calls[:-4])
    report = replay.objects["db"].persist_to_disk(tmp_path / "run.db")
    replay.run(calls[-4:])
    require_rows(tmp_path / "run.db")
    expected = {"rows_copied": 18, "tables_copied": 8, "tables_skipped": 0}
    assert expected.items() <= report.items()
    assert report["duration"] <= report["end_time"] - report["start_time"]


def test_a_run_in_an_experiment(tmp_path):
    with ExperimentDatabase(tmp_path / "exp.db", "e") as experiment:
        Replay(tmp_path / "exp.db", experiment.create_simulation_context).run(small_run())
    require_rows(tmp_path / "exp.db")
    about = "SELECT name, description FROM experiments"
    assert query(tmp_path / "exp.db", about) == [
        ("Experiment e", "Created with ExperimentDatabase")
    ]


@pytest.fixture
def db(tmp_path):
    with closing(SimulationDatabase(str(tmp_path / "run.db"), simulation_id="run")) as database:
        yield database


@pytest.fixture
def context(tmp_path):
    with ExperimentDatabase(tmp_path / "exp.db", "e") as experiment:
        yield experiment.create_simulation_context("run")


def test_a_context_answers_what_a_database_answers(db, context):
    assert isinstance(context, SimulationContext)
    public = {name for name in dir(db) if not name.startswith("_")}
    assert public <= set(dir(context))
    assert Path(context.db_path).name == "exp.db"
    assert not hasattr(context, "persist_to_disk")


def test_a_simulation_has_a_name_and_one_record(tmp_path, db):
    with pytest.raises(InvalidOptionError, match="simulation_id"):
        SimulationDatabase(tmp_path / "x.db")
    with pytest.raises(InvalidOptionError, match="simulation_id"):
        InMemorySimulationDatabase()
    db.add_simulation_record("run", BEGAN, "running", {})
    with pytest.raises(SimulationExistsError):
        db.add_simulation_record("run", BEGAN, "running", {})
    with pytest.raises(InvalidRecordError, match="'other'"):
        db.add_simulation_record("other", BEGAN, "running", {})


@pytest.mark.parametrize("kind", ["db", "context"])
def test_what_is_logged_after_closing_is_kept(request, kind):
    database = request.getfixturevalue(kind)
    database.close()
    database.logger.flush_all_buffers()
    database.close()
    database.logger.log_resource("r1", 5.0, (0, 0))
    database.close()
    path = database.db_path
    assert query(path, "SELECT count(*) FROM resource_states") == [(1,)]
    database.save_configuration({"n": 1})
    database.update_simulation_record("run", status="failed")
    database.close()
    assert query(path, "SELECT count(*) FROM simulation_config") == [(1,)]
    assert query(path, "SELECT status FROM simulations") == [("failed",)]
    if kind == "db":
        assert query(path, "PRAGMA journal_mode") == [("delete",)]


def test_what_cannot_be_kept_after_closing_is_refused(tmp_path):
    memory = InMemorySimulationDatabase(simulation_id="run")
    memory.close()
    memory.close()
    memory.flush_all_buffers()
    with pytest.raises(OutputError, match="closed"):
        memory.logger.log_resource("r1", 5.0, (0, 0))


def test_a_database_without_a_file_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    database = SimulationDatabase("", simulation_id="run")
    database.logger.log_resource("r1", 5.0, (0, 0))
    assert database.db_path == ""
    assert len(list(tmp_path.iterdir())) == 1
    database.close()
    del database
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_caller_that_catches_everything_finds_the_run_incomplete(tmp_path):
    database = SimulationDatabase(tmp_path / "run.db", simulation_id="run")
    for step in (0, -1, "two"):
        with suppress(Exception):
            database.logger.log_agent_action(step_number=step, agent_id="a1", action_type="move")
    database.update_simulation_record("run", status="completed", results_summary={"steps": 3})
    assert query(tmp_path / "run.db", "SELECT status FROM simulations") == [("incomplete",)]
    with pytest.raises(RefusedRowsError, match="2 rows"):
        database.close()
    database.close()
    ((status, summary),) = query(
        tmp_path / "run.db", "SELECT status, results_summary FROM simulations"
    )
    assert status == "incomplete"
    assert json.loads(summary) == {"steps": 3, "refused_rows": {"log_agent_action": 2}}
    assert query(tmp_path / "run.db", "SELECT count(*) FROM agent_actions") == [(1,)]


def test_metrics_of_older_versions_are_columns_of_their_types(db):
    older = {"combat_encounters": 2, "system_agents": 3, "resources_shared": 1}
    db.logger.log_step(0, [], [], {"total_agents": 3, **older})
    db.logger.log_step(1, [], [], {"total_agents": 3})
    db.close()
    names = ", ".join(f"{name}, typeof({name})" for name in older)
    assert query(db.db_path, f"SELECT {names} FROM simulation_steps") == [
        (2, "integer", 3, "integer", 1.0, "real"),
        (None, "null") * 3,
    ]


def test_of_an_agent_with_two_states_in_a_step_the_last_one_counts(db):
    db.log_step(0, [STATE, (STATE[0], 9.0, *STATE[2:])], [], {})
    db.close()
    assert query(db.db_path, "SELECT position_x FROM agent_states") == [(9.0,)]


def test_agents_that_failed_to_be_made_leave_nothing_that_is_held(db):
    logger = db.logger
    assert not logger.needs_flush
    for name in ("a1", "a2"):
        logger.log_agents_batch([{**AGENT, "agent_id": name}])
        logger.log_agent_action(step_number=0, agent_id=name, action_type="move")
    logger.log_health_incident(0, "a2", 1, 0, "fall")
    assert logger.needs_flush
    assert logger.discard_pending_agents(["a2"]) == 3
    assert logger.discard_pending_agents([]) == 0
    logger.log_agents_batch([{**AGENT, "agent_id": "a2", "generation": 4}])
    logger.flush_action_buffer()
    logger.flush_health_buffer()
    assert not logger.needs_flush
    assert logger.discard_pending_agents(["a1"]) == 0
    agents = "SELECT agent_id, generation FROM agents"
    assert query(db.db_path, agents) == [("a1", 0), ("a2", 4)]
    assert query(db.db_path, "SELECT agent_id FROM agent_actions") == [("a1",)]


def test_functions_run_in_a_transaction_that_sees_what_was_logged(db):
    db.logger.log_agents_batch([AGENT])

    def rename(session):
        (agent,) = session.query(AgentModel).all()
        agent.genome_id = "renamed"
        return agent

    assert db._execute_in_transaction(rename).genome_id == "renamed"

    def fail(session):
        session.query(AgentModel).delete()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        db._execute_in_transaction(fail)
    assert query(db.db_path, "SELECT genome_id FROM agents") == [("renamed",)]
    with db.session_manager.session_scope() as session:
        assert session.query(AgentModel).count() == 1
    assert pd.read_sql("SELECT count(*) AS n FROM agents", db.engine)["n"].tolist() == [1]


def test_repositories_see_one_simulation_of_a_database_or_all(tmp_path):
    folder = tmp_path / "it's"
    with ExperimentDatabase(folder / "simulation.db", "e") as experiment:
        for name in ("a", "it's b"):
            context = experiment.create_simulation_context(name)
            context.log_agent(**{**AGENT, "simulation_id": name})
            context.log_step(0, [STATE], [RESOURCE], {})

    def seen(*which):
        with SessionManager(*which).session_scope() as session:
            agents = session.query(AgentModel.simulation_id).order_by("simulation_id").all()
            states = session.query(AgentStateModel.id).count()
            return [name for (name,) in agents], states, session.query(Simulation).count()

    everything = (["a", "it's b"], 2, 2)
    assert seen(folder) == seen(f"sqlite:///{folder}/simulation.db") == everything
    assert seen(folder / "simulation.db", "it's b") == (["it's b"], 1, 1)
    for model in (AgentModel, ExperimentModel):
        with pytest.raises(SQLAlchemyError):
            SessionManager(folder, "a").execute_with_retry(
                lambda session, model=model: session.query(model).delete()
            )
    assert seen(folder) == everything


def test_what_needs_agentfarm_itself_is_not_there_without_it(db):
    assert not hasattr(db, "query")
    with pytest.raises(AttributeError, match="needs the package `farm`"):
        db.get_agent_repository()


SETTINGS = {
    "db_pragma_profile": "safety",
    "db_cache_size_mb": 3,
    "db_synchronous_mode": "OFF",
    "db_journal_mode": "WAL",
    "db_custom_pragmas": {"mmap_size": 65536},
    "connection_timeout": 2,
    "log_buffer_size": 2,
    "commit_interval_seconds": 30,
}


class Configuration(SimpleNamespace):
    """As AgentFarm's: settings of the database in an object of its own, and a dictionary of all."""

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "database": vars(self.database)}


CONFIGURATIONS = {
    "object": Configuration(seed=9, database=SimpleNamespace(**SETTINGS)),
    "dictionary": {"seed": 9, "database": SETTINGS},
    "older": {"seed": 9, **SETTINGS},
}


@pytest.mark.parametrize("config", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_the_database_settings_of_a_configuration_hold(tmp_path, config):
    with closing(SimulationDatabase(tmp_path / "run.db", config, "run")) as database:
        pragmas = ("journal_mode", "synchronous", "cache_size", "mmap_size", "busy_timeout")
        found = [database._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
        assert found == ["wal", 0, -3072, 65536, 2000]
        assert database.config is config
        for _ in range(3):
            database.logger.log_resource("r1", 5.0, (0, 0))
        assert query(database.db_path, "SELECT count(*) FROM resource_states") == [(2,)]
        assert query(database.db_path, "SELECT seed FROM simulations") == [(9,)]


def test_settings_without_a_choice_are_those_of_the_profile(tmp_path):
    fast = {"db_pragma_profile": "performance", "db_synchronous_mode": "NORMAL"}
    small = {"db_pragma_profile": "memory", "db_cache_size_mb": 200}
    ours = SimulationConfig(database=DatabaseConfig(synchronous="EXTRA"))
    expected = [(fast, 0, -256), (small, 1, -4), (ours, 3, -64), (None, 1, -64)]
    for number, (config, synchronous, cache_mb) in enumerate(expected):
        with closing(SimulationDatabase(tmp_path / f"{number}.db", config, "run")) as database:
            ask = database._connection.execute
            assert ask("PRAGMA synchronous").fetchone() == (synchronous,)
            assert ask("PRAGMA cache_size").fetchone() == (cache_mb * 1024,)
    with pytest.raises(InvalidOptionError, match="database settings"):
        SimulationDatabase(tmp_path / "x.db", {"db_pragma_profile": "fast"}, "run")


def test_memory_is_measured_against_its_limit():
    with closing(InMemorySimulationDatabase(memory_limit_mb=1, simulation_id="run")) as database:
        before = database.get_memory_usage()
        rows = [(f"agent_{number}", *STATE[1:]) for number in range(30_000)]
        database.logger.log_step(0, rows, [], {})
        database.flush_all_buffers()
        after = database.get_memory_usage()
        assert (before["trend"], after["trend"]) == ("stable", "increasing")
        assert after["usage_percent"] > 100 > before["usage_percent"]
        assert after["limit_mb"] == database.memory_limit_mb == 1
        assert database.memory_usage_samples == [before["current_mb"], after["current_mb"]]
    config = {"database": {"in_memory_db_memory_limit_mb": 5}}
    with closing(InMemorySimulationDatabase(config=config, simulation_id="run")) as database:
        assert database.memory_limit_mb == 5
    with closing(InMemorySimulationDatabase(simulation_id="run")) as database:
        assert database.get_memory_usage()["usage_percent"] is None


def test_only_some_tables_are_persisted(tmp_path):
    with closing(InMemorySimulationDatabase(simulation_id="run")) as database:
        database.logger.log_step(0, [STATE], [RESOURCE], {})
        report = database.persist_to_disk(
            tmp_path / "run.db", ["simulations", "agent_states", "learning_experiences"]
        )
    assert (report["tables_copied"], report["rows_copied"], report["tables_skipped"]) == (2, 2, 6)
    assert query(tmp_path / "run.db", "SELECT count(*) FROM simulation_steps") == [(0,)]
    assert query(tmp_path / "run.db", "SELECT status FROM simulations") == [("completed",)]


def test_the_environment_gets_its_database(tmp_path):
    path = str(tmp_path / "run.db")
    assert setup_db(None, "run") is None
    with closing(setup_db(":memory:", "run", {"seed": 3})) as memory:
        assert isinstance(memory, InMemorySimulationDatabase)
        assert memory.db_path == ":memory:"
    for _ in range(2):  # a run that is begun anew replaces its shard
        with closing(setup_db(path, "run", {"seed": 3})) as database:
            assert database.db_path == path
            database.logger.log_resource("r1", 5.0, (0, 0))
    assert query(path, "SELECT seed, status FROM simulations") == [(3, "running")]
    assert query(path, "SELECT count(*) FROM resource_states") == [(1,)]


def test_what_is_no_run_is_not_replaced_by_one(tmp_path, make_shard):
    path = tmp_path / "exp.db"
    with ExperimentDatabase(path, "e") as experiment:
        for name in ("a", "b"):
            experiment.create_simulation_context(name)
    (tmp_path / "notes.db").write_text("no database")
    merge_shards([make_shard("a")], tmp_path / "merged.db")
    for taken in (path, tmp_path / "notes.db", tmp_path / "merged.db"):
        before = taken.read_bytes()
        with closing(setup_db(str(taken), "run")) as database:
            assert Path(database.db_path).name.startswith(f"{taken.stem}_")
        assert taken.read_bytes() == before


def test_an_experiment_answers_what_a_simulation_asks_of_it(tmp_path):
    with ExperimentDatabase(tmp_path / "exp.db", "e", {"log_buffer_size": 1}) as experiment:
        first = experiment.create_simulation_context("a", {"seed": 1}, DataLoggingConfig(50, 60))
        second = experiment.create_simulation_context("b")
        for number, context in enumerate((first, second)):
            context.log_agent(**{**AGENT, "simulation_id": "ab"[number], "agent_id": f"a{number}"})
            context.log_agent(**{**AGENT, "simulation_id": "ab"[number], "agent_id": "both"})
            context.log_step(0, [STATE], [RESOURCE], {})
            context.log_agent_action(step_number=0, agent_id="both", action_type="move")
            context.log_health_incident(0, "both", 2, 1, "fall")
        assert (first.logger.needs_flush, second.logger.needs_flush) == (True, False)
        experiment.update_agent_death("a1", 5, "unknown")
        experiment.update_agent_death("nobody", 5)
        with pytest.raises(InvalidRecordError, match="2 open simulations"):
            experiment.update_agent_death("both", 5)
        for context in (first, second):
            context.logger.refused.clear()
        first.close()
        experiment.update_agent_death("both", 6)
        agents = experiment._execute_in_transaction(
            lambda session: session.query(AgentModel.simulation_id, AgentModel.death_time).all()
        )
        assert sorted(agents, key=str) == [("a", None), ("a", None), ("b", 5), ("b", 6)]
        assert experiment.simulation_id is None


@pytest.mark.parametrize("format_", ["csv", "json", "parquet"])
def test_a_run_is_exported(tmp_path, db, format_):
    for step in range(4):
        db.logger.log_step(step, [STATE], [RESOURCE], {"births": step})
    folder = tmp_path / "out"
    folder.mkdir()
    target = folder / f"run.{format_}"
    db.export_data(str(target), format_, ["metrics", "agents"], start_step=1, end_step=2)
    if format_ == "json":
        data = json.loads(target.read_text())
        births = [row["births"] for row in data["metrics"]]
        assert data["metadata"]["exported_types"] == ["metrics", "agents"]
    else:
        read = pd.read_csv if format_ == "csv" else pd.read_parquet
        births = read(folder / f"run_metrics.{format_}")["births"].tolist()
        names = {f"run_metrics.{format_}", f"run_agents.{format_}", "run_metadata.json"}
        assert {file.name for file in folder.iterdir()} == names
    assert births == [1, 2]
    with pytest.raises(OutputError, match="something else"):
        db.export_data(db.db_path, "json")
    for wrong in ({"format": "doc"}, {"data_types": ["moods"]}):
        with pytest.raises(InvalidOptionError):
            db.export_data(target, **wrong)


@pytest.mark.parametrize("format_", ["csv", "json", "parquet"])
def test_a_later_export_takes_the_place_of_an_earlier_one(tmp_path, db, format_):
    """Whatever has come since, and whichever tables it is of."""
    target = tmp_path / f"run.{format_}"
    for step in range(0, 300, 60):
        for number in range(step, step + 60):
            db.logger.log_step(number, [STATE], [RESOURCE], {"births": number})
        db.export_data(target, format_)
    db.export_data(target, format_, ["agents"])
    db.export_data(target, format_, ["metrics"])
    if format_ == "json":
        rows = json.loads(target.read_text())["metrics"]
    else:
        read = pd.read_csv if format_ == "csv" else pd.read_parquet
        rows = read(tmp_path / f"run_metrics.{format_}")
    assert len(rows) == 300


def test_two_simulations_of_one_file_are_exported_apart_and_together(tmp_path):
    with ExperimentDatabase(tmp_path / "exp.db", "e") as experiment:
        contexts = [experiment.create_simulation_context(name) for name in "ab"]
        for context in contexts:
            context.log_step(0, [], [], {"births": 1})
        for exporter, rows in ((contexts[0], 1), (experiment, 2)):
            exporter.export_data(tmp_path / "x.csv", data_types=["metrics"], include_metadata=False)
            assert len(pd.read_csv(tmp_path / "x_metrics.csv")) == rows


def test_a_shard_is_locked_by_nobody_after_it_was_closed_twice(db):
    db.logger.log_resource("r1", 5.0, (0, 0))
    db.close()
    db.close()
    with closing(sqlite3.connect(str(db.db_path), isolation_level=None, timeout=0)) as other:
        other.execute("BEGIN EXCLUSIVE")
        other.execute("ROLLBACK")
