"""Adopt: a file that a program or a foreign runner left becomes the shard of a run."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from farm_merge.database.provenance import provenance
from farm_merge.database.registry import stored_json
from farm_merge.merge import merge_shards
from farm_merge.schema import LEDGER, SHARD_MARK, now
from farm_merge.sqlite import connect, file_uri, transaction

if TYPE_CHECKING:
    from pathlib import Path

    from farm_merge.sweep.runs import Run

__all__ = ["adopt", "files_of"]


def files_of(path: Path) -> Path:
    """Return the folder of what something else leaves, while its shard is not made."""
    return path.with_name(f"{path.name}.files")


def adopt(found: Path, path: Path, run: Run, experiment_id: str, started: str) -> None:
    """Make a shard of any SQLite file: its rows, and what is known of the run.

    Args:
        found: The file.
        path: The shard to be made.
        run: What was simulated.
        experiment_id: What it belongs to.
        started: When, in UTC.
    """
    merge_shards(
        [found],
        path,
        experiment_id=experiment_id,
        simulation_id=run.simulation_id,
        include_running=True,
        jobs=1,
    )
    known = {
        "status": "completed",
        "start_time": started,
        "end_time": now(),
        "parameters": stored_json(run.record),
        "seed": run.seed,
        **provenance(),
    }
    with closing(connect(file_uri(path, mode="rw"))) as connection, transaction(connection):
        columns = ", ".join(f"{column} = :{column}" for column in known)
        connection.execute(f"UPDATE simulations SET {columns}", known)
        connection.execute(f"DELETE FROM {LEDGER}")  # it names a file that is gone
        connection.execute(f"PRAGMA application_id = {SHARD_MARK}")
