"""The registry: the row of `simulations` of a run: what it is, and its status."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from farm_merge.data_logging.records import json_text
from farm_merge.errors import FarmMergeError, SimulationExistsError
from farm_merge.schema import now
from farm_merge.sqlite import sqlite3

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["end_simulation", "register", "report_refusals", "set_status", "stored_json"]


def register(connection: sqlite3.Connection, row: Mapping[str, Any], *, resume: bool) -> None:
    """Enter a simulation that begins.

    Args:
        connection: The database.
        row: Columns of `simulations`.
        resume: Go on with a simulation that is there.

    Raises:
        SimulationExistsError: If the simulation is there and `resume` is not set.
    """
    try:
        connection.execute(
            f"INSERT INTO simulations ({', '.join(row)})"
            f" VALUES ({', '.join(f':{column}' for column in row)})",
            row,
        )
    except sqlite3.IntegrityError as exc:
        if not resume:
            raise SimulationExistsError(
                f"simulation {row['simulation_id']!r} is there already; choose another id, or go"
                " on with it: resume=True"
            ) from exc
        connection.execute(
            "UPDATE simulations SET status = 'running', end_time = NULL WHERE simulation_id = ?",
            (row["simulation_id"],),
        )


def set_status(
    connection: sqlite3.Connection,
    simulation_id: str,
    status: str,
    results_summary: Mapping[str, Any] | None,
) -> None:
    """Record the status of a simulation; any status but "running" and "pending" ends it.

    Raises:
        FarmMergeError: If there is no such simulation.
    """
    changed = connection.execute(
        "UPDATE simulations SET status = ?, end_time = ?,"
        " results_summary = coalesce(?, results_summary) WHERE simulation_id = ?",
        (
            status,
            None if status in {"running", "pending"} else now(),
            None if results_summary is None else stored_json(results_summary),
            simulation_id,
        ),
    ).rowcount
    if not changed:
        raise FarmMergeError(f"no simulation {simulation_id!r} to set the status of")


def end_simulation(
    connection: sqlite3.Connection, simulation_id: str, status: str | None = None
) -> None:
    """Record that a simulation has ended, unless that is known.

    Args:
        connection: The database.
        simulation_id: Which one.
        status: What it becomes if it is running or pending; it stays by default.
    """
    connection.execute(
        "UPDATE simulations SET end_time = coalesce(end_time, :now),"
        " status = CASE WHEN status IN ('running', 'pending') THEN coalesce(:status, status)"
        " ELSE status END WHERE simulation_id = :id",
        {"now": now(), "status": status, "id": simulation_id},
    )


def report_refusals(
    connection: sqlite3.Connection, simulation_id: str, rows: Mapping[str, int]
) -> None:
    """Record that rows of a simulation were refused: it cannot be `completed`, it is `incomplete`.

    Args:
        connection: The database.
        simulation_id: Which one.
        rows: How many, by the logger's method.
    """
    connection.execute(
        "UPDATE simulations SET"
        " status = CASE WHEN status = 'completed' THEN 'incomplete' ELSE status END,"
        " results_summary = json_set(coalesce(results_summary, '{}'), '$.refused_rows', json(?))"
        " WHERE simulation_id = ?",
        (json.dumps(rows), simulation_id),
    )


def stored_json(value: Mapping[str, Any]) -> str:
    """Return JSON as the registry stores it; what JSON does not know becomes text."""
    return json_text(dict(value), str)
