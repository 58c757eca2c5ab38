"""Data for the benchmarks: shards in the shapes of the built-in model's runs, and as legacy files.

Deterministic: the same size and seed give the same rows. A shard holds 50,000 rows in today's
schema; the legacy files are AgentFarm's layout of today (rowid tables, text ids as keys,
single-column indexes), with the same rows.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from farm_merge.schema import create_schema
from farm_merge.sqlite import file_uri, sqlite3

if TYPE_CHECKING:
    from pathlib import Path


class Shape(NamedTuple):
    """How large a run is: agents and resources at a time, and steps."""

    agents: int
    steps: int
    resources: int


SHAPES = {
    "usual": Shape(70, 200, 40),  # 3.7 MB
    "little": Shape(70, 13, 40),  # a quarter of a megabyte
    "small": Shape(4, 14, 2),  # some two hundred rows
    "large": Shape(70, 27_000, 40),  # half a gigabyte
}
"""Shapes of shards by name."""

LEGACY_SCHEMA = """
CREATE TABLE experiments (experiment_id VARCHAR(64) NOT NULL, name VARCHAR(255) NOT NULL,
    description VARCHAR(4096), hypothesis VARCHAR(2048), creation_date DATETIME,
    last_updated DATETIME, status VARCHAR(50), tags JSON, variables JSON, results_summary JSON,
    notes VARCHAR(4096), PRIMARY KEY (experiment_id));
CREATE TABLE simulations (simulation_id VARCHAR(64) NOT NULL, experiment_id VARCHAR(64),
    start_time DATETIME, end_time DATETIME, status VARCHAR(50), parameters JSON NOT NULL,
    results_summary JSON, simulation_db_path VARCHAR(255) NOT NULL, PRIMARY KEY (simulation_id));
CREATE TABLE agents (simulation_id VARCHAR(64), agent_id VARCHAR(64) NOT NULL, birth_time INTEGER,
    death_time INTEGER, agent_type VARCHAR(50), position_x FLOAT, position_y FLOAT,
    initial_resources FLOAT, starting_health FLOAT, genome_id VARCHAR(64), generation INTEGER,
    action_weights JSON, PRIMARY KEY (agent_id));
CREATE TABLE agent_states (id VARCHAR(128) NOT NULL, simulation_id VARCHAR(64),
    step_number INTEGER, agent_id VARCHAR(64), position_x FLOAT, position_y FLOAT,
    position_z FLOAT, resource_level FLOAT, current_health FLOAT, starting_health FLOAT,
    starvation_counter INTEGER, is_defending BOOLEAN, total_reward FLOAT, age INTEGER,
    PRIMARY KEY (id));
CREATE TABLE resource_states (id INTEGER NOT NULL, simulation_id VARCHAR(64),
    step_number INTEGER, resource_id VARCHAR(64), amount FLOAT, position_x FLOAT,
    position_y FLOAT, PRIMARY KEY (id));
CREATE TABLE simulation_steps (step_number INTEGER NOT NULL, simulation_id VARCHAR(64) NOT NULL,
    total_agents INTEGER, agent_type_counts JSON, total_resources FLOAT,
    average_agent_resources FLOAT, births INTEGER, deaths INTEGER, current_max_generation INTEGER,
    resource_efficiency FLOAT, resource_distribution_entropy FLOAT, average_agent_health FLOAT,
    average_agent_age INTEGER, average_reward FLOAT, genetic_diversity FLOAT,
    dominant_genome_ratio FLOAT, resources_consumed FLOAT,
    PRIMARY KEY (step_number, simulation_id));
CREATE TABLE agent_actions (action_id INTEGER NOT NULL, simulation_id VARCHAR(64),
    step_number INTEGER NOT NULL, agent_id VARCHAR(64) NOT NULL, action_type VARCHAR(20) NOT NULL,
    action_target_id VARCHAR(64), reward FLOAT, details VARCHAR(1024), module_type VARCHAR(50),
    module_id VARCHAR(64), PRIMARY KEY (action_id));
CREATE TABLE health_incidents (incident_id INTEGER NOT NULL, simulation_id VARCHAR(64),
    step_number INTEGER NOT NULL, agent_id VARCHAR(64) NOT NULL, health_before FLOAT,
    health_after FLOAT, cause VARCHAR(50) NOT NULL, details VARCHAR(512),
    PRIMARY KEY (incident_id));
CREATE TABLE simulation_config (simulation_id VARCHAR(64), config_id INTEGER NOT NULL,
    timestamp INTEGER NOT NULL, config_data VARCHAR(4096) NOT NULL, PRIMARY KEY (config_id));
