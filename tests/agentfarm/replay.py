"""Replay recorded calls of a simulation on its database, and digest the rows that come of them.

A recording has a JSON object a line: the object, the call, its arguments, and what it returned.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from farm_merge import agentfarm
from farm_merge.sqlite import file_uri, sqlite3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

PATH = "<db_path>"


class Replay:
    """The objects of a recording, and what is called on them.

    Args:
        path: What the recording calls `<db_path>`.
        make: Makes a database of a simulation that is kept, instead of the recorded class.
    """

    def __init__(self, path: Path, make: Callable[[str], Any] | None = None) -> None:
        self.path = path
        self.make = make
        self.objects: dict[str, Any] = {}

    def run(self, calls: Iterable[Mapping[str, Any]]) -> None:
        """Make every call, and compare what it returns with what was recorded."""
        for call in calls:
            self._call(call)

    def _call(self, call: Mapping[str, Any]) -> None:
        name, of = call["call"], call["obj"]
        args = [self._value(value) for value in call["args"]]
        kwargs = {key: self._value(value) for key, value in call["kwargs"].items()}
        if call["on"] == "class":
            self.objects[of] = self._new(name, args, kwargs)
        elif call.get("read"):
            self._read(of, name, call["value"])
        else:
            returned = getattr(self.objects[of], name)(*args, **kwargs)
            self._compare(name, returned, call.get("returns"))

    def _new(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if self.make is not None and args != [""]:
            return self.make(kwargs["simulation_id"])
        return getattr(agentfarm, name)(*args, **kwargs)

    def _read(self, of: str, name: str, recorded: Any) -> None:
        assert self.objects[of]  # AgentFarm asks whether there is one
        value = getattr(self.objects[of], name)
        if isinstance(recorded, dict):
            assert value
            self.objects[recorded["obj"]] = value
        elif self.make is None:
            assert value == self._value(recorded)

    def _compare(self, name: str, returned: Any, recorded: Any) -> None:
        if name == "persist_to_disk":
            counted = ("rows_copied", "tables_copied", "tables_skipped")
            assert {key: returned[key] for key in counted} == {
                key: recorded[key] for key in counted
            }
            assert returned.keys() >= recorded.keys()
        elif isinstance(recorded, dict):
            self.objects[recorded["obj"]] = returned
        else:
            assert returned == recorded, name

    def _value(self, value: Any) -> Any:  # noqa: PLR0911  (one of each kind)
        match value:
            case str():
                return str(self.path) if value == PATH else value
            case list():
                return [tuple(v) if isinstance(v, list) else self._value(v) for v in value]
            case {"numpy": kind, "value": number}:
                return getattr(np, kind)(number)
            case {"datetime": text}:
                return datetime.fromisoformat(text)
            case {"obj": name}:
                return self.objects[name]
            case {"callable": _, "statements": statements}:
                return lambda session: _first_columns(session, statements)
            case dict():
                return {key: self._value(item) for key, item in value.items()}
        return value


def _first_columns(session: Any, statements: Iterable[Mapping[str, Any]]) -> list[Any]:
    return [
        row[0]
        for statement in statements
        for row in session.connection().exec_driver_sql(
            statement["sql"], tuple(statement["parameters"])
        )
    ]


def recorded(path: Path) -> list[dict[str, Any]]:
    """Read a recording."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


class Digests:
    """The rows of a database, as those of recordings are digested.

    A death's health incident is of no simulation in AgentFarm's files. Here every row is of one, so
    these are digested as if they were of none.

    Args:
        path: The database.
        json_columns: The columns that hold JSON, by table.
    """

    def __init__(self, path: Path, json_columns: Mapping[str, list[str]]) -> None:
        self._uri = file_uri(path, mode="ro")
        self._json_columns = json_columns

    def of(self, table: str, columns: Iterable[str]) -> tuple[int, str, dict[str, str]]:
        """Return how many rows a table has, their digest, and that of every column."""
        names = list(columns)
        rows = self._rows(table, names)
        by_column = {name: _digest(row[name] for row in rows) for name in names}
        return len(rows), _digest(rows), by_column

    def types(self, table: str, column: str) -> dict[str, int]:
        """Return how many values of a column have which of SQLite's types."""
        sql = f'SELECT typeof("{column}"), count(*) FROM {table} GROUP BY 1'
        return dict(self._ask(sql))

    def _ask(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self._uri, uri=True)) as connection:
            return connection.execute(sql).fetchall()

    def _rows(self, table: str, names: list[str]) -> list[dict[str, Any]]:
        columns = ", ".join(f'"{name}"' for name in names)
        rows = [
            dict(zip(names, values, strict=True))
            for values in self._ask(f"SELECT {columns} FROM {table}")
        ]
        for row in rows:
            for name in self._json_columns.get(table, ()):
                row[name] = json.loads(row[name] or "null")
            if row.get("details") == DEAD:
                row["simulation_id"] = None
        return [_whole(row) for row in rows]


DEAD = {"final_state": "dead"}


def _whole(value: Any) -> Any:
    """Write numbers that are whole as integers."""
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digest(values: Iterable[Any]) -> str:
    texts = [json.dumps(value, sort_keys=True, separators=(",", ":")) for value in values]
    return hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()
