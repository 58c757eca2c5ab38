"""Open: a database is read in a way in which nothing in it can change."""

from __future__ import annotations

from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.errors import ShardError
from farm_merge.read.where import selection
from farm_merge.schema import is_current
from farm_merge.sqlite import column_types, connect, file_uri, quoted, sqlite3, table_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from os import PathLike

    import pandas as pd
    from sqlite_utils import Database

    from farm_merge.merge.inputs.running import OpenFiles

__all__ = ["at_rest", "frame", "query", "reading", "reading_rows"]


@contextmanager
def reading(database: str | PathLike[str]) -> Iterator[sqlite3.Connection]:
    """Yield a connection that reads a shard or experiment database, and can do nothing else.

    Raises:
        ShardError: If the file is not a database of today's schema, or SQLite cannot read it.
    """
    path = Path(database)
    _roll_back(path)
    try:
        with closing(connect(file_uri(path, mode="ro"), read_only=True)) as connection:
            _require_current(path, connection)
            # ATTACH would make the file that it names.
            connection.set_authorizer(_refuse_attach)
            yield connection
    except sqlite3.DatabaseError as exc:
        raise ShardError(f"SQLite reports: {exc}", path=path) from exc


@contextmanager
def reading_rows(database: str | PathLike[str]) -> Iterator[Database]:
    """Yield what `reading` opens as a database of sqlite-utils: rows come as dictionaries.

    Raises:
        ShardError: As `reading` does.
    """
    from sqlite_utils import Database  # it imports pandas, which takes long

    with reading(database) as connection:
        yield Database(connection, execute_plugins=False)


@contextmanager
def at_rest(database: str | PathLike[str], folder: Path, open_files: OpenFiles) -> Iterator[Path]:
    """Yield a file with what is committed in a shard or experiment database, which stays as it is.

    Args:
        database: The database.
        folder: A private folder for a copy, if it is in use.
        open_files: What other processes have open.

    Raises:
        ShardError: As `reading` does, or if it changed meanwhile.
    """
    # With the merge, which a list and a query do not need, and which takes longer than they do.
    from farm_merge.merge.inputs import snapshot

    path = Path(database)
    with reading(path):
        pass  # it is one of ours, and nothing in it is half done
    with snapshot.at_rest(path, folder, open_files) as place:
        yield place


@contextmanager
def query(
    database: str | PathLike[str], sql: str, parameters: Mapping[str, object] | None = None
) -> Iterator[tuple[list[str], Iterator[tuple[Any, ...]]]]:
    """Yield the columns and the rows of a statement that reads; rows come as they are found.

    Args:
        database: A shard or experiment database.
        sql: One statement.
        parameters: Values for its `:names`.

    Raises:
        ShardError: If the database or the statement is wrong, or the statement writes.
    """
    with reading(database) as connection:
        try:
            cursor = connection.execute(sql, dict(parameters or {}))
        except (sqlite3.ProgrammingError, sqlite3.Warning) as exc:
            raise ShardError(f"SQLite reports: {exc}", path=database) from exc
        yield [name for name, *_ in cursor.description or ()], iter(cursor)


def frame(
    database: str | PathLike[str],
    table: str,
    simulation_id: str | Iterable[str] | None = None,
    steps: range | None = None,
) -> pd.DataFrame:
    """Return rows of a table as a pandas frame, in the order of its key.

    Args:
        database: A shard or experiment database.
        table: Its name.
        simulation_id: One simulation or several; None for all.
        steps: A range of steps, where the table has them; None for all.

    Raises:
        ShardError: If the database has no such table, or cannot be read.
    """
    import pandas as pd

    with reading(database) as connection:
        tables = table_names(connection)
        if table not in tables:
            raise ShardError(f"has no table {table}; it has {', '.join(tables)}", path=database)
        columns = list(column_types(connection, table))
        chosen = [simulation_id] if isinstance(simulation_id, str) else simulation_id
        where, values = selection(connection, table, chosen, steps)
        cursor = connection.execute(f"SELECT * FROM {quoted(table)}{where}", values)
        return pd.DataFrame(cursor.fetchall(), columns=columns)


def _require_current(path: Path, connection: sqlite3.Connection) -> None:
    if is_current(connection):
        return
    if table_names(connection):
        raise ShardError("not a database of today's schema", path=path, remedy="merge it first")
    if not is_current(connection):  # it may have been made between the two looks
        raise ShardError(
            "has no tables: it is being made, or whoever made it was stopped",
            path=path,
            remedy="try again",
        )


def _roll_back(path: Path) -> None:
    """Let SQLite undo what a killed process left half done: to read the file is not enough for it.

    Raises:
        ShardError: If the file may not be written.
    """
    if not path.with_name(f"{path.name}-journal").exists():
        return
    try:
        with closing(connect(file_uri(path, mode="rw"), read_only=True)) as connection:
            is_current(connection)
    except sqlite3.OperationalError as exc:
        if "readonly" not in str(exc):
            return  # somebody is writing, or it is damaged; whoever reads it next reports that
        raise ShardError(
            "was being written by a process that was killed, and SQLite may not undo that here",
            path=path,
            remedy="make the file and its folder writable, or copy it with its -journal to where"
            " they are",
        ) from exc


def _refuse_attach(action: int, *_: object) -> int:
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK
