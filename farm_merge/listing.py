"""What is in an experiment database, at a glance."""

from __future__ import annotations

import json
import sqlite3 as standard_sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.reading import chosen_simulations, parsed_parameters, reading, table_names
from farm_merge.schema import LEDGER
from farm_merge.sqlite import file_uri, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from farm_merge.sqlite import sqlite3

__all__ = ["describe_database", "list_simulations", "shortened"]

_SIMULATIONS = """
SELECT simulation_id, experiment_id, status, parameters,
       (SELECT count(*) FROM simulation_steps AS t WHERE t.simulation_id = s.simulation_id),
       (SELECT count(*) FROM agents AS a WHERE a.simulation_id = s.simulation_id)
FROM simulations AS s
WHERE simulation_id IN (SELECT value FROM json_each(?))
ORDER BY simulation_id
"""


def list_simulations(
    database: str | PathLike[str], where: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """Return the simulations of a shard or experiment database, in the order of their ids.

    Args:
        database: The file.
        where: Conditions that all have to hold, as `reading.chosen_simulations` takes them.

    Returns:
        One dictionary a simulation: `simulation_id`, `experiment_id`, `status`, `parameters` (a
        dictionary), `steps` (steps that were logged) and `agents` (agents that ever lived).

    Raises:
        ShardError: If the file is not a database of today's schema.
        FarmMergeError: If a condition is none.
    """
    columns = ("simulation_id", "experiment_id", "status", "parameters", "steps", "agents")
    with reading(database) as connection:
        chosen = json.dumps(chosen_simulations(connection, where))
        rows = connection.execute(_SIMULATIONS, (chosen,)).fetchall()
    simulations = [dict(zip(columns, row, strict=True)) for row in rows]
    for simulation in simulations:
        simulation["parameters"] = parsed_parameters(simulation["parameters"])
    return simulations


def describe_database(database: str | PathLike[str], *, check: bool = True) -> dict[str, Any]:
    """Return how large a database is, what is in it, where that came from, and how it is.

    Args:
        database: A shard or experiment database.
        check: Whether SQLite checks the file, and how large its tables are; both read all of it.

    Returns:
        `path`, `size_bytes`, `free_bytes` (what a vacuum gives back), `tables` (by name: `rows`,
        and `size_bytes` with their indexes, None where the SQLite at hand cannot tell),
        `experiments` (by id: name and number of simulations), `statuses` (simulations by status),
        `ledger` (`files`, `first_merged` and `last_merged` in UTC, files by `schemas` and by
        `versions` of farm-merge, `choices` that were made), and `problems`, empty if SQLite finds
        the file in order.

    Raises:
        ShardError: If the file is not a database of today's schema.
    """
    path = Path(database)
    with reading(path) as connection:
        tables = table_names(connection)
        rows = {
            table: connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()[0]
            for table in tables
        }
        experiments = connection.execute(
            "SELECT experiment_id, name, (SELECT count(*) FROM simulations AS s"
            " WHERE s.experiment_id = e.experiment_id) FROM experiments AS e ORDER BY 1"
        ).fetchall()
        statuses = dict(
            connection.execute("SELECT status, count(*) FROM simulations GROUP BY 1 ORDER BY 1")
        )
        ledger = _ledger(connection)
        problems = list(_problems(connection)) if check else []
        (free,) = connection.execute("PRAGMA freelist_count").fetchone()
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
    sizes = _sizes(path) if check else None
    return {
        "path": str(path),
        "size_bytes": path.stat().st_size,
        "free_bytes": free * page_size,
        "tables": {
            table: {"rows": rows[table], "size_bytes": sizes.get(table) if sizes else None}
            for table in tables
        },
        "experiments": {
            each: {"name": name, "simulations": number} for each, name, number in experiments
        },
        "statuses": {status or "unknown": number for status, number in statuses.items()},
        "ledger": ledger,
        "problems": problems,
    }


def shortened(text: str, limit: int = 60) -> str:
    """Return a text of no more than so many characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _ledger(connection: sqlite3.Connection) -> dict[str, Any]:
    files, first, last = connection.execute(
        f"SELECT count(DISTINCT source_path), min(merged_at), max(merged_at) FROM {LEDGER}"
    ).fetchone()
    schemas = connection.execute(
        f"SELECT source_schema, count(*) FROM {LEDGER} GROUP BY 1 ORDER BY 1"
    )
    versions: Counter[str] = Counter()
    choices: Counter[str] = Counter()
    for software, chosen in connection.execute(f"SELECT software, choices FROM {LEDGER}"):
        versions[json.loads(software).get("farm-merge", "unknown")] += 1
        choices.update(json.loads(chosen))
    return {
        "files": files,
        "first_merged": first,
        "last_merged": last,
        "schemas": dict(schemas),
        "versions": dict(versions),
        "choices": dict(choices),
    }


def _problems(connection: sqlite3.Connection) -> Iterable[str]:
    verdicts = [text for (text,) in connection.execute("PRAGMA quick_check")]
    if verdicts != ["ok"]:
        yield from verdicts
    unmatched: Counter[tuple[str, str]] = Counter(
        (table, parent) for table, _, parent, _ in connection.execute("PRAGMA foreign_key_check")
    )
    for (table, parent), rows in unmatched.items():
        yield f"{rows:,} rows of {table} point at nothing in {parent}"


def _sizes(path: Path) -> dict[str, int] | None:
    """Return bytes by table, with its indexes.

    Only a SQLite with DBSTAT can tell, and pysqlite3's wheels lack it; so this asks Python's own,
    at a moment when this process has no other connection to the file.
    """
    uri = file_uri(path, mode="ro")
    try:
        with closing(standard_sqlite3.connect(uri, uri=True)) as connection:
            rows = connection.execute(
                "SELECT coalesce(o.tbl_name, d.name), sum(d.pgsize) FROM dbstat AS d"
                " LEFT JOIN sqlite_schema AS o ON o.name = d.name WHERE d.aggregate = TRUE"
                " GROUP BY 1"
            )
            return dict(rows.fetchall())
    except standard_sqlite3.DatabaseError:
        return None
