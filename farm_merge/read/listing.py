"""List: the simulations of a database, and what is known of the database itself."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.read.open import reading, reading_rows
from farm_merge.read.sizes import table_sizes
from farm_merge.read.where import chosen_simulations, parsed_parameters
from farm_merge.sqlite import column_types, table_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

    from farm_merge.sqlite import sqlite3

__all__ = ["describe_database", "list_simulations", "shortened"]


def list_simulations(
    database: str | PathLike[str], where: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Return the simulations of a shard or experiment database, in the order of their ids.

    Args:
        database: The file.
        where: Conditions that all have to hold, as `compare_simulations` takes them.

    Returns:
        One dictionary a simulation: `simulation_id`, `experiment_id`, `status`, `parameters` (a
        dictionary), `steps` (steps that were logged) and `agents` (agents that ever lived), None
        where the database has no table of them.

    Raises:
        ShardError: If the file is not a database of today's schema.
        FarmMergeError: If a condition is not one.
    """
    # Not by sqlite-utils, whose import takes five times as long as the list.
    with reading(database) as connection:
        counts = (_count(connection, table) for table in ("simulation_steps", "agents"))
        rows = connection.execute(
            f"SELECT simulation_id, experiment_id, status, parameters, {', '.join(counts)}"
            " FROM simulations AS s WHERE simulation_id IN (SELECT value FROM json_each(:ids))"
            " ORDER BY simulation_id",
            {"ids": json.dumps(chosen_simulations(connection, where))},
        ).fetchall()
    names = ("simulation_id", "experiment_id", "status", "parameters", "steps", "agents")
    simulations = [dict(zip(names, row, strict=True)) for row in rows]
    return [
        {**simulation, "parameters": parsed_parameters(simulation["parameters"])}
        for simulation in simulations
    ]


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
    from farm_merge.merge.ledger import summarize_ledger  # NumPy comes with it

    path = Path(database)
    with reading_rows(path) as db:
        rows = {table: db.table(table).count for table in table_names(db.conn)}
        experiments = {
            row.pop("experiment_id"): row
            for row in db.query(
                "SELECT experiment_id, name, (SELECT count(*) FROM simulations AS s"
                " WHERE s.experiment_id = e.experiment_id) AS simulations"
                " FROM experiments AS e ORDER BY 1"
            )
        }
        statuses = db.execute(
            "SELECT coalesce(status, 'unknown'), count(*) FROM simulations GROUP BY 1 ORDER BY 1"
        )
        facts = {
            "path": str(path),
            "size_bytes": path.stat().st_size,
            "free_bytes": _pragma(db.conn, "freelist_count") * _pragma(db.conn, "page_size"),
            "tables": {},
            "experiments": experiments,
            "statuses": dict(statuses.fetchall()),
            "ledger": summarize_ledger(db.conn),
            "problems": list(_problems(db.conn)) if check else [],
        }
    sizes = table_sizes(path) if check else {}
    facts["tables"] = {
        table: {"rows": number, "size_bytes": sizes.get(table)} for table, number in rows.items()
    }
    return facts


def shortened(text: str, limit: int = 60) -> str:
    """Return a text of no more than so many characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _count(connection: sqlite3.Connection, table: str) -> str:
    """Return SQL that counts the rows of a simulation, where the database has that table."""
    if "simulation_id" not in column_types(connection, table):
        return "NULL"
    return f"(SELECT count(*) FROM {table} AS t WHERE t.simulation_id = s.simulation_id)"


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _problems(connection: sqlite3.Connection) -> Iterator[str]:
    verdicts = [text for (text,) in connection.execute("PRAGMA quick_check")]
    if verdicts != ["ok"]:
        yield from verdicts
    unmatched = Counter(
        (table, parent) for table, _, parent, _ in connection.execute("PRAGMA foreign_key_check")
    )
    for (table, parent), rows in unmatched.items():
        yield f"{rows:,} rows of {table} refer to rows that {parent} does not have"
