"""Reading an experiment database: it is opened so that nothing in it can change."""

from __future__ import annotations

import json
import re
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from farm_merge.errors import FarmMergeError, ShardError
from farm_merge.schema import is_current
from farm_merge.sqlite import file_uri, quoted, sqlite3

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from os import PathLike

    import pandas as pd

__all__ = [
    "chosen_simulations",
    "column_types",
    "frame",
    "parsed_parameters",
    "query",
    "reading",
    "selection",
    "table_names",
]

_BUSY_TIMEOUT_SECONDS = 60
_COMPARISON = re.compile(r"\s*([^<>=!~]+?)\s*(<=|>=|!=|==|=|<|>|~)\s*(.*?)\s*", re.DOTALL)
_REGISTRY_COLUMNS = frozenset({"simulation_id", "experiment_id", "status", "seed", "git_commit"})
_OPERATORS = {"==": "=", "=": "=", "!=": "IS NOT", "~": "LIKE"}


@contextmanager
def reading(database: str | PathLike[str]) -> Iterator[sqlite3.Connection]:
    """Yield a connection that reads a shard or experiment database, and can do nothing else.

    Raises:
        ShardError: If the file is not a database of today's schema, or SQLite cannot read it.
    """
    uri = file_uri(database, mode="ro")
    try:
        connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_SECONDS)
        with closing(connection):
            for pragma in ("trusted_schema=OFF", "query_only=ON"):
                connection.execute(f"PRAGMA {pragma}")
            if not is_current(connection):
                raise ShardError(f"{database}: not a database of today's schema; merge it first")
            # ATTACH would make the file that it names.
            connection.set_authorizer(_authorize)
            yield connection
    except sqlite3.DatabaseError as exc:
        raise ShardError(f"{database}: SQLite says: {exc}") from exc


def _authorize(action: int, *_: object) -> int:
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK


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
            raise ShardError(f"{database}: SQLite says: {exc}") from exc
        yield [name for name, *_ in cursor.description or ()], iter(cursor)


def table_names(connection: sqlite3.Connection) -> list[str]:
    """Return the tables of a database, in order, but SQLite's own."""
    rows = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table'"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    )
    return [name for (name,) in rows]


def column_types(connection: sqlite3.Connection, table: str) -> dict[str, str]:
    """Return the columns of a table with their declared types, computed ones among them."""
    told = connection.execute(f"PRAGMA table_xinfo({quoted(table)})")
    return {name: declared for _, name, declared, *_ in told}


def selection(
    columns: Sequence[str], simulations: Iterable[str] | None, steps: range | None
) -> tuple[str, dict[str, object]]:
    """Return a WHERE clause for simulations and steps, and the values it binds.

    Args:
        columns: Of the table; one without steps is taken whole.
        simulations: Their ids; None for all.
        steps: The steps; None for all. Its end is not among them, as in any range.
    """
    terms: list[str] = []
    values: dict[str, object] = {}
    if simulations is not None and "simulation_id" in columns:
        terms.append("simulation_id IN (SELECT value FROM json_each(:simulations))")
        values["simulations"] = json.dumps(list(simulations))
    if steps is not None and "step_number" in columns:
        terms.append("step_number >= :first AND step_number < :end")
        values |= {"first": steps.start, "end": steps.stop}
        if steps.step != 1:
            terms.append("(step_number - :first) % :stride = 0")
            values["stride"] = steps.step
    return (f" WHERE {' AND '.join(terms)}" if terms else ""), values


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
            raise ShardError(f"{database}: has no table {table}; it has {', '.join(tables)}")
        columns = list(column_types(connection, table))
        chosen = [simulation_id] if isinstance(simulation_id, str) else simulation_id
        where, values = selection(columns, chosen, steps)
        cursor = connection.execute(f"SELECT * FROM {quoted(table)}{where}", values)
        return pd.DataFrame(cursor.fetchall(), columns=columns)


def chosen_simulations(connection: sqlite3.Connection, conditions: Iterable[str] = ()) -> list[str]:
    """Return the ids of the simulations that meet all conditions, in order.

    Args:
        connection: An experiment database.
        conditions: Each `NAME OPERATOR VALUE`: a parameter (`a.b` for one in another) or a column
            of the registry; one of `= != < <= > >= ~`, where `~` looks for a part of a text.

    Raises:
        FarmMergeError: If a condition cannot be understood, or names what no simulation has.
    """
    terms: list[str] = []
    values: list[object] = []
    for condition in conditions:
        matched = _COMPARISON.fullmatch(condition)
        if matched is None:
            raise FarmMergeError(
                f"{condition!r} is no condition; write it as 'learning_rate>=0.1' or"
                " 'status=completed' (operators: = != < <= > >= ~)"
            )
        name, operator, text = matched.groups()
        expression, bound = _expression(name)
        (known,) = connection.execute(
            f"SELECT EXISTS (SELECT 1 FROM simulations WHERE {expression} IS NOT NULL)", bound
        ).fetchone()
        if not known and name not in _REGISTRY_COLUMNS:
            raise FarmMergeError(f"no simulation has a parameter {name}{_suggestions(connection)}")
        terms.append(f"{expression} {_OPERATORS.get(operator, operator)} ?")
        values += [*bound, f"%{text}%" if operator == "~" else _value(text)]
    where = f" WHERE {' AND '.join(terms)}" if terms else ""
    rows = connection.execute(
        f"SELECT simulation_id FROM simulations{where} ORDER BY simulation_id", values
    )
    return [simulation_id for (simulation_id,) in rows]


def parsed_parameters(text: str | None) -> dict[str, Any]:
    """Return the parameters of a simulation; none where what stands there is no JSON object."""
    try:
        parameters = json.loads(text or "{}")
    except (TypeError, ValueError):
        return {}
    return parameters if isinstance(parameters, dict) else {}


def _expression(name: str) -> tuple[str, list[object]]:
    if name in _REGISTRY_COLUMNS:
        return quoted(name), []
    paths = [_json_path([name]), _json_path(name.split("."))]
    found = "coalesce(json_extract(parameters, ?), json_extract(parameters, ?))"
    return f"CASE WHEN json_valid(parameters) THEN {found} END", list(paths)


def _json_path(names: Iterable[str]) -> str:
    return "$" + "".join(f'."{name}"' for name in names)


def _value(text: str) -> object:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str | int | float) else text


def _suggestions(connection: sqlite3.Connection) -> str:
    rows = connection.execute(
        "SELECT DISTINCT key FROM simulations, json_each(parameters)"
        " WHERE json_valid(parameters) ORDER BY key LIMIT 40"
    )
    names = ", ".join(str(key) for (key,) in rows)
    return f"; there are {names}" if names else ""
