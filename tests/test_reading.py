"""Looking at an experiment database: conditions, comparisons, facts, and SQL that only reads."""

from __future__ import annotations

import json
import sqlite3 as standard_sqlite3

import pytest
from click.testing import CliRunner
from scipy import stats
from sqlalchemy import String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from farm_merge import ExperimentDatabase, FarmMergeError, SimulationDatabase
from farm_merge.cli import main
from farm_merge.compare import (
    compare_simulations,
    compare_two,
    group_repetitions,
    varied_parameters,
)
from farm_merge.errors import ShardError
from farm_merge.listing import describe_database, list_simulations
from farm_merge.merge import merge_shards
from farm_merge.models import AgentModel
from farm_merge.reading import chosen_simulations, frame, query, reading
from tests.conftest import query as ask

RUNS = {"a1": (0.1, 1), "a2": (0.1, 2), "b1": (0.5, 1), "b2": (0.5, 2)}


@pytest.fixture
def experiment(tmp_path):
    """Four runs: two parameter sets with two repetitions each, whose results are known."""
    for number, (simulation_id, (rate, repetition)) in enumerate(RUNS.items()):
        parameters = {"learning_rate": rate, "repetition": repetition, "world": {"size": 10}}
        with SimulationDatabase(
            tmp_path / f"{simulation_id}.db", simulation_id=simulation_id, parameters=parameters
        ) as db:
            for step in range(3):
                db.logger.log_step(
                    step_number=step,
                    agent_states=[],
                    resource_states=[],
                    metrics={"total_agents": 10 * (number + 1) + step, "births": step},
                )
            for agent in range(number + 1):
                db.logger.log_agent(
                    agent_id=f"agent_{agent}",
                    birth_time=0,
                    agent_type="S",
                    position=(0.0, 0.0),
                    initial_resources=1.0,
                    starting_health=1.0,
                )
            for action in range(4):
                db.logger.log_agent_action(
                    step_number=0,
                    agent_id="agent_0",
                    action_type="move" if action else "eat",
                    reward=float(number),
                )
            db.update_simulation_status("failed" if simulation_id == "b2" else "completed")
    output = tmp_path / "exp.db"
    merge_shards([tmp_path / f"{each}.db" for each in RUNS], output)
    return output


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], "a1 a2 b1 b2"),
        (["learning_rate>=0.5"], "b1 b2"),
        (["learning_rate < 0.5", "repetition=2"], "a2"),
        (["status!=completed"], "b2"),
        (["world.size=10"], "a1 a2 b1 b2"),
        (["simulation_id~b"], "b1 b2"),
        (["learning_rate>1"], ""),
    ],
)
def test_conditions_choose_simulations(experiment, conditions, expected):
    with reading(experiment) as connection:
        assert chosen_simulations(connection, conditions) == expected.split()


@pytest.mark.parametrize(
    ("condition", "message"),
    [("learning_rate", "no condition"), ("rate>1", "there are learning_rate")],
)
def test_a_wrong_condition_is_told(experiment, condition, message):
    with pytest.raises(FarmMergeError, match=message):
        list_simulations(experiment, [condition])


def test_one_row_a_simulation(experiment):
    told = compare_simulations(experiment)
    assert list(told.index) == list(RUNS)
    assert list(told["final_total_agents"]) == [12, 22, 32, 42]
    assert list(told["mean_total_agents"]) == [11, 21, 31, 41]
    assert list(told["steps"]) == [3, 3, 3, 3]
    assert list(told["agents_born"]) == [1, 2, 3, 4]
    assert list(told["actions_move"]) == [3, 3, 3, 3]
    assert list(told["mean_reward"]) == [0, 1, 2, 3]
    assert list(told["parameters.world.size"]) == [10] * 4
    assert varied_parameters(told) == ["parameters.learning_rate"]


def test_repetitions_are_grouped_with_students_confidence_interval(experiment):
    told = group_repetitions(compare_simulations(experiment))
    row = told[(told["result"] == "final_total_agents") & (told["learning_rate"] == 0.1)].iloc[0]
    assert (row["n"], row["mean"]) == (2, 17)
    low, high = stats.t.interval(0.95, 1, loc=17, scale=stats.sem([12, 22]))
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high))


def test_a_single_run_has_no_confidence_interval(experiment):
    told = group_repetitions(compare_simulations(experiment, ["simulation_id=a1"]))
    row = told[told["result"] == "final_total_agents"].iloc[0]
    assert row["n"] == 1
    assert row["mean"] == 12
    assert row["ci_low"] != row["ci_low"]


def test_two_simulations_side_by_side(experiment):
    told = compare_two(experiment, "a1", "b2").set_index("name")
    assert told.loc["final_total_agents", "difference"] == 30
    assert told.loc["status", ["a1", "b2"]].tolist() == ["completed", "failed"]
    with pytest.raises(FarmMergeError, match="has no simulation nobody"):
        compare_two(experiment, "a1", "nobody")


def test_what_is_in_a_database(experiment):
    told = describe_database(experiment)
    assert told["statuses"] == {"completed": 3, "failed": 1}
    assert told["tables"]["agent_actions"]["rows"] == 16
    assert told["ledger"]["files"] == 4
    assert told["problems"] == []


