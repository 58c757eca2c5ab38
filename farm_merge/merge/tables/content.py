"""Content: in which tables a simulation differs between two databases, by value and type."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from farm_merge.merge.tables.definition import folded
from farm_merge.merge.tables.tokens import first_name
from farm_merge.schema import CLOCK_COLUMNS
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from farm_merge.merge.tables.definition import TableDefinition
    from farm_merge.merge.tables.structure import Structure
    from farm_merge.sqlite import sqlite3

__all__ = ["common_keys", "differing_tables", "lacking_tables"]

_MOST_COMPARED = 200
"""Columns in one expression, which SQLite allows to be 1,000 deep."""


def differing_tables(
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
    keys = set(map(folded, left.key_names))
    ignored = CLOCK_COLUMNS.get(table, frozenset())
    columns = {folded(column.name): quoted(column.name) for column in left.stored}
    others = {folded(column.name): quoted(column.name) for column in right.stored}
    values = [
        quoted_name
        for column, quoted_name in columns.items()
        if column in others and column not in keys and column not in ignored
    ]
    same_key = " AND ".join(f"r.{columns[key]} = l.{columns[key]}" for key in keys)
    # A collation may call keys equal that are not.
    values += [columns[key] for key in keys]
    for some in _batches(values):
        differs = "".join(
            f" OR l.{value} COLLATE BINARY IS NOT r.{value}"
            f" OR typeof(l.{value}) <> typeof(r.{value})"
            for value in some
        )
        yield (
            f"SELECT EXISTS (SELECT 1 FROM main.{name} AS l LEFT JOIN shard.{name} AS r"
            f" ON r.simulation_id = l.simulation_id AND {same_key}"
            f" WHERE l.simulation_id = :id AND (r.simulation_id IS NULL{differs}))"
        )
    # A column that only one side has makes a difference where it holds something.
    for schema, mine, theirs in (("main", columns, others), ("shard", others, columns)):
        for column in mine.keys() - theirs.keys():
            yield (
                f"SELECT EXISTS (SELECT 1 FROM {schema}.{name}"
                f" WHERE simulation_id = :id AND {mine[column]} IS NOT NULL)"
            )


def lacking_tables(
    connection: sqlite3.Connection, simulation_id: str, left: Structure, right: Structure
) -> Iterator[str]:
    """Yield the tables in which a simulation in `main` lacks rows that it has in `shard`.

    For a simulation that was joined from several files: it has more rows than each of them, and
    those that are numbered have other numbers.

    Args:
        connection: A connection with both databases.
        simulation_id: The simulation to compare.
        left: The structure of `main`.
        right: The structure of `shard`.
    """
    for table, definition in right.content.items():
        question = _lacking(table, left.content.get(table), definition)
        if _ask(connection, question, simulation_id):
            yield table


def _lacking(table: str, left: TableDefinition | None, right: TableDefinition) -> str:
    """Return a question in SQL, the answer to which is no where every row is there as often."""
    name = quoted(table)
    if left is None:
        return f"SELECT EXISTS (SELECT 1 FROM shard.{name} WHERE simulation_id = :id)"
    numbers = map(folded, right.key_names if right.is_numbered else ())
    ignored = {*CLOCK_COLUMNS.get(table, ()), *numbers}
    present = {folded(column.name) for column in left.stored}
    columns = {folded(column.name): column.name for column in (*left.stored, *right.stored)}
    brought = {folded(column.name) for column in right.stored}

    def rows(schema: str, there: set[str]) -> str:
        values = [
            quoted(column) if key in there else "NULL"
            for key, column in columns.items()
            if key not in ignored
        ]
        types = (
            " || ',' || ".join(f"typeof({value})" for value in some) for some in _batches(values)
        )
        asked = ", ".join([*(f"{value} COLLATE BINARY" for value in values), *types])
        # Equal rows are counted one by one, since EXCEPT takes them for one.
        return (
            f"SELECT {asked}, row_number() OVER (PARTITION BY {asked})"
            f" FROM {schema}.{name} WHERE simulation_id = :id"
        )

    return f"SELECT EXISTS ({rows('shard', brought)} EXCEPT {rows('main', present)})"


def _batches(values: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(values), _MOST_COMPARED):
        yield values[start : start + _MOST_COMPARED]


def _ask(connection: sqlite3.Connection, question: str, simulation_id: str) -> bool:
    with closing(connection.execute(question, {"id": simulation_id})) as cursor:
        return bool(cursor.fetchone()[0])


def common_keys(
    connection: sqlite3.Connection, simulation_id: str, left: Structure, right: Structure
) -> Iterator[str]:
    """Yield the tables in which a simulation has a row of one key in `main` and in `shard`.

    Tables whose rows are numbered have no keys of their own.

    Args:
        connection: A connection with both databases.
        simulation_id: The simulation.
        left: The structure of `main`.
        right: The structure of `shard`.
    """
    for table, definition in right.content.items():
        if definition.is_numbered or table not in left.content:
            continue
        uniques = [index.terms for index in left.indexes.get(table, ()) if index.unique]
        keys = [definition.key, *left.content[table].uniques, *uniques]
        if any(_ask(connection, question, simulation_id) for question in _common(table, keys)):
            yield table


def _common(table: str, keys: Iterable[tuple[str, ...]]) -> Iterator[str]:
    name = quoted(table)
    for key in keys:
        same = " AND ".join(
            f"l.{quoted(column)} = r.{quoted(column)}" for column in map(first_name, key)
        )
        yield (
            f"SELECT EXISTS (SELECT 1 FROM main.{name} AS l JOIN shard.{name} AS r"
            f" ON r.simulation_id = l.simulation_id AND {same} WHERE l.simulation_id = :id)"
        )
