"""The logger loses nothing, changes nothing, and refuses at the call what does not fit."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pytest

from farm_merge.config import SimulationConfig
from farm_merge.database import SimulationDatabase
from farm_merge.errors import FarmMergeError, InvalidRecordError, RefusedRowsError
from farm_merge.merge import merge_shards
from farm_merge.sqlite import sqlite3
from tests.conftest import query
from tests.logged import RESOURCE, STATE


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.db"


@pytest.fixture
def db(path):
    with SimulationDatabase(path) as database:
        yield database


def test_a_step_is_stored_as_it_was_logged(path):
    with SimulationDatabase(path) as db:
        db.logger.log_step(3, [STATE], [RESOURCE], {"total_agents": 1, "births": 2})
    columns = "position_x, resource_level, is_defending, age, typeof(is_defending), id"
    assert query(path, f"SELECT {columns} FROM agent_states") == [
        (1.0, 3.0, 0, 7, "integer", "run:a1-3")
    ]
    assert query(path, "SELECT id, step_number, resource_id, amount FROM resource_states") == [
        (1, 3, "r1", 5.0)
    ]
    steps = "SELECT step_number, total_agents, births, deaths FROM simulation_steps"
    assert query(path, steps) == [(3, 1, 2, None)]


def test_logging_a_step_again_replaces_it(path):
    with SimulationDatabase(path) as db:
        db.logger.log_step(0, [STATE, ("a2", *STATE[1:])], [RESOURCE], {"total_agents": 2})
        db.logger.log_step(1, [STATE], [RESOURCE], {"total_agents": 1})
        db.logger.log_step(0, [STATE], [RESOURCE], {"total_agents": 9})
        db.flush_all_buffers()
        db.logger.log_step(0, [STATE], [RESOURCE], {"total_agents": 10})
        db.logger.log_step(0, [STATE], [RESOURCE], {"total_agents": 11})
    assert query(path, "SELECT step_number, total_agents FROM simulation_steps") == [
        (0, 11),
        (1, 1),
    ]
    assert query(path, "SELECT count(*) FROM agent_states") == [(2,)]
    assert query(path, "SELECT count(*) FROM resource_states") == [(2,)]


def test_numpy_scalars_are_stored_as_numbers_not_blobs(path):
    state = (
        np.str_("a1"),
        np.float32(1.5),
        np.float64(2.5),
        np.float16(3.5),
        np.int64(90),
        np.int32(100),
        np.uint8(3),
        np.bool_(True),
        np.float64("nan"),
        np.int64(7),
    )
    with SimulationDatabase(path) as db:
        db.logger.log_step(
            np.int64(0),
            [state],
            [(np.str_("r1"), np.float32(2), np.int64(1), 1)],
            {"total_agents": np.int64(1), "average_reward": np.float32(0.5)},
        )
        db.logger.log_agent_action(np.int64(0), "a1", "move", reward=np.float32(0.25))
        db.logger.log_health_incident(0, "a1", np.float32(1), np.int64(2), "x", {"n": np.int64(3)})
    types = ", ".join(
        f"typeof({column})"
        for column in [
            "agent_id",
            "position_x",
            "position_y",
            "resource_level",
            "current_health",
            "starting_health",
            "starvation_counter",
            "is_defending",
            "total_reward",
            "age",
        ]
    )
    assert query(path, f"SELECT {types} FROM agent_states") == [
        ("text", *["real"] * 5, "integer", "integer", "null", "integer")
    ]
    assert query(path, "SELECT total_agents, average_reward FROM simulation_steps") == [(1, 0.5)]
    assert query(path, "SELECT reward, typeof(reward) FROM agent_actions") == [(0.25, "real")]
    assert query(path, "SELECT health_after, details FROM health_incidents") == [(2.0, '{"n": 3}')]


def test_what_json_does_not_know_is_written_as_json_all_the_same(path):
    values = {"x": float("nan"), "y": np.array([np.inf, 1]), 'a "NaN"\\': "-Infinity", "z": -np.inf}
    with SimulationDatabase(path, parameters=values, settings=None) as db:
        db.logger.log_agent_action(0, "a1", "move", details=values)
        db.logger.log_agent_action(0, "a1", "move", temperature=float("nan"))
        db.update_simulation_status("completed", {"loss": float("nan")})
    stored = {"x": None, "y": ["Infinity", 1.0], 'a "NaN"\\': "-Infinity", "z": "-Infinity"}
    details = query(path, "SELECT details FROM agent_actions ORDER BY action_id")
    assert [json.loads(text, parse_constant=pytest.fail) for (text,) in details] == [
        stored,
        {"temperature": None},
    ]
    valid = "json_valid(parameters), json_valid(results_summary)"
    assert query(path, f"SELECT {valid} FROM simulations") == [(1, 1)]


@pytest.mark.parametrize(
    ("step", "states", "resources", "metrics", "named"),
    [
        (-1, [], [], {}, "step_number"),
        (1.5, [], [], {}, "step_number"),
        (True, [], [], {}, "step_number"),
        (0, [STATE[:-1]], [], {}, "agent state has 9 values, not 10"),
        (0, [(float("nan"), *STATE[1:])], [], {}, "agent_id"),
        (0, [(None, *STATE[1:])], [], {}, "agent_id"),
        (0, [("", *STATE[1:])], [], {}, "agent_id"),
        (0, [("a", "left", *STATE[2:])], [], {}, "position_x"),
        (0, [("a", 1.0, {}, *STATE[3:])], [], {}, "cannot be stored"),
        (0, [STATE, STATE], [], {}, "more than one state"),
        (0, [], [("r1", 1.0)], {}, "resource state has 2 values, not 4"),
        (0, [], [], {"births": "many"}, "births"),
        (0, [], [], {"Births": 1}, "Births"),
        (0, [], [], {"step_number": 1}, "step_number"),
        (0, [], [], {"": 1}, "cannot be a new column"),
        (0, [], [], {"mood": object()}, "cannot be stored"),
    ],
)
def test_what_does_not_fit_raises_at_the_call(db, step, states, resources, metrics, named):
    with pytest.raises(InvalidRecordError, match=named):
        db.logger.log_step(step, states, resources, metrics)
    db.logger.refused.clear()
    db.flush_all_buffers()
    assert db.get_table_row_count("agent_states") == 0
    assert db.get_table_row_count("simulation_steps") == 0


def test_agents_are_logged_one_by_one_and_in_batches(path):
    with SimulationDatabase(path) as db:
        db.logger.log_agent("a1", 0, "system", (1.0, 2.0), 5.0, 100.0, action_weights={"m": 0.5})
        db.logger.log_agents_batch(
            [
                {
                    "agent_id": f"b{number}",
                    "birth_time": number,
                    "agent_type": "control",
                    "position": (0, 0),
                    "initial_resources": 1,
                    "starting_health": 2,
                    "genome_id": "::1",
                    "generation": 3,
                }
                for number in range(2)
            ]
        )
        with pytest.raises(InvalidRecordError, match="logged before"):
            db.logger.log_agent("a1", 0, "system", (1.0, 2.0), 5.0, 100.0)
        with pytest.raises(InvalidRecordError, match="'c'"):
            db.logger.log_agents_batch([{"agent_id": "c", "colour": "red"}])
        db.logger.refused.clear()
    agents = "SELECT agent_id, position_y, generation, action_weights FROM agents"
    assert query(path, agents) == [
        ("a1", 2.0, 0, '{"m": 0.5}'),
        ("b0", 0.0, 3, None),
        ("b1", 0.0, 3, None),
    ]


def test_actions_keep_what_older_loggers_took(path):
    with SimulationDatabase(path) as db:
        db.logger.log_agent_action(
            4, "a1", "gather", "r1", reward=1.5, details={"amount": 2}, resources_before=3.0
        )
        db.logger.log_learning_experience(4, "a1", "dqn", 140, 2, "gather", 0.5)
        db.logger.log_agent_action(4, "a1", "gather", details="text", colour="red")
        db.logger.log_agent_action(4, "a1", "gather", details={})
    actions = "SELECT action_id, action_type, reward, details, module_type FROM agent_actions"
    assert query(path, actions) == [
        (1, "gather", 1.5, '{"resources_before": 3.0, "amount": 2}', None),
        (2, "gather", 0.5, '{"action_taken": 2, "action_taken_mapped": "gather"}', "dqn"),
        (3, "gather", None, '{"colour": "red", "details": "text"}', None),
        (4, "gather", None, None, None),
    ]


def test_a_death_is_a_time_and_an_incident(path):
    with SimulationDatabase(path) as db:
        db.logger.log_agent("a1", 0, "system", (1.0, 2.0), 5.0, 100.0)
        db.update_agent_death("a1", 9, "combat")
        with pytest.raises(InvalidRecordError, match="nobody"):
            db.update_agent_death("nobody", 9)
        db.logger.refused.clear()
    assert query(path, "SELECT death_time FROM agents") == [(9,)]
    assert query(path, "SELECT step_number, agent_id, cause FROM health_incidents") == [
        (9, "a1", "combat")
    ]


def test_ids_go_on_where_a_resumed_simulation_stopped(path):
    for resume in (False, True):
        with SimulationDatabase(path, resume=resume) as db:
            db.logger.log_agent_action(0, "a1", "move")
            db.logger.log_resource("r1", 1.0, (0.0, 0.0))
            db.logger.log_step(int(resume), [STATE], [RESOURCE], {})
    assert query(path, "SELECT action_id FROM agent_actions") == [(1,), (2,)]
    assert query(path, "SELECT id, step_number FROM resource_states") == [
        (1, 0),
        (2, 0),
        (3, 0),
        (4, 1),
    ]


def test_a_resumed_simulation_replaces_steps_that_it_logs_again(path):
    for resume in (False, True):
        with SimulationDatabase(path, resume=resume) as db:
            db.logger.log_step(5, [STATE], [RESOURCE], {"births": int(resume)})
    assert query(path, "SELECT step_number, births FROM simulation_steps") == [(5, 1)]


def test_buffers_are_emptied_only_after_their_commit(path):
    with SimulationDatabase(path) as db:
        db.logger.log_agent_action(0, "a1", "move")
        other = sqlite3.connect(str(path), isolation_level=None)
        other.execute(
            "CREATE TRIGGER t BEFORE INSERT ON agent_actions BEGIN SELECT raise(ABORT, 'no'); END"
        )
        with pytest.raises(FarmMergeError, match=r"1 rows .* still held \(no\)"):
            db.flush_all_buffers()
        other.execute("DROP TRIGGER t")
        other.close()
        db.flush_all_buffers()
        db.flush_all_buffers()
    assert query(path, "SELECT count(*) FROM agent_actions") == [(1,)]


def test_a_full_buffer_is_written(path):
    config = SimulationConfig.from_centralized_config(database={"buffer_size": 2})
    with SimulationDatabase(path, config) as db:
        for _ in range(3):
            db.logger.log_agent_action(0, "a1", "move")
        assert query(path, "SELECT count(*) FROM agent_actions") == [(2,)]


def test_an_old_buffer_is_written(path):
    config = SimulationConfig.from_centralized_config(database={"commit_interval_seconds": 0})
    with SimulationDatabase(path, config) as db:
        db.logger.log_agent_action(0, "a1", "move")
        assert query(path, "SELECT count(*) FROM agent_actions") == [(1,)]


def test_what_the_schema_has_no_column_for_gets_one(path):
    with SimulationDatabase(path) as db:
        db.logger.log_step(0, [], [], {"births": 1})
        db.logger.log_step(1, [], [], {"births": 2, "mood": 3, 'odd "name"': [1, 2]})
        db.logger.log_step(2, [], [], {"mood": np.float32(0.5)})
        db.logger.log_agent("a1", 0, "system", (0, 0), 1, 1, simulation_id="run", colour="red")
        db.logger.log_agent("a2", 0, "system", (0, 0), 1, 1, death_time=7)
        db.logger.log_health_incident(0, "a1", 1, 2, "fall", {"floor": 3}, witness="a2")
    steps = 'SELECT step_number, births, mood, typeof(mood), "odd ""name""" FROM simulation_steps'
    assert query(path, steps) == [
        (0, 1, None, "null", None),
        (1, 2, 3, "integer", "[1, 2]"),
        (2, None, 0.5, "real", None),
    ]
    agents = "SELECT agent_id, death_time, colour FROM agents"
    assert query(path, agents) == [("a1", None, "red"), ("a2", 7, None)]
    details = "SELECT details FROM health_incidents"
    assert query(path, details) == [('{"witness": "a2", "floor": 3}',)]


