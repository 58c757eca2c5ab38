"""Verify: is what stands in the output what stood in the shard?"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from farm_merge.driver import quoted
from farm_merge.errors import OutputError
from farm_merge.merge.definition import folded
from farm_merge.schema import CLOCK_COLUMNS, DATA_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from farm_merge.driver import sqlite3
    from farm_merge.merge.definition import TableDefinition
    from farm_merge.merge.structure import Structure

__all__ = ["differences", "require_counts", "require_health", "require_same", "same_content"]


def require_counts(
    connection: sqlite3.Connection, simulation_id: str, expected: Mapping[str, int]
) -> None:
    """Check the number of rows that a simulation has in the tables of the output.

    Args:
        connection: The output.
        simulation_id: The simulation.
        expected: Rows by table.

    Raises:
        OutputError: If a table holds more or fewer rows than its source.
    """
    for table in {*DATA_TABLES, *expected}:
        (found,) = connection.execute(
            f"SELECT count(*) FROM main.{quoted(table)} WHERE simulation_id = ?", (simulation_id,)
        ).fetchone()
        if found != expected.get(table, 0):
            raise OutputError(
                f"simulation {simulation_id!r}, table {table}: {expected.get(table, 0)} rows in"
                f" the shard, {found} in the output; nothing of it was kept. Please report this"
            )


def require_same(
    connection: sqlite3.Connection, simulation_id: str, output: Structure, shard: Structure
) -> None:
    """Check that a simulation in `main` has the content of that in `shard`.

    Raises:
        OutputError: If a table differs in any value or type.
    """
    for table in differences(connection, simulation_id, output, shard):
        raise OutputError(
            f"simulation {simulation_id!r}, table {table}: the output differs from the shard;"
            " nothing of it was kept. Please report this"
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
    return next(differences(connection, simulation_id, left, right), None) is None


def differences(
    connection: sqlite3.Connection, simulation_id: str, left: Structure, right: Structure
) -> Iterator[str]:
    """Yield the tables in which a simulation in `main` differs from the one in `shard`.

    Args:
        connection: A connection with both databases.
        simulation_id: The simulation to compare.
        left: The structure of `main`.
        right: The structure of `shard`.
    """
    for table in dict.fromkeys((*left.content, *right.content)):
        questions = _differences(table, left.content.get(table), right.content.get(table))
        if any(_ask(connection, question, simulation_id) for question in questions):
            yield table


def _differences(
    table: str, left: TableDefinition | None, right: TableDefinition | None
) -> Iterator[str]:
    """Yield questions in SQL; the rows are the same where the answer to each is no."""
    name = quoted(table)
    if left is None or right is None:
        schema = "main" if left else "shard"
        yield f"SELECT EXISTS (SELECT 1 FROM {schema}.{name} WHERE simulation_id = :id)"
        return
    # As many rows on both sides, and each row of one found in the other: then they are equal.
    yield (
        f"SELECT (SELECT count(*) FROM main.{name} WHERE simulation_id = :id)"
        f" <> (SELECT count(*) FROM shard.{name} WHERE simulation_id = :id)"
    )
    keys = {folded(each) for each in left.key_names}
    ignored = CLOCK_COLUMNS.get(table, frozenset())
    columns = {folded(each.name): quoted(each.name) for each in left.stored}
    others = {folded(each.name): quoted(each.name) for each in right.stored}
    values = [
        quoted_name
        for column, quoted_name in columns.items()
        if column in others and column not in keys and column not in ignored
    ]
    same_key = " AND ".join(f"r.{columns[key]} = l.{columns[key]}" for key in keys)
    # A collation may call keys equal that are not.
    values += [columns[key] for key in keys]
    differs = "".join(
        f" OR l.{value} COLLATE BINARY IS NOT r.{value} OR typeof(l.{value}) <> typeof(r.{value})"
        for value in values
    )
    yield (
        f"SELECT EXISTS (SELECT 1 FROM main.{name} AS l LEFT JOIN shard.{name} AS r"
        f" ON r.simulation_id = l.simulation_id AND {same_key}"
        f" WHERE l.simulation_id = :id AND (r.simulation_id IS NULL{differs}))"
    )
    # A column that only one side has makes a difference where it says something.
    for schema, mine, theirs in (("main", columns, others), ("shard", others, columns)):
        for column in mine.keys() - theirs.keys():
            yield (
                f"SELECT EXISTS (SELECT 1 FROM {schema}.{name}"
                f" WHERE simulation_id = :id AND {mine[column]} IS NOT NULL)"
            )


def _ask(connection: sqlite3.Connection, question: str, simulation_id: str) -> bool:
    with closing(connection.execute(question, {"id": simulation_id})) as cursor:
        return bool(cursor.fetchone()[0])
