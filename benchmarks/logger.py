"""Rows a second of `log_step`, beside a bare `executemany` of the same tuples, and beside
SQLAlchemy's `bulk_insert_mappings`, which is what AgentFarm's logger uses.

Run: python benchmarks/logger.py [steps] [agents] [rounds]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import sqlalchemy
from sqlalchemy.orm import Session

from farm_merge.database import SimulationDatabase
from farm_merge.models import AgentStateModel
from farm_merge.schema import create_schema
from farm_merge.sqlite import sqlite3

STATE = (50.0, 25.0, 3.5, 90.0, 100.0, 0, False, 0.5, 7)


def states(step: int, agents: int) -> list[tuple[object, ...]]:
    return [(f"agent_{number:010d}", step + 0.5, *STATE[1:]) for number in range(agents)]


def log(path: Path, rows: list[list[tuple[object, ...]]]) -> None:
    with SimulationDatabase(path) as db:
        for step, agent_states in enumerate(rows):
            db.logger.log_step(step, agent_states, [], {"total_agents": len(agent_states)})


def bare(path: Path, rows: list[list[tuple[object, ...]]]) -> None:
    insert = (
        "INSERT INTO agent_states (simulation_id, step_number, agent_id, position_x, position_y,"
        " resource_level, current_health, starting_health, starvation_counter, is_defending,"
        f" total_reward, age) VALUES ({', '.join('?' * 12)})"
    )
    tuples = [("run", step, *row) for step, batch in enumerate(rows) for row in batch]
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        create_schema(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA cache_size = -65536")
        for start in range(0, len(tuples), 20_000):
            connection.execute("BEGIN")
            connection.executemany(insert, tuples[start : start + 20_000])
            connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = DELETE")


def mappings(path: Path, rows: list[list[tuple[object, ...]]]) -> None:
    names = (
        "position_x", "position_y", "resource_level", "current_health", "starting_health",
        "starvation_counter", "is_defending", "total_reward", "age",
    )  # fmt: skip
    engine = sqlalchemy.create_engine("sqlite://", creator=lambda: sqlite3.connect(str(path)))
    with closing(sqlite3.connect(str(path))) as connection:
        create_schema(connection)
        connection.execute("PRAGMA journal_mode = WAL")
    buffer: list[dict[str, object]] = []
    with Session(engine) as session:
        for step, batch in enumerate(rows):
            buffer += [
                {"simulation_id": "run", "step_number": step, "agent_id": agent}
                | dict(zip(names, values, strict=True))
                for agent, *values in batch
            ]
            if len(buffer) >= 1000 or step == len(rows) - 1:
                session.bulk_insert_mappings(AgentStateModel, buffer)
                session.commit()
                buffer = []
    engine.dispose()


def main(steps: int = 1000, agents: int = 100, rounds: int = 5) -> None:
    rows = [states(step, agents) for step in range(steps)]
    ratios, gains = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            seconds = {}
            for contender in (log, bare, mappings):
                started = time.perf_counter()
                contender(Path(folder, f"{contender.__name__}.db"), rows)
                seconds[contender] = time.perf_counter() - started
        ratios.append(seconds[bare] / seconds[log])
        gains.append(seconds[mappings] / seconds[log])
        print(
            f"log_step {steps * agents / seconds[log]:9,.0f} rows/s,"
            f" bare executemany {steps * agents / seconds[bare]:9,.0f} rows/s,"
            f" bulk_insert_mappings {steps * agents / seconds[mappings]:9,.0f} rows/s"
        )
    print(
        f"log_step / executemany: {statistics.median(ratios):.2f},"
        f" / bulk_insert_mappings: {statistics.median(gains):.1f} (medians of {rounds})"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
