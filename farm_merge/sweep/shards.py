"""What a worker does: it simulates a run into its shard, wherever it runs."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from farm_merge.database import SimulationDatabase
from farm_merge.publish import publish_new
from farm_merge.simulation import run_simulation
from farm_merge.sqlite import COMPANION_SUFFIXES, connect, file_uri

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from farm_merge.sweep.design import Run

__all__ = ["clear", "remove_leftovers", "shard_path", "simulate_run", "temporary_path"]


def shard_path(folder: Path, run: Run) -> Path:
    """Return where the shard of a run belongs."""
    return folder / f"{run.simulation_id}.db"


def temporary_path(folder: Path, run: Run) -> Path:
    """Return where the shard of a run is while the run goes on."""
    return folder / f".{run.simulation_id}.running"


def remove_leftovers(runs: Iterable[Run], folder: Path) -> None:
    """Remove what runs left that were killed."""
    for run in runs:
        temporary = temporary_path(folder, run)
        for suffix in ("", *COMPANION_SUFFIXES):
            temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)


def clear(folder: Path) -> None:
    """Remove what runs of any sweep left here that were killed."""
    for path in folder.glob(".*.running*"):
        path.unlink(missing_ok=True)


def simulate_run(folder: Path, experiment_id: str, run: Run) -> None:
    """Simulate a run into its shard, which appears when it is complete.

    Args:
        folder: Where the shard belongs.
        experiment_id: What it belongs to.
        run: What to simulate.

    Raises:
        OutputError: If the shard cannot be written.
    """
    remove_leftovers([run], folder)  # of an attempt that an executor repeats
    temporary = temporary_path(folder, run)
    config = run.config()
    with SimulationDatabase(
        temporary,
        config,
        run.simulation_id,
        experiment_id=experiment_id,
        parameters=run.record,
        seed=run.seed,
    ) as database:
        run_simulation(run.steps, config, database)
    _publish(temporary, shard_path(folder, run))


def _publish(temporary: Path, shard: Path) -> None:
    with closing(connect(file_uri(temporary))) as connection:
        connection.execute("UPDATE simulations SET simulation_db_path = ?", [str(shard)])
        connection.execute("PRAGMA journal_mode=DELETE")  # to read it shall leave nothing beside it
    if not shard.exists():  # else another attempt of an executor was faster
        publish_new(temporary, shard)  # the lock of the sweep is that of all its shards
    temporary.unlink(missing_ok=True)
