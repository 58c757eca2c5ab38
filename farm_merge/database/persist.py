"""Persist: what was written in memory becomes a file, or joins an experiment database."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from farm_merge.database.opening import naming
from farm_merge.database.registry import end_simulation, report_refusals
from farm_merge.merge import merge_shards
from farm_merge.progress import counting, is_watched, silent
from farm_merge.publish import locked, publish_new, read_output, require_usable, workshop
from farm_merge.schema import DATA_TABLES, mark_as_experiment
from farm_merge.sqlite import connect, file_uri, storable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from farm_merge.sqlite import sqlite3

__all__ = ["persist"]

_PAGES_AT_ONCE = 4096


def persist(
    source: sqlite3.Connection,
    simulation_id: str,
    output: Path,
    tables: tuple[str, ...],
    *,
    status: str | None,
    refused: Mapping[str, int],
    show_progress: bool,
) -> bool:
    """Write a simulation to a file that appears whole, or merge it into the one that is there.

    Args:
        source: The database in memory.
        simulation_id: The simulation in it.
        output: The file.
        tables: The data tables to write.
        status: What a running simulation becomes: it has ended; None if it goes on.
        refused: How many rows were refused, by the logger's method.
        show_progress: Draw a bar where a person is looking.

    Returns:
        Whether the file was there.

    Raises:
        OutputError: If the file is something else, or cannot be written.
        ConflictError: If it has other data under this simulation_id.
    """
    with naming(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        require_usable(output)
        with workshop(output) as folder:
            partial = folder / "partial"
            partial.touch()  # as the umask says; SQLite would let its owner alone write it
            with closing(connect(file_uri(partial))) as disk:
                _copy(source, disk, show_progress=show_progress)
                _keep(disk, tables)
                path = storable(output.absolute())
                disk.execute("UPDATE simulations SET simulation_db_path = ?", (path,))
                if status is not None:
                    end_simulation(disk, simulation_id, status)
                if refused:
                    report_refusals(disk, simulation_id, refused)
            return _publish(partial, output)


def _copy(source: sqlite3.Connection, disk: sqlite3.Connection, *, show_progress: bool) -> None:
    with counting(show_progress and is_watched(), "persist", "pages") as report:

        def show(_: int, remaining: int, total: int) -> None:
            report(total - remaining, total)

        source.backup(disk, pages=_PAGES_AT_ONCE, progress=show)


def _keep(disk: sqlite3.Connection, tables: tuple[str, ...]) -> None:
    dropped = [table for table in DATA_TABLES if table not in tables]
    for table in dropped:
        disk.execute(f"DELETE FROM {table}")
    if dropped:
        disk.execute("VACUUM")


def _publish(partial: Path, output: Path) -> bool:
    """Let the file appear, or merge it into the one that is there; return which of them."""
    with locked(output, silent):  # another process may be faster; this one joins what it makes
        if not output.exists():
            publish_new(partial, output)
            return False
    with closing(connect(file_uri(output, mode="rw"))) as connection:
        mark_as_experiment(connection)  # the simulation that it has came alone, as a shard
    _join_experiment(partial, output)
    merge_shards([partial], output, include_running=True)
    return True


def _join_experiment(partial: Path, output: Path) -> None:
    """Let a simulation without an experiment be of the output's, if that has one alone."""
    with read_output(output) as connection:
        experiments = connection.execute("SELECT experiment_id FROM experiments").fetchall()
    if len(experiments) == 1:
        with closing(connect(file_uri(partial))) as disk:
            disk.execute(
                "UPDATE simulations SET experiment_id = coalesce(experiment_id, ?)", experiments[0]
            )
