"""Open: a database is read in a way in which nothing in it can change."""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.errors import ShardError
from farm_merge.nearest import require_known, with_nearest
from farm_merge.publish import HALF_WRITTEN, HALF_WRITTEN_REMEDY
from farm_merge.read.where import selection, step_column
from farm_merge.schema import ddl, is_current
from farm_merge.sqlite import column_types, connect, file_uri, quoted, sqlite3, table_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from os import PathLike

    import pandas as pd
    from sqlite_utils import Database

    from farm_merge.merge.inputs.running import OpenFiles

__all__ = ["at_rest", "frame", "query", "reading", "reading_rows"]

_NO_SUCH = re.compile(r"no such (?P<kind>table|column): (?:\w+\.)*(?P<name>\w+)")


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
            _require_affordable(path, connection)
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
        ShardError: If the database or the statement is wrong, the statement writes or returns
            nothing, or parameters and values do not match; with the nearest name that there is.
    """
    values = _Values(parameters or {})
    with reading(database) as connection:
        try:
            cursor = connection.execute(sql, values)
        except (sqlite3.Error, sqlite3.Warning) as exc:
            raise ShardError(_explained(connection, values, exc), path=database) from exc
        if cursor.description is None:
            raise ShardError("the statement returns no rows", path=database)
        for name in values.keys() - set(values.asked):
            reason = with_nearest(f"the statement has no :{name}", name, values.asked)
            raise ShardError(reason, path=database)
        yield [name for name, *_ in cursor.description], iter(cursor)


class _Values(dict[str, object]):
    """Values for the parameters of a statement, which note those that it asks for."""

    def __init__(self, values: Mapping[str, object]) -> None:
        super().__init__(values)
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> object:
        self.asked.append(name)
        return super().__getitem__(name)


def _explained(
    connection: sqlite3.Connection, values: _Values, error: sqlite3.Error | sqlite3.Warning
) -> str:
    """Return what is wrong with a statement, with the nearest of the names that there are."""
    if lacking := [name for name in values.asked if name not in values]:
        (name,) = lacking
        reason = f"the statement has :{name}, and no value is given for it"
        return with_nearest(reason, name, values)
    reason = f"SQLite reports: {error}"
    found = _NO_SUCH.search(str(error))
    if found is None:
        return reason
    tables = table_names(connection)
    if found["kind"] == "table":
        return with_nearest(reason, found["name"], tables)
    columns = (name for table in tables for name in column_types(connection, table))
    return with_nearest(reason, found["name"], columns)


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
        steps: A range of steps, if the table has them; None for all.

    Raises:
        ShardError: If the database has no such table or simulation, the table has no such column,
            or the file cannot be read.
    """
    import pandas as pd

    chosen = [simulation_id] if isinstance(simulation_id, str) else simulation_id
    chosen = None if chosen is None else list(chosen)
    with reading(database) as connection:
        tables = table_names(connection)
        require_known("table", [table], tables, path=database, error=ShardError)
        columns = list(column_types(connection, table))
        if chosen is not None:
            _require_simulations(connection, chosen, database)
        if chosen is not None and "simulation_id" not in columns:
            raise ShardError("has no simulation_id to choose by", path=database, table=table)
        if steps is not None and step_column(connection, table) is None:
            raise ShardError("has no steps to choose from", path=database, table=table)
        where, values = selection(connection, table, chosen, steps)
        cursor = connection.execute(f"SELECT * FROM {quoted(table)}{where}", values)
        return pd.DataFrame(cursor.fetchall(), columns=columns)


def _require_simulations(
    connection: sqlite3.Connection, wanted: list[str], database: str | PathLike[str]
) -> None:
    rows = connection.execute("SELECT simulation_id FROM simulations ORDER BY simulation_id")
    there = [simulation_id for (simulation_id,) in rows]
    require_known("simulation", wanted, there, path=database, error=ShardError)


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
        raise ShardError(HALF_WRITTEN, path=path, remedy=HALF_WRITTEN_REMEDY) from exc


_COMPUTES = re.compile(
    r"GENERATED|\bAS\s*\(|\bWHERE\b|^CREATE (?:UNIQUE )?INDEX[^(]*\(.*\(", re.IGNORECASE | re.DOTALL
)
"""What a table or an index may have that computes something when it is read."""


def _require_affordable(path: Path, connection: sqlite3.Connection) -> None:
    """Refuse a database that is not as a merge writes it: to read it could take for ever.

    Raises:
        ShardError: If it has expressions that cost much.
    """
    known = {*ddl()}
    made = connection.execute("SELECT sql FROM sqlite_schema WHERE type IN ('table', 'index')")
    if not any(sql and sql not in known and _COMPUTES.search(sql) for (sql,) in made):
        return
    # With the merge, which a list and a query of any other database do not need.
    from farm_merge.merge.tables.cost import is_affordable
    from farm_merge.merge.tables.structure import read_structure

    if not is_affordable(read_structure(connection)):
        raise ShardError(
            "has computed columns or indexes that may take very long to read",
            path=path,
            remedy=f"merge it into one without: farm-merge {path} -o NEW.db",
        )


def _refuse_attach(action: int, *_: object) -> int:
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK
