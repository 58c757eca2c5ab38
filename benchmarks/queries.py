"""The questions of the guide and of the reading side, on a large merged database.

Run: python benchmarks/queries.py DATABASE [LEGACY], the output of a merge, and a folder with the
legacy files of the same runs. Times, and the plan of each question: as it is; with a secondary
index on the path of an agent; and in AgentFarm's layout of today, which is made of LEGACY: rowid
tables, text ids as keys, single-column indexes.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from data import LEGACY_SCHEMA

from farm_merge.schema import DATA_TABLES
from farm_merge.sqlite import sqlite3

INDEX = "CREATE INDEX path ON agent_states (simulation_id, agent_id)"

QUESTIONS = {
    "one simulation's states": (
        "SELECT count(*), avg(resource_level) FROM agent_states WHERE simulation_id = :id"
    ),
    "one step of a simulation": (
        "SELECT * FROM agent_states WHERE simulation_id = :id AND step_number = 100"
    ),
    "last step of every simulation": (
        "SELECT s.simulation_id, t.step_number, t.total_agents FROM simulations AS s"
        " JOIN simulation_steps AS t ON t.simulation_id = s.simulation_id AND t.step_number ="
        " (SELECT max(step_number) FROM simulation_steps WHERE simulation_id = s.simulation_id)"
    ),
    "one agent's path": (
        "SELECT step_number, position_x, position_y FROM agent_states"
        " WHERE simulation_id = :id AND agent_id = :agent ORDER BY step_number"
    ),
    "actions by type over all": "SELECT action_type, count(*) FROM agent_actions GROUP BY 1",
    "rewards by simulation": (
        "SELECT simulation_id, avg(reward) FROM agent_actions GROUP BY simulation_id"
    ),
}


def main(database: Path, legacy: Path | None = None) -> None:
    with tempfile.TemporaryDirectory(dir=database.parent) as folder:
        indexed = Path(folder, "indexed.db")
        shutil.copy(database, indexed)
        with closing(sqlite3.connect(str(indexed))) as connection:
            before = indexed.stat().st_size
            connection.execute(INDEX)
            connection.commit()
        after = indexed.stat().st_size
        print(f"{INDEX}: takes {(after - before) / after:.1%} of {after:,} bytes")
        for name, path in (("as it is", database), ("with the index", indexed)):
            print(f"\n{name}")
            ask(path)
        if legacy:
            peer = Path(folder, "agentfarm.db")
            make_agentfarm(peer, sorted(legacy.glob("*.db")))
            print(f"\nAgentFarm's layout, {peer.stat().st_size:,} bytes")
            ask(peer)


def make_agentfarm(path: Path, files: list[Path]) -> None:
    """Put runs into one file of AgentFarm's layout; numbers that are keys are given anew."""
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-262144"):
            connection.execute(f"PRAGMA {pragma}")
        schema = LEGACY_SCHEMA.replace(
            "PRIMARY KEY (agent_id)", "PRIMARY KEY (simulation_id, agent_id)"
        )
        connection.executescript(schema)
        for file in files:
            connection.execute("ATTACH ? AS run", (str(file),))
            for table in ("simulations", *DATA_TABLES):
                found = connection.execute(f"PRAGMA table_info({table})").fetchall()
                numbered = {"agent_actions": "action_id", "health_incidents": "incident_id",
                            "resource_states": "id", "simulation_config": "config_id"}  # fmt: skip
                columns = [name for _, name, *_ in found if name != numbered.get(table)]
                names = ", ".join(columns)
                connection.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM run.{table}")
            connection.execute("DETACH run")


def ask(path: Path) -> None:
    with closing(sqlite3.connect(str(path))) as connection:
        (simulation_id,) = connection.execute(
            "SELECT simulation_id FROM simulations ORDER BY 1 LIMIT 1 OFFSET 17"
        ).fetchone()
        (agent,) = connection.execute(
            "SELECT agent_id FROM agents WHERE simulation_id = ? LIMIT 1", (simulation_id,)
        ).fetchone()
        for question, sql in QUESTIONS.items():
            seconds = []
            for _ in range(3):
                started = time.perf_counter()
                connection.execute(sql, {"id": simulation_id, "agent": agent}).fetchall()
                seconds.append(time.perf_counter() - started)
            plan = connection.execute(
                f"EXPLAIN QUERY PLAN {sql}", {"id": simulation_id, "agent": agent}
            ).fetchall()
            print(f"  {question:32} {min(seconds) * 1000:10.2f} ms   {plan[0][3]}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
