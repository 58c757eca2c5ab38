"""Opening: a database of today's schema is opened to be written, and made where there is none."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from farm_merge.errors import OutputError
from farm_merge.merge.tables.structure import is_ours, read_structure
from farm_merge.progress import silent
from farm_merge.publish import building, locked, new_output, settle, workshop
from farm_merge.schema import (
    DATA_TABLES,
    EXPERIMENT_MARK,
    SCHEMA_VERSION,
    SHARD_MARK,
    create_schema,
    is_current,
    lacking,
    mark_as_experiment,
)
from farm_merge.sqlite import connect, file_uri, sqlite3, transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike
    from pathlib import Path

    from sqlalchemy.orm import Session

    from farm_merge.config import DatabaseConfig

__all__ = ["close_database", "naming", "open_database", "open_session"]

_RETRY_SECONDS = 0.01


@contextmanager
def naming(path: str | PathLike[str]) -> Iterator[None]:
    """Let errors of SQLite and of the disk name the file that could not be written.

    Raises:
        OutputError: Instead of them.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as exc:
        raise OutputError(f"cannot be written ({exc})", path=path) from exc


def open_database(
    path: Path, settings: DatabaseConfig, *, experiment: bool = False
) -> sqlite3.Connection:
    """Open a database of today's schema for writing; make it where it does not exist.

    Safe from several processes at once: one of them makes it, the others wait for that; so does a
    simulation for a merge that makes the same experiment database.

    Args:
        path: The file; its folder is made.
        settings: How it is written.
        experiment: Whether it is an experiment database from now on.

    Raises:
        OutputError: If the file is something else or cannot be opened.
    """
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if experiment and not path.exists():
            _make_experiment(path)
        # The schema itself is not synced where nothing is. A file that is there is looked at first.
        is_free = not path.exists() and settings.pragmas()["journal_mode"] != "WAL"
        connection = connect(file_uri(path), timeout=settings.busy_timeout_ms / 1000)
        try:
            if is_free:
                _set_pragmas(connection, settings)
            _require_schema(path, connection, EXPERIMENT_MARK if experiment else SHARD_MARK)
            if experiment:
                mark_as_experiment(connection)
            if not is_free:
                _set_pragmas(connection, settings)
        except BaseException:
            connection.close()
            raise
    return connection


def close_database(connection: sqlite3.Connection) -> None:
    """Close a database and leave it as one file, unless others have it open."""
    with closing(connection):
        settle(connection)


def open_session(uri: str, prepare: Iterable[str] = ()) -> Session:
    """Open an SQLAlchemy session on a database, with the driver that everything uses.

    Args:
        uri: The database.
        prepare: Statements that every connection begins with.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session as OrmSession
    from sqlalchemy.pool import NullPool

    def connect_anew() -> sqlite3.Connection:
        # SQLAlchemy begins and ends transactions in the driver's own way, in whatever thread.
        connection = sqlite3.connect(uri, uri=True, timeout=60, check_same_thread=False)
        for statement in prepare:
            connection.execute(statement)
        return connection

    engine = create_engine("sqlite://", module=sqlite3, creator=connect_anew, poolclass=NullPool)
    return OrmSession(engine, expire_on_commit=False)  # what was read outlives its session


def _make_experiment(path: Path) -> None:
    """Make an experiment database as a merge does: under its lock, and nobody sees it half made."""
    with locked(path, silent), workshop(path) as folder:
        if path.exists():  # another process was faster
            return
        with new_output(path, folder) as partial, building(partial) as connection:
            create_schema(connection, mark=EXPERIMENT_MARK)


def _require_schema(path: Path, connection: sqlite3.Connection, mark: int) -> None:
    if is_current(connection):
        _complete(path, connection)
        return
    with transaction(connection, "IMMEDIATE"):
        if is_current(connection):  # another process was faster
            return
        if connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_schema)").fetchone() == (1,):
            raise OutputError(
                f"not a database of today's schema (version {SCHEMA_VERSION})",
                path=path,
                remedy=f"merge it into one: farm-merge {path} -o NEW.db",
            )
        create_schema(connection, mark=mark)


def _complete(path: Path, connection: sqlite3.Connection) -> None:
    """Make the tables that an experiment database of foreign runs alone does not have."""
    if not lacking(connection):
        return
    with transaction(connection, "IMMEDIATE"):
        structure = read_structure(connection)
        for table in DATA_TABLES:
            if table in structure.tables and not is_ours(structure, table):
                raise OutputError(
                    "has a table of that name from another model",
                    path=path,
                    table=table,
                    remedy="write simulations to a file of their own, and merge it",
                )
        for statement in lacking(connection):
            connection.execute(statement)


def _set_pragmas(connection: sqlite3.Connection, settings: DatabaseConfig) -> None:
    """Set the pragmas of a configuration, the journal mode first."""
    journal_mode, *others = settings.pragmas().items()
    deadline = time.monotonic() + settings.busy_timeout_ms / 1000
    while not _is_set(connection, *journal_mode):
        # Changing it needs the file for a moment, and does not wait for its turn by itself.
        if time.monotonic() > deadline:
            raise sqlite3.OperationalError("database is locked")
        time.sleep(_RETRY_SECONDS)
    for name, value in others:
        connection.execute(f"PRAGMA {name} = {value}")


def _is_set(connection: sqlite3.Connection, pragma: str, value: str | int) -> bool:
    try:
        connection.execute(f"PRAGMA {pragma} = {value}")
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return False
        raise
    return True