def test_a_resumed_run_goes_on_with_its_own_columns(path):
    for resume in (False, True):
        with SimulationDatabase(path, resume=resume) as db:
            db.logger.log_step(int(resume), [], [], {"mood": "good"})
    assert query(path, "SELECT step_number, mood FROM simulation_steps") == [
        (0, "good"),
        (1, "good"),
    ]


def test_new_columns_are_merged_with_shards_that_lack_them(tmp_path):
    for name, metrics in {"a": {}, "b": {"mood": 7}, "c": {"mood": "007"}}.items():
        with SimulationDatabase(tmp_path / f"{name}.db") as db:
            db.logger.log_step(0, [], [], metrics)
    merge_shards([tmp_path / f"{name}.db" for name in "abc"], tmp_path / "exp.db")
    moods = "SELECT simulation_id, mood FROM simulation_steps ORDER BY 1"
    assert query(tmp_path / "exp.db", moods) == [("a", None), ("b", 7), ("c", "007")]


def test_one_agent_that_does_not_fit_costs_no_other(path):
    agent = {"birth_time": 0, "agent_type": "x", "position": (0, 0)}
    agent |= {"initial_resources": 1, "starting_health": 1}
    batch = [{"agent_id": name, **agent} for name in "abc"]
    batch[1]["position"] = (0, 0, 0)
    batch.append({"agent_id": "d", "simulation_id": "other", **agent})
    with SimulationDatabase(path) as db:
        with pytest.raises(InvalidRecordError, match=r"(?s)2 agents .*'b'.*another simulation"):
            db.logger.log_agents_batch(batch)
        assert dict(db.logger.refused.rows) == {"log_agent": 2}
        db.logger.refused.clear()
    assert query(path, "SELECT agent_id FROM agents") == [("a",), ("c",)]


