"""What tables a database has, read from its schema table once for every distinct schema."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from farm_merge.merge.tables.definition import (
    ColumnDefinition,
    IndexDefinition,
    TableDefinition,
    folded,
)
from farm_merge.merge.tables.parser import parse_index, parse_table
from farm_merge.merge.tables.tokens import unknown_collations
from farm_merge.merge.tables.virtual import parse_virtual_table
from farm_merge.schema import METADATA_TABLES, create_schema
from farm_merge.sqlite import connect, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm_merge.sqlite import sqlite3

__all__ = ["Structure", "is_ours", "read_structure", "registry", "today"]

_SchemaRow = tuple[str, str, str, str | None]


@dataclass(frozen=True, eq=False)
class Structure:
    """The tables, indexes and other objects of a database; one object for equal schemas.

    Attributes:
        tables: By lower-case name.
        indexes: By lower-case name of their table; only those that a CREATE INDEX made.
        views: Names of views and triggers, which hold no data.
        virtual: Names of virtual tables, and of the tables behind them.
        not_understood: Tables whose constraints, and indexes that, could not be read.
        collations: Collations that SQLite does not have: a program brought them along.
        source: What it was made of, so that another process can tell that it is the same.
    """

    tables: Mapping[str, TableDefinition]
    indexes: Mapping[str, tuple[IndexDefinition, ...]] = field(default_factory=dict)
    views: tuple[str, ...] = ()
    virtual: tuple[str, ...] = ()
    not_understood: tuple[str, ...] = ()
    collations: frozenset[str] = frozenset()
    source: tuple[tuple[_SchemaRow, ...], bool] | None = None

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Be one object for equal schemas also where it is sent to another process."""
        return super().__reduce__() if self.source is None else (_structure, self.source)

    @cached_property
    def content(self) -> Mapping[str, TableDefinition]:
        """The tables of a shard that simulations are made of; the others are about them."""
        return {
            table: definition
            for table, definition in self.tables.items()
            if definition.name not in METADATA_TABLES
        }


def read_structure(
    connection: sqlite3.Connection, schema: str = "main", *, merged_form: bool = True
) -> Structure:
    """Return what tables a database has.

    Args:
        connection: An open connection.
        schema: The name under which the database is attached.
        merged_form: Whether a key that `simulation_id` leads is a merge's, or the author's own.
    """
    rows = connection.execute(
        # Where it was damaged there may be bytes, which SQLite takes for text too.
        "SELECT CAST(type AS TEXT), CAST(name AS TEXT), coalesce(CAST(tbl_name AS TEXT), ''),"
        f" CAST(sql AS TEXT) FROM {schema}.sqlite_schema"
        " WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name"
    )
    return _structure(tuple(rows), merged_form)


@cache
def today() -> Structure:
    """Return the structure of today's schema."""
    with closing(connect()) as connection:
        create_schema(connection)
        return read_structure(connection)


@cache
def registry() -> Structure:
    """Return the structure of a database that has only the tables about simulations."""
    with closing(connect()) as connection:
        create_schema(connection, registry_only=True)
        return read_structure(connection)


def is_ours(structure: Structure, table: str) -> bool:
    """Return whether a database has a table of today's schema, and not another of its name."""
    found, expected = structure.tables.get(table), today().tables[table]
    return (
        found is not None
        and found.key_names == expected.key_names
        and found.merged == expected.merged
        and all(found.column(column.name) for column in expected.columns)
    )


@lru_cache(maxsize=256)
def _structure(rows: tuple[_SchemaRow, ...], merged_form: bool) -> Structure:
    """Make sense of the rows of `sqlite_schema`; thousands of shards share one answer."""
    virtual = {name: found for _, name, _, sql in rows if (found := parse_virtual_table(sql or ""))}
    shadows = {shadow for found in virtual.values() for shadow in found.shadows}
    behind = [name for kind, name, *_ in rows if kind == "table" and folded(name) in shadows]
    unseen = {folded(name) for name in (*virtual, *behind)}
    tables: dict[str, TableDefinition] = {}
    indexes: dict[str, tuple[IndexDefinition, ...]] = {}
    not_understood: list[str] = []
    for kind, name, table, sql in rows:
        if not sql or folded(table) in unseen:
            continue
        if kind == "table":
            tables[folded(name)], is_understood = _definition(name, sql, merged_form)
            if not is_understood:
                not_understood.append(f"the constraints of table {name}")
        elif kind == "index":
            try:
                index = parse_index(sql)
            except ValueError:
                not_understood.append(f"index {name}")
            else:
                indexes[folded(table)] = (*indexes.get(folded(table), ()), index)
    views = tuple(f"{kind} {name}" for kind, name, *_ in rows if kind in {"view", "trigger"})
    collations = frozenset(name for *_, sql in rows for name in unknown_collations(sql or ""))
    return Structure(
        tables,
        indexes,
        views,
        (*virtual, *behind),
        tuple(not_understood),
        collations,
        (rows, merged_form),
    )


class _Reader(threading.local):
    """Lets SQLite read CREATE TABLE statements, each as the only one of an empty database."""

    def __init__(self) -> None:
        self._connection = connect()
        self._connection.execute("CREATE TABLE stand_in (x)")

    def columns(self, name: str, sql: str) -> list[tuple[Any, ...]]:
        """Return what `PRAGMA table_xinfo` answers for a table."""
        # Put into the schema and not executed: functions that it calls may not exist here.
        self._connection.execute("PRAGMA writable_schema=ON")
        self._connection.execute(
            "UPDATE sqlite_schema SET name = :name, tbl_name = :name, sql = :sql",
            {"name": name, "sql": sql},
        )
        self._connection.execute("PRAGMA writable_schema=RESET")
        return self._connection.execute(f"PRAGMA table_xinfo({quoted(name)})").fetchall()


_reader = _Reader()


@lru_cache(maxsize=4096)
def _definition(name: str, sql: str, merged_form: bool) -> tuple[TableDefinition, bool]:
    """Read a CREATE TABLE statement; return the table, and whether SQLite understands it alike."""
    known = _reader.columns(name, sql)
    columns = {column: hidden in {2, 3} for _, column, _, _, _, _, hidden in known}
    key = [column for _, column, *_, place, _ in sorted(known, key=lambda row: row[5]) if place]
    try:
        parsed = parse_table(sql, merged_form=merged_form)
    except ValueError:
        parsed = TableDefinition(name, ())
    led = ["simulation_id"] if parsed.merged else []
    found = {column.name: column.generated for column in parsed.columns}
    if parsed.merged:
        columns.pop("simulation_id", None)
    if found == columns and list(map(folded, [*led, *parsed.key_names])) == list(map(folded, key)):
        return parsed, True
    # Carried with what SQLite itself knows about it.
    plain = TableDefinition(
        name,
        tuple(
            ColumnDefinition(column, declared_type)
            for _, column, declared_type, *_, hidden in known
            if not hidden
        ),
        tuple(map(quoted, key)),
    )
    return plain, False
