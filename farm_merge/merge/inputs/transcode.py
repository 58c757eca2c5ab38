"""Transcode: a database whose text is UTF-16 becomes the same database in UTF-8."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from farm_merge.merge.tables.cost import is_affordable
from farm_merge.merge.tables.definition import folded
from farm_merge.merge.tables.structure import read_structure
from farm_merge.sqlite import add_collations, file_uri, quoted, sqlite3

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["ExactText", "insert_exactly", "transcode"]

_BATCH_ROWS = 1000


class ExactText(bytes):
    """The bytes of a TEXT value, and not those of a BLOB: a connection's `text_factory`."""


def transcode(uri: str, twin: Path) -> None:
    """Copy a database table by table into a new one in UTF-8.

    Args:
        uri: The database.
        twin: Where the new one is made.

    Raises:
        sqlite3.DatabaseError: If the database cannot be read, or is damaged.
    """
    with (
        closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as old,
        closing(sqlite3.connect(file_uri(twin), uri=True, isolation_level=None)) as new,
    ):
        structure = read_structure(old)
        if not is_affordable(structure):
            raise sqlite3.DatabaseError("text in UTF-16, and expressions that may take long")
        for connection in (old, new):
            connection.execute("PRAGMA trusted_schema=OFF")
            connection.execute("PRAGMA ignore_check_constraints=ON")
            add_collations(connection, structure.collations)
        new.execute("PRAGMA journal_mode=OFF")
        for table in structure.tables.values():  # of all, it would run the modules of the others
            (verdict,) = old.execute(f"PRAGMA quick_check({quoted(table.name)})").fetchone()
            if verdict != "ok":
                raise sqlite3.DatabaseError(f"damaged: {verdict}")
        schema = old.execute(
            "SELECT type, name, tbl_name, sql, rootpage FROM sqlite_schema WHERE sql IS NOT NULL"
            " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        ).fetchall()
        old.text_factory = ExactText
        new.set_authorizer(_refuse_modules)
        new.execute("BEGIN")
        for pragma in ("application_id", "user_version"):
            (value,) = old.execute(f"PRAGMA {pragma}").fetchone()
            new.execute(f"PRAGMA {pragma} = {value}")
        rest = []
        for kind, name, table, sql, root in schema:
            if kind == "table" and root:
                new.execute(sql)
                _copy(old, new, name)
            else:
                rest.append((kind, name, table, sql))
        _enter(new, rest)
        new.execute("COMMIT")


def _refuse_modules(action: int, *_: object) -> int:
    """Let no statement of a file make a virtual table, however it is written."""
    is_module = action == sqlite3.SQLITE_CREATE_VTABLE
    return sqlite3.SQLITE_DENY if is_module else sqlite3.SQLITE_OK


def _copy(old: sqlite3.Connection, new: sqlite3.Connection, table: str) -> None:
    columns_of = new.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
    names = [name for _, name, *_, hidden in columns_of if not hidden]
    columns = ", ".join(map(quoted, names))
    rows = old.execute(f"SELECT {columns} FROM {quoted(table)} {_order(new, table, names)}")
    while batch := rows.fetchmany(_BATCH_ROWS):
        insert_exactly(new, table, names, batch)


def insert_exactly(
    connection: sqlite3.Connection, table: str, names: Sequence[str], rows: Iterable[Sequence[Any]]
) -> None:
    """Insert rows that were read with `ExactText`, bit for bit."""
    insert = f"INSERT INTO {quoted(table)} ({', '.join(map(quoted, names))}) VALUES "
    decoded = [_decoded(row) for row in rows]
    if not any(isinstance(value, ExactText) for values in decoded for value in values):
        connection.executemany(f"{insert}({', '.join('?' * len(names))})", decoded)
        return
    for values in decoded:
        # Text that is no valid UTF-8 is bound as bytes, and made text by SQLite.
        marks = ("CAST(? AS TEXT)" if isinstance(value, ExactText) else "?" for value in values)
        connection.execute(f"{insert}({', '.join(marks)})", values)


def _order(new: sqlite3.Connection, table: str, names: list[str]) -> str:
    """Keep the order of rowids, which numbers the rows of tables without a key."""
    taken = {folded(name) for name in names}
    without_rowid = new.execute(
        "SELECT wr FROM pragma_table_list WHERE schema = 'main' AND name = ?", (table,)
    ).fetchone()
    rowid = next((name for name in ("rowid", "_rowid_", "oid") if name not in taken), None)
    return f"ORDER BY {rowid}" if rowid and without_rowid == (0,) else ""


def _decoded(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(_text(value) if isinstance(value, ExactText) else value for value in row)


def _text(value: ExactText) -> str | ExactText:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _enter(new: sqlite3.Connection, objects: list[tuple[str, str, str, str]]) -> None:
    """Write indexes, views, triggers and virtual tables into the schema, so that they are reported.

    They are not made: no module or expression of the file runs, and nothing is read through them.
    """
    real = [row for row in objects if row[0] == "index"]
    for _, _, _, sql in real:
        new.execute(sql)
    new.execute("PRAGMA writable_schema=ON")
    new.executemany(
        "INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES (?, ?, ?, 0, ?)",
        [row for row in objects if row[0] != "index"],
    )
    new.execute("PRAGMA writable_schema=OFF")