def test_references_that_point_nowhere_are_a_problem(experiment):
    with standard_sqlite3.connect(experiment) as connection:
        connection.execute("DELETE FROM agents WHERE simulation_id = 'a1'")
    assert any("agent_actions" in each for each in describe_database(experiment)["problems"])
    result = CliRunner().invoke(main, ["info", str(experiment)])
    assert result.exit_code == 1


def test_frames(experiment):
    told = frame(experiment, "simulation_steps", ["a1", "b1"], range(1, 3))
    assert list(told["simulation_id"]) == ["a1", "a1", "b1", "b1"]
    assert list(told["step_number"]) == [1, 2, 1, 2]
    with ExperimentDatabase(experiment, "exp") as database:
        assert len(database.frame("agents", "b2")) == 4
    with pytest.raises(ShardError, match="has no table agent; it has"):
        frame(experiment, "agent")


def test_sql_is_read_as_table_csv_or_json(experiment):
    words = ["sql", str(experiment), "SELECT simulation_id AS s, 1.5 AS x FROM simulations"
             " WHERE simulation_id = :id", "-p", "id=a2"]  # fmt: skip
    told = {form: CliRunner().invoke(main, [*words, "--format", form]).output
            for form in ("table", "csv", "json")}  # fmt: skip
    assert told["table"].splitlines()[-1].split() == ["a2", "1.5"]
    assert told["csv"] == "s,x\na2,1.5\n"
    assert json.loads(told["json"]) == [{"s": "a2", "x": 1.5}]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM agents",
        "ATTACH 'other.db' AS other",
        "SELECT 1; SELECT 2",
        "SELEC 1",
        "PRAGMA journal_mode=WAL",
    ],
)
def test_sql_cannot_write(experiment, statement, monkeypatch):
    monkeypatch.chdir(experiment.parent)
    before = experiment.read_bytes(), sorted(experiment.parent.iterdir())
    result = CliRunner().invoke(main, ["sql", str(experiment), statement])
    assert "Traceback" not in result.output
    assert result.exit_code == 1 or statement.startswith("PRAGMA")
    assert (experiment.read_bytes(), sorted(experiment.parent.iterdir())) == before


def test_a_statement_that_fails_midway_is_told(experiment):
    with pytest.raises(ShardError, match="integer overflow"), query(
        experiment, "SELECT abs(-9223372036854775807 - 1)"
    ) as (_, rows):  # fmt: skip
        list(rows)


@pytest.mark.parametrize(
    "words",
    [
        ["list", "--where", "learning_rate>=0.5"],
        ["compare", "--grouped"],
        ["compare", "a1", "b1", "--format", "csv"],
        ["compare", "--format", "json"],
        ["info", "--json"],
    ],
)
def test_commands_print_what_they_found(experiment, words):
    command, *rest = words
    result = CliRunner().invoke(main, [command, str(experiment), *rest])
    assert result.exit_code == 0, result.output
    if "json" in words[-1]:
        assert json.loads(result.output)


@pytest.mark.parametrize("command", ["list", "info", "compare", "report"])
def test_other_files_are_refused_by_name(tmp_path, command):
    other = tmp_path / "other.db"
    other.write_bytes(b"not a database" * 100)
    result = CliRunner().invoke(main, [command, str(other)])
    assert result.exit_code == 1
    assert str(other) in result.output


def test_a_parameter_that_not_all_have_makes_no_set(experiment):
    with standard_sqlite3.connect(experiment) as connection:
        connection.execute(
            "UPDATE simulations SET parameters = json_set(parameters, '$.speed', 2)"
            " WHERE simulation_id = 'a1'"
        )
    assert varied_parameters(compare_simulations(experiment)) == ["parameters.learning_rate"]


def test_parameters_that_are_no_json_are_no_parameters(experiment):
    with standard_sqlite3.connect(experiment) as connection:
        connection.execute("UPDATE simulations SET parameters = '{' WHERE simulation_id = 'a1'")
    assert list_simulations(experiment)[0]["parameters"] == {}
    assert list(compare_simulations(experiment, ["learning_rate>0"]).index) == ["a2", "b1", "b2"]


class Old(DeclarativeBase):
    """Models as AgentFarm declares them: an agent's key is its id alone."""


class OldAgent(Old):
    __tablename__ = "agents"
    agent_id: Mapped[str] = mapped_column(String, primary_key=True)
    simulation_id: Mapped[str] = mapped_column(String)


def test_models_keyed_by_agent_id_need_a_session_for_each_simulation(experiment):
    engine = create_engine(f"sqlite:///{experiment}")
    first = select(OldAgent).where(OldAgent.simulation_id == "a1")
    second = select(OldAgent).where(OldAgent.simulation_id == "a2")
    with Session(engine) as session:
        kept = session.scalars(first).all()
        confused = session.scalars(second).all()
        assert confused[0] is kept[0]
        assert confused[0].simulation_id == "a1"
    with Session(engine) as session:
        assert {each.simulation_id for each in session.scalars(second)} == {"a2"}
    with ExperimentDatabase(experiment, "exp") as database, database.Session() as session:
        ours = session.scalars(select(AgentModel)).all()
        assert len({(each.simulation_id, each.agent_id) for each in ours}) == 10
    engine.dispose()


def test_agentfarms_own_sql_runs_as_it_is(experiment):
    assert ask(
        experiment,
        "SELECT step_number, total_agents FROM simulation_steps WHERE simulation_id = 'a1'"
        " ORDER BY step_number DESC LIMIT 1",
    ) == [(2, 12)]
