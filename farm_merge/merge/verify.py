"""Verify: is what stands in the output what stood in the shard?"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from sqlite_utils.db import quote_identifier

from farm_merge.errors import OutputError
from farm_merge.schema import CLOCK_COLUMNS, DATA_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from farm_merge.driver import sqlite3
    from farm_merge.merge.inspect import Column, Structure

__all__ = ["require_counts", "require_health", "same_content"]


def require_counts(
    connection: sqlite3.Connection, simulation_id: str, expected: Mapping[str, int]
) -> None:
    """Check the number of rows that a simulation has in every data table of the output.

    Raises:
        OutputError: If a table holds more or fewer rows than its source.
    """
    for table in DATA_TABLES:
        (found,) = connection.execute(
            f"SELECT count(*) FROM main.{table} WHERE simulation_id = ?", (simulation_id,)
        ).fetchone()
        if found != expected.get(table, 0):
            raise OutputError(
                f"simulation {simulation_id!r}, table {table}: {expected.get(table, 0)} rows in"
                f" the shard, {found} in the output; nothing of it was kept. Please report this"
            )


def require_health(connection: sqlite3.Connection) -> None:
    """Let SQLite check the structure of the whole output.

    Raises:
        OutputError: If quick_check finds anything.
    """
    (verdict,) = connection.execute("PRAGMA main.quick_check(1)").fetchone()
    if verdict != "ok":
        raise OutputError(f"the merged database is damaged: {verdict}. Please report this")


def same_content(
    connection: sqlite3.Connection, simulation_id: str, left: Structure, right: Structure
) -> bool:
    """Compare a simulation in `main` with the one in `shard`, by value and type.

    Args:
        connection: A connection with both databases.
        simulation_id: The simulation to compare.
        left: The structure of `main`.
        right: The structure of `shard`.
    """
    return not any(
        _ask(connection, question, simulation_id)
        for table in DATA_TABLES
        for question in _differences(table, left[table], right[table])
    )


def _differences(
    table: str, left: Mapping[str, Column], right: Mapping[str, Column]
) -> Iterator[str]:
    """Yield questions in SQL; the rows are the same where the answer to each is no."""
    ignored = CLOCK_COLUMNS.get(table, frozenset())
    both = [column for name, column in left.items() if name in right and name not in ignored]
    # As many rows on both sides, and each row of one found in the other: then they are equal.
    yield (
        f"SELECT (SELECT count(*) FROM main.{table} WHERE simulation_id = :id)"
        f" <> (SELECT count(*) FROM shard.{table} WHERE simulation_id = :id)"
    )
    keys = [quote_identifier(column.name) for column in both if column.key]
    values = [quote_identifier(column.name) for column in both if not column.key]
    same_key = " AND ".join(f"r.{key} = l.{key}" for key in keys)
    differs = "".join(
        f" OR l.{value} IS NOT r.{value} OR typeof(l.{value}) <> typeof(r.{value})"
        for value in values
    )
    yield (
        f"SELECT EXISTS (SELECT 1 FROM main.{table} AS l LEFT JOIN shard.{table} AS r"
        f" ON {same_key} WHERE l.simulation_id = :id AND (r.simulation_id IS NULL{differs}))"
    )
    # A column that only one side has makes a difference where it says something.
    for schema, columns, others in (("main", left, right), ("shard", right, left)):
        for name in columns.keys() - others.keys():
            yield (
                f"SELECT EXISTS (SELECT 1 FROM {schema}.{table}"
                f" WHERE simulation_id = :id AND {quote_identifier(name)} IS NOT NULL)"
            )


def _ask(connection: sqlite3.Connection, question: str, simulation_id: str) -> bool:
    with closing(connection.execute(question, {"id": simulation_id})) as cursor:
        return bool(cursor.fetchone()[0])
