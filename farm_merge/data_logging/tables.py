"""Tables: what a model logs beyond the schema, in tables made from the types of its values.

A table is made when its first rows are written, and gains columns as they come. A column whose
values turn out to be of another type is stored anew: no value is changed to fit the first rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from farm_merge.data_logging.records import as_value, insert_statement
from farm_merge.errors import InvalidRecordError
from farm_merge.merge.tables.definition import (
    ROW_NUMBER,
    SIMULATION_ID,
    ColumnDefinition,
    TableDefinition,
    folded,
)
from farm_merge.merge.tables.structure import read_structure
from farm_merge.schema import OUR_TABLES
from farm_merge.sqlite import quoted, sqlite3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["ModelTables"]

_KINDS = {
    bool: "BOOLEAN",
    int: "INTEGER",
    float: "REAL",
    str: "TEXT",
    bytes: "BLOB",
    type(None): "",
}
_LARGEST = 2**63 - 1
_EXACT = 2**53
"""Up to here, a float holds every integer."""

_TYPES = (
    ({"BOOLEAN"}, "BOOLEAN"),
    ({"BOOLEAN", "INTEGER", "LONG"}, "INTEGER"),
    ({"BOOLEAN", "INTEGER", "REAL"}, "REAL"),
    ({"TEXT"}, "TEXT"),
    ({"BLOB"}, "BLOB"),
)
"""The types of columns that store values of these kinds as they are."""

_ANEW = "farm_merge_anew"


@dataclass(slots=True)
class _Table:
    """A table, and its rows that wait to be written.

    Attributes:
        name: The table.
        key: The columns of its key, after `simulation_id`; empty where its rows are numbered.
        number: The column that numbers them then.
        columns: The columns that rows have, by lower-case name.
        kinds: The kinds of values that wait, by column.
        rows: The values that wait, in the order of the columns; rows from before a column came are
            shorter.
        numbered: How many rows have a number; None until that is known.
    """

    name: str
    key: tuple[str, ...]
    number: str = ROW_NUMBER
    columns: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, set[str]] = field(default_factory=dict)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    numbered: int | None = None

    @property
    def definition(self) -> TableDefinition:
        """The table that holds the rows that wait."""
        columns = [
            ColumnDefinition(column, _type_of(self.kinds[column]))
            for column in self.columns.values()
        ]
        if not self.key:
            columns.insert(0, ColumnDefinition(self.number, "INTEGER"))
        key = tuple(map(quoted, self.key or (self.number,)))
        return TableDefinition(self.name, tuple(columns), key, merged=True)


class ModelTables:
    """The tables that a model makes up; rows wait until they are written with all others.

    Args:
        connect: Returns where to write.
        simulation_id: The simulation that all rows belong to.
    """

    def __init__(self, connect: Callable[[], sqlite3.Connection], simulation_id: str) -> None:
        self._connect = connect
        self._simulation_id = simulation_id
        self._tables: dict[str, _Table] = {}
        self._stored: Mapping[str, TableDefinition] = {}
        self._version: int | None = None
        self._refused: list[Exception] = []

    @property
    def names(self) -> list[str]:
        """The tables that were logged to."""
        return [table.name for table in self._tables.values()]

    def add(
        self, name: str, columns: Mapping[str, Sequence[Any]], key: Sequence[str], number: int
    ) -> None:
        """Hold rows.

        Args:
            name: The table.
            columns: The values of each column.
            key: The columns that tell the rows of a simulation apart; empty where none do, or the
                table is known.
            number: How many rows there are.

        Raises:
            InvalidRecordError: If a name or a value does not fit; nothing of it is held.
        """
        table = self._tables.get(folded(name)) or self._new(name, key, columns)
        if key and tuple(key) != table.key:
            is_keyed = ", ".join(table.key) or "the number of a row"
            raise InvalidRecordError(f"table {name}: its key is {is_keyed}, not {', '.join(key)}")
        for column in columns:
            _require_name(table, column)
        for column in table.key:
            if None in columns.get(column, (None,)):
                raise InvalidRecordError(f"table {name}: a row lacks its key, {column}")
        plain = {column: _plain(column, values) for column, values in columns.items()}
        self._tables[folded(name)] = table
        for column, (_, kinds) in plain.items():
            table.columns.setdefault(folded(column), column)
            table.kinds.setdefault(column, set()).update(kinds)
        ordered = [
            plain[column][0] if column in plain else (None,) * number
            for column in table.columns.values()
        ]
        table.rows += zip(*ordered, strict=True)

    def write(self, connection: sqlite3.Connection) -> None:
        """Write what is held, in the caller's transaction.

        Raises:
            sqlite3.Error: If SQLite cannot; everything is still held then.
        """
        self._refused.clear()
        try:
            for table in self._tables.values():
                if table.rows:
                    self._prepare(connection, table)
                    self._insert(connection, table)
        except BaseException:
            self._version = None  # what was made is rolled back
            raise

    def clear(self) -> list[Exception]:
        """Forget what was written; return why SQLite refused rows, once for each."""
        for table in self._tables.values():
            if table.numbered is not None:
                table.numbered += len(table.rows)
            table.rows.clear()
            for kinds in table.kinds.values():
                kinds.clear()
        return self._refused

    def _new(self, name: str, key: Sequence[str], columns: Iterable[str]) -> _Table:
        """Return a table without rows, as it is stored already, or will be.

        Raises:
            InvalidRecordError: If there can be no such table.
        """
        if not isinstance(name, str) or not name or folded(name).startswith("sqlite_"):
            raise InvalidRecordError(f"{name!r} cannot be the name of a table")
        if folded(name) in OUR_TABLES:
            raise InvalidRecordError(
                f"table {name} is one of the schema's own, with methods of its own"
            )
        stored = self._read(self._connect()).get(folded(name))
        if stored is None:
            taken = set(map(folded, columns))
            number = ROW_NUMBER
            while number in taken:
                number += "_"
            return _Table(name, tuple(key), number)
        if not stored.merged:
            raise InvalidRecordError(f"table {name} is there, and has no simulations")
        known = {
            folded(column.name): column.name
            for column in stored.columns
            if not (stored.is_numbered and column.name == stored.key_names[0])
        }
        kinds: dict[str, set[str]] = {column: set() for column in known.values()}
        if stored.is_numbered:
            return _Table(stored.name, (), stored.key_names[0], known, kinds)
        return _Table(stored.name, stored.key_names, columns=known, kinds=kinds)

    def _read(self, connection: sqlite3.Connection) -> Mapping[str, TableDefinition]:
        """Return the tables that are there; somebody else may have made or changed some."""
        (version,) = connection.execute("PRAGMA schema_version").fetchone()
        if self._version != version:
            self._stored = dict(read_structure(connection).tables)
            self._version = version
        return self._stored

    def _prepare(self, connection: sqlite3.Connection, table: _Table) -> None:
        """Make the table, or give it what it lacks."""
        have, want = self._read(connection).get(folded(table.name)), table.definition
        if have is None:
            connection.execute(want.create())
        elif have.key_names != want.key_names or not have.merged:
            raise sqlite3.OperationalError(f"table {have.name} was made with another key")
        else:
            _extend(connection, have, want, table.kinds)
        if not table.key and table.numbered is None:
            (last,) = connection.execute(
                f"SELECT max({quoted(table.number)}) FROM {quoted(table.name)}"
                " WHERE simulation_id = ?",
                (self._simulation_id,),
            ).fetchone()
            table.numbered = last or 0

    def _insert(self, connection: sqlite3.Connection, table: _Table) -> None:
        columns, width = [*table.columns.values()], len(table.columns)
        rows: Iterable[tuple[Any, ...]] = table.rows
        if any(len(row) < width for row in table.rows):
            rows = [row + (None,) * (width - len(row)) for row in table.rows]
        led = (self._simulation_id,)
        if table.key:
            rows = [led + row for row in rows]
        else:
            columns = [table.number, *columns]
            first = (table.numbered or 0) + 1
            rows = [(*led, number, *row) for number, row in enumerate(rows, first)]
        insert = insert_statement(quoted(table.name), list(map(quoted, columns)))
        connection.execute("SAVEPOINT rows")
        try:
            connection.executemany(insert, rows)
        except sqlite3.IntegrityError:
            connection.execute("ROLLBACK TO rows")
            self._insert_singly(connection, insert, rows, table)
        connection.execute("RELEASE rows")

    def _insert_singly(
        self,
        connection: sqlite3.Connection,
        insert: str,
        rows: Iterable[tuple[Any, ...]],
        table: _Table,
    ) -> None:
        """Write rows one by one, but those whose key is there already."""
        for row in rows:
            try:
                connection.execute(insert, row)
            except sqlite3.IntegrityError:
                values = dict(zip(table.columns.values(), row[1:], strict=True))
                key = ", ".join(f"{column} {values[column]!r}" for column in table.key)
                self._refused.append(
                    InvalidRecordError(f"table {table.name}: a row is there with {key}")
                )


def _require_name(table: _Table, column: Any) -> None:
    """Refuse a column that cannot be.

    Raises:
        InvalidRecordError: If its name is none, or taken.
    """
    known = table.columns.get(folded(column), column) if isinstance(column, str) else None
    taken = {SIMULATION_ID, *(() if table.key else (table.number,))}
    if known != column or not column or folded(column) in taken:
        raise InvalidRecordError(f"table {table.name}: {column!r} cannot be a column of its own")


def _plain(name: str, values: Sequence[Any]) -> tuple[Sequence[Any], set[str]]:
    """Return values as SQLite stores them, and their kinds.

    Raises:
        InvalidRecordError: If one cannot be stored.
    """
    types = set(map(type, values))
    if not types <= _KINDS.keys():
        values = [as_value(value) for value in values]
        types = set(map(type, values))
    kinds = {_KINDS[kind] for kind in types if kind is not type(None)}
    if int in types:
        numbers = [value for value in values if type(value) is int]
        extent = max(*numbers, -1 - min(numbers))
        if extent > _LARGEST:
            raise InvalidRecordError(f"column {name}: {extent} has more than 64 bits")
        if extent > _EXACT:
            kinds.add("LONG")
    if str in types:
        try:
            "".join(value for value in values if type(value) is str).encode()
        except UnicodeEncodeError as exc:
            raise InvalidRecordError(f"column {name}: a text is no Unicode ({exc})") from exc
    return values, kinds


def _type_of(kinds: set[str]) -> str:
    """Return the type of a column that stores values of all these kinds as they are."""
    return next((name for stored, name in _TYPES if kinds and kinds <= stored), "")


def _extend(
    connection: sqlite3.Connection,
    have: TableDefinition,
    want: TableDefinition,
    kinds: Mapping[str, set[str]],
) -> None:
    """Give a table the columns that it lacks, and types that store new values as they are."""
    known = {folded(name): found for name, found in kinds.items()}
    columns = tuple(
        replace(column, declared_type=_wider(connection, have, column, known[folded(column.name)]))
        if known.get(folded(column.name))
        else column
        for column in have.columns
    )
    if columns != have.columns:
        _store_anew(connection, replace(have, columns=columns))
    for column in want.columns:
        if not have.column(column.name):
            connection.execute(f"ALTER TABLE {quoted(have.name)} ADD COLUMN {column}")


def _wider(
    connection: sqlite3.Connection, table: TableDefinition, column: ColumnDefinition, new: set[str]
) -> str:
    """Return the type of a column that holds values already, and gets others."""
    declared = column.declared_type

    def holds(condition: str) -> bool:
        sql = f"SELECT EXISTS (SELECT 1 FROM {quoted(table.name)} WHERE {condition})"
        return bool(connection.execute(sql).fetchone()[0])

    name = quoted(column.name)
    if not declared:
        return "" if holds(f"{name} IS NOT NULL") else _type_of(new)
    if declared not in _KINDS.values() or _type_of({declared} | new) == declared:
        return declared
    is_long = declared == "INTEGER" and holds(f"{name} NOT BETWEEN -{_EXACT} AND {_EXACT}")
    return _type_of({declared, *new, *(["LONG"] if is_long else [])})


def _store_anew(connection: sqlite3.Connection, table: TableDefinition) -> None:
    """Store a table with other types, and with its indexes."""
    name = quoted(table.name)
    indexes = connection.execute(
        "SELECT sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL",
        (table.name,),
    ).fetchall()
    connection.execute(replace(table, name=_ANEW).create())
    columns = ", ".join(map(quoted, (SIMULATION_ID, *(column.name for column in table.stored))))
    connection.execute(f"INSERT INTO {_ANEW} ({columns}) SELECT {columns} FROM {name}")
    connection.execute(f"DROP TABLE {name}")
    connection.execute(f"ALTER TABLE {_ANEW} RENAME TO {name}")
    for (sql,) in indexes:
        connection.execute(sql)
