"""A small sweep, and what comes out of one."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.schema import DATA_TABLES
from farm_merge.sweep import Sweep
from tests.conftest import query

if TYPE_CHECKING:
    from collections.abc import Callable


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


def of_model(function: str, **changes: Any) -> Sweep:
    """Return a design of three runs of a function in `models.py`."""
    small = {
        "experiment_id": "small",
        "simulation": f"tests.sweep.models:{function}",
        "grid": {"n": [1, 2, 3]},
    }
    return Sweep.model_validate(small | changes)


def is_alive(pid: int) -> bool:
    """Return whether a process goes on; one that has ended and waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is so; fail when it is not after a long time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.005)
