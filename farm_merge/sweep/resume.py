"""What is there already: runs whose shards exist are not simulated again."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

from farm_merge.errors import ConflictError, FarmMergeError
from farm_merge.publish import require_usable
from farm_merge.sqlite import connect, file_uri, sqlite3
from farm_merge.sweep.shards import shard_path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from farm_merge.sweep.design import Run

__all__ = ["present_runs"]


def present_runs(runs: Iterable[Run], folder: Path) -> tuple[Run, ...]:
    """Return the runs whose shards are there.

    Args:
        runs: All of a sweep.
        folder: Where the shards belong.

    Raises:
        ConflictError: If a shard is there that is of another sweep.
        OutputError: If something is in the way of a shard, such as a WAL without its database.
    """
    present, differing = [], []
    for run in runs:
        shard = shard_path(folder, run)
        if not shard.exists():
            require_usable(shard)
        elif difference := _difference(shard, run):
            differing.append(FarmMergeError(difference, path=shard))
        else:
            present.append(run)
    if differing:
        raise ConflictError(
            "shards are there that are not of this sweep, and nothing was run:",
            causes=differing,
            remedy="Move them away, or choose another folder for the shards.",
        )
    return tuple(present)


def _difference(shard: Path, run: Run) -> str | None:
    """Return in what a shard differs from what a run would write, if it does."""
    import sqlite_utils

    try:
        with closing(connect(file_uri(shard, mode="ro"), read_only=True)) as connection:
            database = sqlite_utils.Database(connection, execute_plugins=False)
            row = database.table("simulations").get(run.simulation_id)
    except sqlite_utils.db.NotFoundError:
        return f"holds no simulation {run.simulation_id}"
    except sqlite3.Error as exc:
        return f"cannot be read ({exc})"
    if row["status"] != "completed":
        return f"is {row['status']}"
    found = {**json.loads(row["parameters"]), "seed": row["seed"]}
    wanted = {**run.record, "seed": run.seed}
    differing = [
        f"{name} is {found.get(name)}, not {wanted.get(name)}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
    return ", ".join(differing) or None
