"""Describe: parameters, seeds and statuses that a table names, joined to simulations afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.csv_tables import rows_of_csv
from farm_merge.errors import FarmMergeError
from farm_merge.nearest import require_known
from farm_merge.progress import silent
from farm_merge.publish import existing_output, locked, writing
from farm_merge.read.open import reading
from farm_merge.read.where import chosen_simulations, parsed_object
from farm_merge.sqlite import transaction

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

__all__ = ["describe_simulations", "read_descriptions"]

_COLUMNS = ("seed", "status", "experiment_id")
"""What has a column of its own in the registry; all else is a parameter."""


def read_descriptions(
    path: str | PathLike[str], key: str = "simulation_id"
) -> dict[str, dict[str, Any]]:
    """Read what a file says of simulations.

    Args:
        path: A CSV file with a row a simulation; or JSON, a list of objects, or an object of
            objects by simulation.
        key: The column that names the simulation.

    Returns:
        By simulation, its values by name. In CSV, a column of numbers is of numbers, one of `true`
        and `false` of these, and what is empty is left out.

    Raises:
        FarmMergeError: If the file cannot be read, a row names no simulation, or two name one.
    """
    path = Path(path)
    try:
        rows = _json_rows(path, key) if path.suffix.lower() == ".json" else _csv_rows(path, key)
    except (OSError, ValueError) as exc:
        raise FarmMergeError(f"cannot be read ({exc})", path=path) from exc
    described: dict[str, dict[str, Any]] = {}
    for number, row in enumerate(rows, start=1):
        name = row.pop(key, None)
        if name is None:
            raise FarmMergeError(
                f"row {number} has no {key}, and so names no simulation",
                path=path,
                remedy="`key=` names the column that does",
            )
        if described.setdefault(str(name), row) is not row:
            raise FarmMergeError(f"has two rows of simulation {name}", path=path)
    return described


def describe_simulations(
    database: str | PathLike[str],
    descriptions: Mapping[str, Mapping[str, Any]],
    *,
    dry_run: bool = False,
) -> int:
    """Give simulations parameters, a seed, a status; all of them, or none.

    Args:
        database: A shard or experiment database.
        descriptions: By simulation, its values by name: `seed`, `status` and `experiment_id` are
            columns of the registry, all others are parameters. Parameters with other names stay.
        dry_run: Only look whether all of them are there.

    Returns:
        How many simulations of the database were not described.

    Raises:
        FarmMergeError: If one is not there; nothing is written.
        OutputError, ShardError: If the database cannot be read or written.
    """
    path = Path(database)
    with reading(path) as connection:
        present = chosen_simulations(connection)
    require_known("simulation", descriptions, present, path=path)
    others = len(present) - len(descriptions)
    if dry_run:
        return others
    with (
        writing(path),
        locked(path, silent),
        existing_output(path) as connection,
        transaction(connection, "IMMEDIATE"),
    ):
        for simulation_id, values in descriptions.items():
            (stored,) = connection.execute(
                "SELECT parameters FROM simulations WHERE simulation_id = ?", (simulation_id,)
            ).fetchone()
            named = {name: value for name, value in values.items() if name not in _COLUMNS}
            columns = {name: values[name] for name in _COLUMNS if values.get(name) is not None}
            columns["parameters"] = json.dumps({**parsed_object(stored), **named})
            if experiment_id := columns.get("experiment_id"):
                connection.execute(
                    "INSERT OR IGNORE INTO experiments (experiment_id, name) VALUES (?, ?)",
                    (experiment_id, experiment_id),
                )
            changes = ", ".join(f"{name} = :{name}" for name in columns)
            connection.execute(
                f"UPDATE simulations SET {changes} WHERE simulation_id = :simulation_id",
                {**columns, "simulation_id": simulation_id},
            )
    return others


def _csv_rows(path: Path, key: str) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in row.items() if value is not None}
        for row in rows_of_csv(path, (key,))
    ]


def _json_rows(path: Path, key: str) -> list[dict[str, Any]]:
    text = path.read_text(encoding="utf-8-sig")
    value = json.loads(text, parse_constant=lambda _: None)  # NaN, which JSON does not know
    if isinstance(value, dict):
        rows = value.items()
        value = [{**row, key: name} if isinstance(row, dict) else row for name, row in rows]
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise ValueError("not a list of objects, nor an object of objects")
    return value
