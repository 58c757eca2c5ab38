"""The questions of the guide and of the reading side, on a large merged database.

Run: python benchmarks/queries.py DATABASE, the output of a merge. Times with and without a
secondary index on the path of an agent, and the plan of each question.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from farm_merge.driver import sqlite3

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


def main(database: Path) -> None:
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
    main(Path(sys.argv[1]))