def log_carelessly(db):
    """Log as a caller does that catches every error and goes on."""
    for call in (
        lambda: db.logger.log_step(0, [STATE], [], {}),
        lambda: db.logger.log_step(1, [STATE[:3]], [], {}),
        lambda: db.logger.log_step(1, [], []),
        lambda: db.logger.log_step(1, [], [], {}, mood=3),
        lambda: db.logger.log_resource("r1", "many", (0, 0)),
        lambda: db.logger.log_agent_action(-1, "a1", "move"),
        lambda: db.logger.log_learning_experience(0, "a1", "dqn", 1, 2, "move", "much"),
        lambda: db.logger.log_health_incident(0, "", 1, 2, "fall"),
    ):
        with suppress(Exception):
            call()


REFUSED = {
    "log_step": 3,
    "log_resource": 1,
    "log_agent_action": 1,
    "log_learning_experience": 1,
    "log_health_incident": 1,
}


def test_a_caller_that_catches_everything_learns_at_the_end_what_was_refused(path):
    db = SimulationDatabase(path)
    log_carelessly(db)
    db.update_simulation_status("completed", {"agents": 1})
    with pytest.raises(RefusedRowsError, match=r"run\.db: .*7 rows were refused .*has 3 values"):
        db.close()
    db.close()
    ((status, summary, ended),) = query(
        path, "SELECT status, results_summary, end_time IS NOT NULL FROM simulations"
    )
    assert (status, ended) == ("incomplete", 1)
    assert json.loads(summary) == {"agents": 1, "refused_rows": REFUSED}
    assert query(path, "SELECT count(*) FROM agent_states") == [(1,)]
    assert [file.name for file in path.parent.iterdir()] == ["run.db"]


def test_leaving_the_block_reports_what_was_refused(path):
    with pytest.raises(RefusedRowsError), SimulationDatabase(path) as db:
        log_carelessly(db)
    assert query(path, "SELECT status FROM simulations") == [("incomplete",)]


def test_the_error_that_ended_a_run_is_not_hidden_by_what_was_refused(path):
    def fail():
        with SimulationDatabase(path) as db:
            log_carelessly(db)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    refused = "SELECT status, results_summary ->> '$.refused_rows.log_step' FROM simulations"
    assert query(path, refused) == [("failed", 3)]
