"""Changes: a database gets the tables, columns and indexes of another.

What only loosens a table (a constraint or a type that goes) does not change what is stored, so its
text in `sqlite_schema` is replaced, as section 7 of https://www.sqlite.org/lang_altertable.html
describes. But for the numbers of a REAL column: 1.0 is stored there as the integer 1, to save
space, and is 1.0 only as long as the column is REAL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm_merge.merge.tables.definition import affinity
from farm_merge.merge.tables.structure import today
from farm_merge.schema import ddl_of
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from farm_merge.merge.tables.definition import TableDefinition
    from farm_merge.merge.tables.structure import Structure
    from farm_merge.sqlite import sqlite3

__all__ = ["change", "index_changes", "redefinitions", "table_changes"]


def change(connection: sqlite3.Connection, have: Structure, want: Structure) -> None:
    """Give a database the tables, columns and indexes of another, in the caller's transaction.

    Args:
        connection: The database.
        have: What it has.
        want: What it is to have.
    """
    loosened = {definition.folded_name: definition for definition in redefinitions(have, want)}
    if loosened:
        _redefine(connection, loosened.values())
        for table, definition in loosened.items():
            _keep_reals(connection, have.tables[table], definition)
    others = [table for table in want.tables if table not in loosened]
    for statement in (
        *_dropped_indexes(have, want),  # first, since a new table may have the name of one
        *table_changes(have, want, others),
        *index_changes(have, want),
    ):
        connection.execute(statement)


def table_changes(
    have: Structure, want: Structure, tables: Iterable[str] | None = None
) -> Iterator[str]:
    """Yield the statements that give a database the tables and columns that it lacks.

    Args:
        have: What it has.
        want: What it is to have.
        tables: Which tables, by lower-case name; all by default.
    """
    for table in want.tables if tables is None else tables:
        definition, present = want.tables[table], have.tables.get(table)
        if present is None:
            ours = today().tables.get(table)
            if ours is None or not definition.extends(ours):
                yield definition.create()
                continue
            yield ddl_of(table)
            present = ours
        for column in definition.columns:
            if not present.column(column.name):
                yield f"ALTER TABLE main.{quoted(present.name)} ADD COLUMN {column}"


def index_changes(
    have: Structure, want: Structure, tables: Iterable[str] | None = None
) -> Iterator[str]:
    """Yield the statements that give a database the indexes that it lacks.

    Args:
        have: What it has.
        want: What it is to have.
        tables: Of which tables, by lower-case name; all by default.
    """
    for table in want.indexes if tables is None else tables:
        present = have.indexes.get(table, ())
        yield from (it.create() for it in want.indexes.get(table, ()) if it not in present)


def _dropped_indexes(have: Structure, want: Structure) -> Iterator[str]:
    """Yield the statements that take away the indexes that another database does not have."""
    for table, wanted in want.indexes.items():
        for index in have.indexes.get(table, ()):
            if index not in wanted:
                yield f"DROP INDEX main.{quoted(index.name)}"


def redefinitions(have: Structure, want: Structure) -> Iterator[TableDefinition]:
    """Yield the tables of a database that are to be declared otherwise, with all their columns."""
    for table, definition in want.tables.items():
        present = have.tables.get(table)
        if present is None:
            continue
        kept = definition.columns[: len(present.columns)]
        rest = (present.uniques, present.foreign_keys, present.checks, present.strict)
        if present.columns != kept or rest != (
            definition.uniques, definition.foreign_keys, definition.checks, definition.strict,
        ):  # fmt: skip
            yield definition


def _redefine(connection: sqlite3.Connection, definitions: Iterable[TableDefinition]) -> None:
    (version,) = connection.execute("PRAGMA main.schema_version").fetchone()
    connection.execute("PRAGMA writable_schema=ON")
    try:
        connection.executemany(
            "UPDATE main.sqlite_schema SET sql = ? WHERE type = 'table' AND name = ?",
            [(definition.create(), definition.name) for definition in definitions],
        )
        connection.execute(f"PRAGMA main.schema_version = {version + 1}")
    finally:
        connection.execute("PRAGMA writable_schema=RESET")


def _keep_reals(
    connection: sqlite3.Connection, before: TableDefinition, after: TableDefinition
) -> None:
    """Store the whole numbers of columns that were REAL as what they are."""
    for was, is_ in zip(before.columns, after.columns, strict=False):
        if is_.generated or affinity(was.declared_type) != "REAL":
            continue
        if affinity(is_.declared_type) != "REAL":
            column = quoted(is_.name)
            connection.execute(
                f"UPDATE main.{quoted(after.name)} SET {column} = CAST({column} AS REAL)"
                f" WHERE typeof({column}) = 'integer'"
            )
