"""A small sweep, and what comes out of one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from farm_merge.schema import DATA_TABLES
from farm_merge.sweep import Sweep
from tests.conftest import query

if TYPE_CHECKING:
    from pathlib import Path


def sweep(**changes: Any) -> Sweep:
    """Return a design of four short runs."""
    small = {
        "experiment_id": "small",
        "name": "A small sweep",
        "steps": 5,
        "repetitions": 2,
        "seed": 1,
        "grid": {"learning_rate": [0.1, 1.0]},
        "config": {"population": 6},
    }
    return Sweep.model_validate(small | changes)


def threads() -> ThreadPoolExecutor:
    """Return an executor that starts at once."""
    return ThreadPoolExecutor(1)


def shard_rows(folder: Path) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
    """Return every data row of every shard, but for configurations: they carry a clock."""
    tables = [table for table in DATA_TABLES if table != "simulation_config"]
    return {
        (path.name, table): query(path, f"SELECT * FROM {table}")
        for path in sorted(folder.glob("*.db"))
        for table in tables
    }


def hidden(folder: Path) -> list[str]:
    """Return what is there besides shards."""
    return [path.name for path in folder.iterdir() if path.suffix != ".db"]
