"""Runs of a model that nobody knows: metrics by step, agents by step, results, and events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm_merge.merge import merge_shards
from tests.conftest import query

if TYPE_CHECKING:
    from pathlib import Path

SPEEDS = {"run_1": 1, "run_2": 1, "run_3": 2}


def write_foreign_runs(folder: Path) -> Path:
    """Merge three runs of another model, and return the experiment database."""
    for number, (name, speed) in enumerate(SPEEDS.items(), start=1):
        path = folder / f"{name}.db"
        for sql in (
            "CREATE TABLE model (Step INT, gini REAL, note TEXT, constant INT)",
            f"INSERT INTO model VALUES (0, {number}, 'x', 7), (1, {number} + 0.5, 'x', 7),"
            f" (2, {number} + 3, 'oops', 7)",
            "UPDATE model SET gini = 'missing' WHERE Step = 1",
            "CREATE TABLE sheep (Step INT, AgentID INT, wealth REAL, mood TEXT, herd_id INT)",
            f"INSERT INTO sheep VALUES (0, 1, 9, 'calm', 1), (2, 1, {number}, 'calm', 1),"
            f" (2, 2, {number} + 2, 'wild', 1)",
            "CREATE TABLE outcome (id INTEGER PRIMARY KEY, score REAL, verdict TEXT)",
            f"INSERT INTO outcome VALUES (1, {number} * 10, 'good')",
            "CREATE TABLE trades (buyer INT, price REAL)",
            f"INSERT INTO trades VALUES {', '.join(['(1, 2.5)'] * number)}",
        ):
            query(path, sql)
        (folder / f"{name}.json").write_text(f'{{"speed": {speed}, "size": 10}}')
    merge_shards([folder / f"{name}.db" for name in SPEEDS], folder / "exp.db")
    return folder / "exp.db"
