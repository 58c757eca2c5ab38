"""SQLite: which driver is used, how databases are opened, and how transactions end.

pysqlite3 brings a current SQLite where it has wheels; Python's own module serves elsewhere. Two
copies of the SQLite library in one process would drop each other's POSIX locks, so everything in
this package, SQLAlchemy and sqlite-utils included, uses the driver chosen here.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator
    from os import PathLike
else:
    try:
        import pysqlite3.dbapi2 as sqlite3
    except ImportError:
        import sqlite3

__all__ = [
    "BUSY_TIMEOUT_SECONDS",
    "COMPANION_SUFFIXES",
    "add_collations",
    "attached",
    "column_types",
    "connect",
    "file_uri",
    "make_disposable",
    "quoted",
    "sqlite3",
    "storable",
    "table_names",
    "transaction",
]

COMPANION_SUFFIXES = ("-wal", "-shm", "-journal")
"""The files that SQLite itself keeps beside a database."""

BUSY_TIMEOUT_SECONDS = 60

# READWRITE, CREATE and NOMUTEX (https://www.sqlite.org/c3ref/open.html): Python keeps threads
# apart, and to lock for every value is a seventh of the time of fetching. Only pysqlite3 can tell.
_UNSHARED: dict[str, Any] = {"flags": 0x8006} if sqlite3.__name__.startswith("pysqlite3") else {}


def file_uri(path: str | PathLike[str], **parameters: str | int) -> str:
    """Return the `file:` URI of a database, percent-encoded, so that any path can be opened.

    Args:
        path: The file, absolute or relative to the working directory.
        parameters: URI parameters such as `mode="ro"` or `immutable=1`
            (https://www.sqlite.org/uri.html).
    """
    # fsencode keeps file names that are not valid UTF-8.
    encoded = quote(os.fsencode(os.path.abspath(path)))  # noqa: PTH100  (no symlink is resolved)
    query = "&".join(f"{name}={quote(str(value))}" for name, value in parameters.items())
    return f"file:{encoded}?{query}" if query else f"file:{encoded}"


def storable(path: str | PathLike[str]) -> str:
    """Return a path, or a part of one, as text that can be stored; bytes not UTF-8 are escaped."""
    return os.fsencode(path).decode(errors="backslashreplace")


@lru_cache(maxsize=4096)
def quoted(name: str) -> str:
    """Return an identifier in quotes, as sqlite-utils does; importing that costs 0.3 seconds."""
    return '"{}"'.format(name.replace('"', '""'))


def connect(
    uri: str = ":memory:", *, timeout: float | None = None, read_only: bool = False
) -> sqlite3.Connection:
    """Open a database, or several by ATTACH, none of which is trusted: what they hold is data.

    Args:
        uri: The database.
        timeout: Seconds to wait for another process that writes it; a minute by default.
        read_only: Whether statements that write are refused.
    """
    patience = BUSY_TIMEOUT_SECONDS if timeout is None else timeout
    connection: sqlite3.Connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, timeout=patience, **(_UNSHARED if read_only else {})
    )
    # CHECK expressions of a file are data too: neither a check of its health nor a copy runs them.
    for pragma in (
        "trusted_schema=OFF",
        "cell_size_check=ON",
        "mmap_size=0",
        "ignore_check_constraints=ON",
        *(["query_only=ON"] if read_only else []),
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def add_collations(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    """Let tables be read whose text a program ordered in its own way: it is ordered by its bytes.

    SQLite does not prepare a statement about an index with a collation that it does not have.
    """
    for name in names:
        connection.create_collation(name, _by_bytes)


def _by_bytes(left: str, right: str) -> int:
    mine, theirs = left.encode(errors="surrogatepass"), right.encode(errors="surrogatepass")
    return (mine > theirs) - (mine < theirs)


def make_disposable(connection: sqlite3.Connection) -> None:
    """Let `main` be written as fast as can be: nobody else has it open, or would miss it."""
    # `main` alone: a database in WAL mode that is attached to be read cannot be locked so.
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
        connection.execute(f"PRAGMA main.{pragma}")


@contextmanager
def attached(connection: sqlite3.Connection, uri: str, schema: str) -> Iterator[None]:
    """Attach a database; one at a time, so SQLite's limit of ten is never met."""
    connection.execute(f"ATTACH DATABASE ? AS {schema}", (uri,))
    try:
        yield
    except BaseException:
        with suppress(sqlite3.Error):  # in a transaction that failed it would hide what failed
            connection.execute(f"DETACH DATABASE {schema}")
        raise
    connection.execute(f"DETACH DATABASE {schema}")


@contextmanager
def transaction(
    connection: sqlite3.Connection, mode: Literal["DEFERRED", "IMMEDIATE", "EXCLUSIVE"] = "DEFERRED"
) -> Iterator[None]:
    """Commit what the block does, or nothing of it."""
    connection.execute(f"BEGIN {mode}")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # SQLite may have rolled it back; the first error counts
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        raise


def table_names(connection: sqlite3.Connection, schema: str = "main") -> list[str]:
    """Return the tables of a database, in order, but SQLite's own."""
    rows = connection.execute(
        f"SELECT name FROM {schema}.sqlite_schema WHERE type = 'table'"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    )
    return [name for (name,) in rows]


def column_types(
    connection: sqlite3.Connection, table: str, schema: str = "main"
) -> dict[str, str]:
    """Return the columns of a table with their declared types, computed ones among them."""
    rows = connection.execute(f"PRAGMA {schema}.table_xinfo({quoted(table)})")
    return {name: declared for _, name, declared, *_ in rows}
