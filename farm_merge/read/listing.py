"""List: the simulations of a database, and what is known of the database itself."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.health import Findings, examining
from farm_merge.read.open import reading
from farm_merge.read.shapes import STEPS, is_agentfarms, read_shapes
from farm_merge.read.sizes import table_sizes
from farm_merge.read.where import (
    STATUS,
    chosen_simulations,
    flat_parameters,
    parsed_object,
    why_none,
)
from farm_merge.sqlite import column_types, quoted, table_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from os import PathLike

    from farm_merge.sqlite import sqlite3

__all__ = [
    "describe_database",
    "differing_parameters",
    "explain_selection",
    "list_simulations",
    "shortened",
]


def list_simulations(
    database: str | PathLike[str],
    where: Iterable[str] = (),
    *,
    simulations: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """Return the simulations of a shard or experiment database, in the order of their ids.

    Args:
        database: The file.
        where: Conditions that all have to hold, as `compare_simulations` takes them.
        simulations: Only these; all by default.

    Returns:
        One dictionary a simulation: `simulation_id`, `experiment_id`, `status` (`closed` for a run
        that has ended without saying how), `parameters` (a dictionary), `steps` (steps that were
        logged) and `agents` (agents that ever lived), None where the database has no table with a
        row for each.

    Raises:
        ShardError: If the file is not a database of today's schema.
        FarmMergeError: If a condition is not one.
    """
    # Not by sqlite-utils, whose import takes five times as long as the list.
    with reading(database) as connection:
        chosen = chosen_simulations(connection, where, simulations, path=database)
        counts = (_steps(connection, chosen), _agents(connection, chosen))
        rows = connection.execute(
            f"SELECT simulation_id, experiment_id, {STATUS}, parameters, {', '.join(counts)}"
            " FROM simulations AS s WHERE simulation_id IN (SELECT value FROM json_each(:ids))"
            " ORDER BY simulation_id",
            {"ids": json.dumps(chosen)},
        ).fetchall()
    names = ("simulation_id", "experiment_id", "status", "parameters", "steps", "agents")
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return [{**row, "parameters": parsed_object(row["parameters"])} for row in found]


def explain_selection(database: str | PathLike[str], where: Iterable[str]) -> str:
    """Return why conditions chose no simulation of a database, for those who expected some.

    Args:
        database: A shard or experiment database.
        where: The conditions.
    """
    with reading(database) as connection:
        return why_none(connection, list(where))


def describe_database(database: str | PathLike[str], *, check: bool = True) -> dict[str, Any]:
    """Return how large a database is, what is in it, where that came from, and its health.

    Args:
        database: A shard or experiment database.
        check: Whether SQLite checks the file, and how large its tables are; both read all of it.

    Returns:
        `path`, `size_bytes`, `free_bytes` (what a vacuum gives back), `tables` (by name: `rows`,
        and `size_bytes` with their indexes, None where no SQLite at hand counts them),
        `experiments` (by id: name and number of simulations), `statuses` (simulations by status),
        `ledger` (`files`, `first_merged` and `last_merged` in UTC, files by `schemas` and by
        `versions` of farm-merge, `choices` that were made), and `problems`, empty if SQLite finds
        the file in order.

    Raises:
        ShardError: If the file is not a database of today's schema.
    """
    from farm_merge.merge.ledger import summarize_ledger  # with the whole merge

    path = Path(database)
    checked = (
        examining(lambda: reading(path), "quick_check") if check else nullcontext(_no_findings)
    )
    # Not by sqlite-utils, whose import takes longer than all else of a small database.
    with checked as findings, reading(path) as connection:
        rows = {table: _rows(connection, table) for table in table_names(connection)}
        experiments = connection.execute(
            "SELECT experiment_id, name, (SELECT count(*) FROM simulations AS s"
            " WHERE s.experiment_id = e.experiment_id) FROM experiments AS e ORDER BY 1"
        )
        statuses = connection.execute(
            f"SELECT coalesce({STATUS}, 'unknown'), count(*) FROM simulations GROUP BY 1 ORDER BY 1"
        )
        sizes = table_sizes(path) if check else {}
        return {
            "path": str(path),
            "size_bytes": path.stat().st_size,
            "free_bytes": _pragma(connection, "freelist_count") * _pragma(connection, "page_size"),
            "tables": {
                table: {"rows": number, "size_bytes": sizes.get(table)}
                for table, number in rows.items()
            },
            "experiments": {
                experiment_id: {"name": name, "simulations": number}
                for experiment_id, name, number in experiments
            },
            "statuses": dict(statuses.fetchall()),
            "ledger": summarize_ledger(connection),
            "problems": list(_problems(findings())),
        }


def shortened(text: str, limit: int = 60) -> str:
    """Return a text of no more than so many characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def differing_parameters(simulations: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return those parameters of simulations in which they differ; of a single one, all.

    Args:
        simulations: What `list_simulations` returned.

    Returns:
        One dictionary a simulation, with `a.b` for a parameter in another.
    """
    flat = [dict(flat_parameters(simulation["parameters"])) for simulation in simulations]
    names = dict.fromkeys(name for parameters in flat for name in parameters)
    differing = [
        name
        for name in names
        if len(flat) == 1 or len({json.dumps(parameters.get(name)) for parameters in flat}) > 1
    ]
    return [
        {name: parameters[name] for name in differing if name in parameters} for parameters in flat
    ]


def _steps(connection: sqlite3.Connection, ids: Sequence[str]) -> str:
    """Return SQL that counts the steps of a simulation."""
    if _has_rows(connection, STEPS):
        return _count(STEPS)
    shapes = read_shapes(connection, ids)
    shape = next((shape for shape in shapes if shape.kind == "steps"), None)
    if shape is not None:
        return _count(shape.table)
    return _count(STEPS) if "simulation_id" in column_types(connection, STEPS) else "NULL"


def _agents(connection: sqlite3.Connection, ids: Sequence[str]) -> str:
    """Return SQL that counts the agents of a simulation."""
    is_ours = is_agentfarms(connection, "agents")
    if is_ours and _has_rows(connection, "agents"):
        return _count("agents")
    shapes = read_shapes(connection, ids)
    shape = next((shape for shape in shapes if shape.kind == "agents"), None)
    if shape is not None:
        return _count(shape.table, f"DISTINCT t.{quoted(shape.agent or '')}")
    return _count("agents") if is_ours else "NULL"


def _has_rows(connection: sqlite3.Connection, table: str) -> bool:
    if "simulation_id" not in column_types(connection, table):
        return False
    (found,) = connection.execute(f"SELECT EXISTS (SELECT 1 FROM {quoted(table)})").fetchone()
    return bool(found)


def _count(table: str, what: str = "*") -> str:
    """Return SQL that counts the rows of a simulation."""
    return (
        f"(SELECT count({what}) FROM {quoted(table)} AS t WHERE t.simulation_id = s.simulation_id)"
    )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _rows(connection: sqlite3.Connection, table: str) -> int:
    (number,) = connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()
    return int(number)


def _no_findings() -> Findings:
    return Findings((), {})


def _problems(findings: Findings) -> Iterator[str]:
    yield from findings.damage
    for (table, parent), rows in findings.dangling.items():
        yield f"{rows:,} rows of {table} refer to rows that {parent} does not have"
