"""The built-in model: deterministic, alive, and all of it logged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from farm_merge.config import SimulationConfig
from farm_merge.database import InMemorySimulationDatabase
from farm_merge.experiment_database import ExperimentDatabase
from farm_merge.model.agents import ACTIONS, KINDS
from farm_merge.schema import DATA_TABLES
from farm_merge.simulation import run_simulation
from tests.conftest import query

if TYPE_CHECKING:
    from pathlib import Path

NOT_CONTENT = {"simulation_config"}  # carries the time at which it was saved


def config(**values: Any) -> SimulationConfig:
    return SimulationConfig.from_centralized_config(**values)


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    tables = [table for table in DATA_TABLES if table not in NOT_CONTENT]
    return {table: query(path, f"SELECT * FROM {table}") for table in tables}


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("simulation") / "run.db"
    run_simulation(60, config(population=40, seed=3), path=path, simulation_id="run")
    return path


def test_the_same_seed_gives_the_same_simulation(tmp_path: Path, shard: Path) -> None:
    again = tmp_path / "again.db"
    run_simulation(60, config(population=40, seed=3), path=again, simulation_id="run")
    assert content(again) == content(shard)


def test_another_seed_gives_another_simulation() -> None:
    assert run_simulation(20, config(seed=1)) != run_simulation(20, config(seed=2))


def test_logging_changes_nothing(tmp_path: Path) -> None:
    silent = run_simulation(20, config())
    logged = run_simulation(20, config(), path=tmp_path / "a.db")
    assert (silent.births, silent.deaths, silent.mean_reward) == (
        logged.births,
        logged.deaths,
        logged.mean_reward,
    )


def test_every_data_table_is_filled(shard: Path) -> None:
    assert [t for t in DATA_TABLES if not query(shard, f"SELECT 1 FROM {t} LIMIT 1")] == []


@pytest.mark.parametrize("table", DATA_TABLES)
def test_values_have_the_types_of_their_columns(shard: Path, table: str) -> None:
    declared = {name: kind for _, name, kind, *_ in query(shard, f"PRAGMA table_info({table})")}
    allowed = {"INTEGER": "integer", "BOOLEAN": "integer", "FLOAT": "real"}
    for name, kind in declared.items():
        found = {
            value for (value,) in query(shard, f'SELECT DISTINCT typeof("{name}") FROM {table}')
        }
        assert found <= {allowed.get(kind, "text"), "null"}, name


def test_steps_add_up(shard: Path) -> None:
    totals = query(shard, "SELECT total_agents, births, deaths FROM simulation_steps")
    assert len(totals) == 60
    population = 40
    for total, births, deaths in totals:
        population += births - deaths
        assert total == population
    states = query(shard, "SELECT count(*) FROM agent_states GROUP BY step_number")
    assert states == [(total,) for total, *_ in totals]


def test_an_agent_acts_once_a_step_while_it_lives(shard: Path) -> None:
    twice = "SELECT 1 FROM agent_actions GROUP BY step_number, agent_id HAVING count(*) > 1"
    assert query(shard, twice) == []
    late = (
        "SELECT 1 FROM agent_actions JOIN agents USING (simulation_id, agent_id)"
        " WHERE step_number > death_time OR step_number < birth_time"
    )
    assert query(shard, late) == []


def test_all_kinds_and_actions_occur(shard: Path) -> None:
    assert {kind for (kind,) in query(shard, "SELECT agent_type FROM agents")} == set(KINDS)
    assert {a for (a,) in query(shard, "SELECT action_type FROM agent_actions")} == set(ACTIONS)


def test_the_dead_have_a_time_and_a_cause(shard: Path) -> None:
    dead = query(shard, "SELECT agent_id FROM agents WHERE death_time IS NOT NULL")
    causes = query(shard, "SELECT agent_id FROM health_incidents WHERE cause LIKE 'death by %'")
    assert dead
    assert sorted(dead) == sorted(causes)


@pytest.mark.parametrize(
    "extreme",
    [
        {"resources": 0},
        {"population": 1},
        {"gather_amount": 0.0, "movement_range": 0.0},
        {"consumption": 0.0, "learning_rate": 1e6},
        {"max_population": 1},
    ],
)
def test_extreme_parameters_are_simulated(extreme: dict[str, Any]) -> None:
    assert run_simulation(30, config(**extreme)).steps > 0


def test_a_simulation_ends_when_all_are_dead(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    result = run_simulation(100, config(resources=0), path=path)
    assert result.final_population == 0
    assert result.steps < 100
    last = "SELECT total_agents, average_reward IS NULL FROM simulation_steps ORDER BY 1 LIMIT 1"
    assert query(path, last) == [(0, 0)]


def test_a_database_or_a_path_but_not_both(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not both"):
        run_simulation(1, config(), db=object(), path=tmp_path / "a.db")  # type: ignore[arg-type]


def test_an_experiment_and_a_database_in_memory_take_it_too(tmp_path: Path) -> None:
    settings = config(population=6)
    with InMemorySimulationDatabase(config=settings, simulation_id="m") as memory:
        result = run_simulation(4, settings, memory)
        memory.persist_to_disk(tmp_path / "m.db", show_progress=False)
    with ExperimentDatabase(tmp_path / "exp.db", "e", settings) as experiment:
        context = experiment.create_simulation_context("m")
        assert run_simulation(4, settings, context) == result
        context.close()
    assert content(tmp_path / "m.db") == content(tmp_path / "exp.db")
    summary = "SELECT status, results_summary ->> '$.final_population' FROM simulations"
    assert query(tmp_path / "exp.db", summary) == [("completed", result.final_population)]


def test_progress_is_reported_after_every_step() -> None:
    seen: list[tuple[int, int]] = []
    run_simulation(3, config(), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
