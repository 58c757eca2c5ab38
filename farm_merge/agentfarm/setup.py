"""How AgentFarm's environment gets its database."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.agentfarm.databases import InMemorySimulationDatabase, SimulationDatabase
from farm_merge.schema import LEDGER, is_current
from farm_merge.sqlite import COMPANION_SUFFIXES, connect, file_uri, sqlite3

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["setup_db"]


def setup_db(
    db_path: str | None, simulation_id: str, parameters: Mapping[str, Any] | None = None
) -> SimulationDatabase | InMemorySimulationDatabase | None:
    """Return the database of a simulation that begins, with its record.

    Args:
        db_path: The file; ":memory:" for none, None for no database. A shard that is there is
            replaced, as the run is begun anew; anything else stays, and another name is used.
        simulation_id: The simulation.
        parameters: What is stored with it.

    Raises:
        OutputError: If the file cannot be written.
    """
    if db_path is None:
        return None
    database: SimulationDatabase | InMemorySimulationDatabase
    if db_path == ":memory:":
        database = InMemorySimulationDatabase(simulation_id=simulation_id)
    else:
        database = SimulationDatabase(_free(db_path), simulation_id=simulation_id)
    database.add_simulation_record(
        simulation_id=simulation_id,
        start_time=datetime.now(UTC),
        status="running",
        parameters=parameters or {},
    )
    return database


def _free(db_path: str) -> str:
    path = Path(db_path)
    if not db_path or not path.exists():
        return db_path
    if _is_one_run(path):
        for suffix in ("", *COMPANION_SUFFIXES):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return db_path
    return str(path.with_name(f"{path.stem}_{time.time_ns()}{path.suffix}"))


def _is_one_run(path: Path) -> bool:
    """Return whether a file is a shard: a simulation that was not merged from anywhere."""
    try:
        with closing(connect(file_uri(path, mode="ro"), read_only=True)) as connection:
            if not is_current(connection):
                return False
            counts = connection.execute(
                f"SELECT (SELECT count(*) FROM simulations), (SELECT count(*) FROM {LEDGER})"
            ).fetchone()
    except sqlite3.Error:
        return False
    return counts[0] <= 1 and not counts[1]
