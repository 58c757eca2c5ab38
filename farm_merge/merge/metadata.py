"""Metadata of runs that registered none: from their data, their file and their folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeGuard

from farm_merge.merge.find import SUFFIXES
from farm_merge.schema import stored_time

if TYPE_CHECKING:
    from pathlib import Path

    from farm_merge.driver import sqlite3
    from farm_merge.merge.plan import SimulationPlan

__all__ = ["SIDECAR", "derived_metadata"]

SIDECAR = "config.json"
"""The parameters of a run, as AgentFarm leaves them beside its database."""


def derived_metadata(connection: sqlite3.Connection, planned: SimulationPlan) -> dict[str, Any]:
    """Return the row of `simulations` for a run that has none.

    Args:
        connection: The output, with the run's data in it.
        planned: The run.
    """
    simulation_id, source = planned.simulation_id, planned.source
    steps, agents = connection.execute(
        "SELECT (SELECT count(*) FROM main.simulation_steps WHERE simulation_id = :id),"
        " (SELECT count(*) FROM main.agents WHERE simulation_id = :id)",
        {"id": simulation_id},
    ).fetchone()
    logged = connection.execute(
        "SELECT timestamp, config_data FROM main.simulation_config WHERE simulation_id = ?"
        " ORDER BY config_id LIMIT 1",
        (simulation_id,),
    ).fetchone()
    written, config = logged or (None, None)
    summary = {"steps": steps, "agents": agents} if steps or agents else None
    parameters = _sidecar(source.path.parent) or _object(config) or {}
    ended = datetime.fromtimestamp(source.identity.mtime_ns / 1e9, UTC)
    started = stored_time(datetime.fromtimestamp(written, UTC)) if _is_time(written) else None
    return {
        "simulation_id": simulation_id,
        "start_time": started,
        "end_time": stored_time(ended),
        "status": "unknown",
        "parameters": json.dumps(parameters),
        "results_summary": summary and json.dumps(summary),
        "simulation_db_path": str(source.path.absolute()),
    }


def _sidecar(folder: Path) -> dict[str, Any] | None:
    """Read the parameters beside a run; where several runs share a folder, nobody knows whose."""
    path = folder / SIDECAR
    if not path.is_file():
        return None
    databases = (each for each in folder.iterdir() if each.name.endswith(SUFFIXES))
    if len(list(islice(databases, 2))) > 1:
        return None
    try:
        return _object(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def _object(text: object) -> dict[str, Any] | None:
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _is_time(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and 0 < value < 2**33