CREATE INDEX idx_agents_agent_type ON agents (agent_type);
CREATE INDEX idx_agents_birth_time ON agents (birth_time);
CREATE INDEX idx_agents_death_time ON agents (death_time);
CREATE INDEX idx_agent_states_agent_id ON agent_states (agent_id);
CREATE INDEX idx_agent_states_step_number ON agent_states (step_number);
CREATE INDEX idx_agent_states_composite ON agent_states (step_number, agent_id);
CREATE INDEX idx_resource_states_step_number ON resource_states (step_number);
CREATE INDEX idx_resource_states_resource_id ON resource_states (resource_id);
CREATE INDEX idx_simulation_steps_step_number ON simulation_steps (step_number);
CREATE INDEX idx_agent_actions_step_number ON agent_actions (step_number);
CREATE INDEX idx_agent_actions_agent_id ON agent_actions (agent_id);
CREATE INDEX idx_agent_actions_action_type ON agent_actions (action_type);
CREATE INDEX idx_health_incidents_step_number ON health_incidents (step_number);
CREATE INDEX idx_health_incidents_agent_id ON health_incidents (agent_id);
"""


def make_shards(folder: Path, shards: int, shape: str = "usual") -> list[Path]:
    """Make shards and their legacy twins below `folder`, unless they are there.

    Args:
        folder: Where they are made.
        shards: How many.
        shape: How large each is, one of `SHAPES`; only the usual ones have twins.

    Returns:
        The shards; the twins are in the folder `legacy` beside theirs.
    """
    for kind in _kinds(shape):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(partial(_make, folder, shape), range(shards), chunksize=4))


def _kinds(shape: str) -> tuple[str, ...]:
    return ("today", "legacy") if shape == "usual" else (shape,)


def _make(folder: Path, shape: str, number: int) -> Path:
    simulation_id = f"sim_{number:05}"
    paths = [folder / kind / f"{simulation_id}.db" for kind in _kinds(shape)]
    for path in paths:
        if not path.exists():
            _write(path, simulation_id, number, SHAPES[shape], legacy=path.parent.name == "legacy")
    return paths[0]


def _write(path: Path, simulation_id: str, seed: int, shape: Shape, *, legacy: bool) -> None:
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    with closing(sqlite3.connect(file_uri(unfinished), uri=True)) as connection:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        if legacy:
            connection.executescript(LEGACY_SCHEMA)
        else:
            create_schema(connection)
        for table, names, drawn in _rows(simulation_id, np.random.default_rng(seed), seed, shape):
            columns, rows = names, drawn
            if table == "agent_states" and legacy:
                columns = f"id, {columns}"
                rows = ((f"{row[0]}:{row[2]}-{row[1]}", *row) for row in rows)
            marks = ", ".join("?" * (columns.count(",") + 1))
            connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows)
        connection.commit()
    unfinished.rename(path)


def _rows(name: str, random: np.random.Generator, seed: int, shape: Shape):
    """Yield each table with its columns and rows, in the order of their keys."""
    # Ids as AgentFarm makes them: a few of them live at a time, all of them differ by run.
    agents = [f"agent_{seed:04x}{number:06x}" for number in range(shape.agents)]
    size = (shape.steps, shape.agents)
    x, y = random.uniform(0, 100, (2, *size)).round(6)
    level = random.uniform(0, 20, size).round(3)
    reward = random.normal(0, 1, size).cumsum(axis=0)
    kinds = ("move", "gather", "share", "attack", "reproduce", "pass")
    chosen = random.integers(0, len(kinds), size)
    steps, each = range(shape.steps), range(shape.agents)
    yield (
        "simulations",
        "simulation_id, start_time, end_time, status, parameters, simulation_db_path",
        [(name, "2026-01-01", "2026-01-02", "completed", f'{{"seed": {seed}}}', f"{name}.db")],
    )
    yield (
        "agents",
        "simulation_id, agent_id, birth_time, agent_type, position_x, position_y,"
        " initial_resources, starting_health, genome_id, generation, action_weights",
        [
            (name, agents[a], 0, "system", float(x[0, a]), float(y[0, a]), 5.0, 100.0, f"::{a}", 0,
             '{"move": 0.25, "gather": 0.5, "share": 0.25}')
            for a in each
        ],
    )  # fmt: skip
    yield (
        "agent_states",
        "simulation_id, step_number, agent_id, position_x, position_y, resource_level,"
        " current_health, starting_health, starvation_counter, is_defending, total_reward, age",
        (
            (name, s, agents[a], float(x[s, a]), float(y[s, a]), float(level[s, a]), 100.0 - a % 7,
             100.0, 0, 0, float(reward[s, a]), s)
            for s in steps
            for a in each
        ),
    )  # fmt: skip
    yield (
        "resource_states",
        "simulation_id, id, step_number, resource_id, amount, position_x, position_y",
        (
            (name, s * shape.resources + r + 1, s, f"resource_{r:04x}",
             *(float(drawn[r % shape.agents]) for drawn in (level[s], x[0], y[0])))
            for s in steps
            for r in range(shape.resources)
        ),
    )  # fmt: skip
    yield (
        "simulation_steps",
        "simulation_id, step_number, total_agents, agent_type_counts, total_resources,"
        " average_agent_resources, births, deaths, average_agent_health, average_reward",
        [
            (name, s, shape.agents, f'{{"system": {shape.agents}}}', float(level[s].sum()),
             float(level[s].mean()), 0, 0, 97.0, float(reward[s].mean()))
            for s in steps
        ],
    )  # fmt: skip
    yield (
        "agent_actions",
        "simulation_id, action_id, step_number, agent_id, action_type, action_target_id, reward,"
        " details",
        (
            (name, number, s, agents[a], kinds[chosen[s, a]],
             agents[(a + s) % shape.agents] if chosen[s, a] in {2, 3} else None,
             float(reward[s, a]),
             f'{{"distance": {x[s, a]:.4f}}}' if chosen[s, a] == 0 else None)
            for number, (s, a) in enumerate(product(steps, each), start=1)
        ),
    )  # fmt: skip
    yield (
        "health_incidents",
        "simulation_id, incident_id, step_number, agent_id, health_before, health_after, cause",
        (
            (name, number, s, agents[a], 100.0, 98.5, "starvation")
            for number, (s, a) in enumerate(
                ((s, a) for s, a in product(steps, each) if a % 5 < 4), start=1
            )
        ),
    )
    yield (
        "simulation_config",
        "simulation_id, config_id, timestamp, config_data",
        [(name, 1, 1767225600, '{"width": 100, "height": 100, "padding": "' + "x" * 4000 + '"}')],
    )
