"""Store: the design of a sweep is kept in its experiment, to be compared and to be analysed."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

from farm_merge.progress import silent
from farm_merge.publish import existing_output, locked, reading_output, writing
from farm_merge.read.where import parsed_object
from farm_merge.sqlite import sqlite3, transaction

if TYPE_CHECKING:
    from pathlib import Path

    from farm_merge.sweep.design import Sweep

__all__ = ["changes_of_design", "store_design", "stored_design"]

_KEY = "sweep"

_HOW_IT_RUNS = {"timeout", "retries", "shards", "storage", "memory_limit_mb"}


def store_design(output: Path, sweep: Sweep) -> None:
    """Keep a design in `experiments.variables`, unless it is there already.

    Raises:
        OutputError: If the database cannot be written.
    """
    design = _plain(sweep)
    if not output.exists() or stored_design(output, sweep.experiment_id) == design:
        return
    with (
        writing(output),
        locked(output, silent),
        existing_output(output) as connection,
        transaction(connection, "IMMEDIATE"),
    ):
        connection.execute(
            "UPDATE experiments SET name = CASE name WHEN experiment_id THEN coalesce(:name, name)"
            " ELSE name END, description = coalesce(description, :description), variables ="
            " json_set(coalesce(variables, '{}'), '$.' || :key, json(:design))"
            " WHERE experiment_id = :id",
            {
                "name": sweep.name,
                "description": sweep.description,
                "key": _KEY,
                "design": json.dumps(design),
                "id": sweep.experiment_id,
            },
        )


def stored_design(output: Path, experiment_id: str) -> dict[str, Any] | None:
    """Return the design that an experiment was made by, as in its sweep file; None if unknown."""
    if not output.exists():
        return None
    with reading_output(output) as connection:
        return _stored(connection, experiment_id)


def changes_of_design(output: Path, sweep: Sweep) -> list[str]:
    """Return in which keys a design differs from the one that its experiment was made by."""
    before = stored_design(output, sweep.experiment_id)
    now = _plain(sweep)
    if before is None or before == now:
        return []
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return [f"the design has changed since it was run last, in {', '.join(sorted(changed))}"]


def _stored(connection: sqlite3.Connection, experiment_id: str) -> dict[str, Any] | None:
    with closing(
        connection.execute(
            "SELECT json_extract(variables, '$.' || ?) FROM experiments"
            " WHERE experiment_id = ? AND json_valid(variables)",
            (_KEY, experiment_id),
        )
    ) as cursor:
        row = cursor.fetchone()
    return (parsed_object(row[0]) or None) if row else None


def _plain(sweep: Sweep) -> dict[str, Any]:
    """Return a design as it is in its file, without defaults and what changes no result."""
    plain: dict[str, Any] = json.loads(
        sweep.model_dump_json(exclude_defaults=True, exclude=_HOW_IT_RUNS)
    )
    return plain
