"""Inspect: what is this file, which simulations are in it, and is it whole?"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from farm_merge.driver import sqlite3
from farm_merge.errors import ShardError
from farm_merge.merge.source import Identity, fingerprint, identify, opened
from farm_merge.schema import DATA_TABLES, create_schema, ddl, is_current

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "Column",
    "Found",
    "Inspection",
    "Structure",
    "inspect_shard",
    "read_experiments",
    "read_structure",
    "today",
]


@dataclass(frozen=True, slots=True)
class Column:
    """A column as SQLite declares it; `key` is its place in the primary key, from 1, or 0."""

    name: str
    declared_type: str
    not_null: bool
    default: str | None
    key: int


Structure = dict[str, dict[str, Column]]
"""The stored columns of every table: table, then column, both by lower-case name."""


@dataclass(frozen=True, slots=True)
class Found:
    """A simulation in a file: its id, its status, and its rows by table."""

    simulation_id: str
    status: str | None
    row_counts: Mapping[str, int] = field(hash=False)

    @property
    def rows(self) -> int:
        """The number of rows in all data tables."""
        return sum(self.row_counts.values())


@dataclass(frozen=True, slots=True)
class Inspection:
    """What is known of an input before anything is decided."""

    path: Path
    identity: Identity
    fingerprint: str
    structure: Structure = field(hash=False)
    simulations: tuple[Found, ...]
    experiments: Mapping[str, tuple[object, ...]] = field(hash=False)
    not_carried: tuple[str, ...] = ()


def inspect_shard(path: Path) -> Inspection:
    """Read a shard and say what it holds; nothing is written, and its code never runs.

    Raises:
        ShardError: If the file is missing, unreadable, damaged, of another schema, or changes
            while it is read.
    """
    identity = identify(path)
    digest = fingerprint(path)
    with opened(path) as connection:
        if not is_current(connection):
            raise ShardError(f"{path}: not a shard of today's schema")
        _require_utf8(path, connection)
        _require_health(path, connection)
        structure = read_structure(connection)
        _require_known(path, structure)
        simulations = _simulations(path, connection)
        experiments = read_experiments(connection)
        not_carried = _not_carried(connection)
    if identify(path) != identity:
        raise ShardError(f"{path}: changed while it was read; merge it when its run has ended")
    if not simulations:
        raise ShardError(f"{path}: holds no simulation")
    return Inspection(path, identity, digest, structure, simulations, experiments, not_carried)


def read_structure(connection: sqlite3.Connection, schema: str = "main") -> Structure:
    """Return the tables of a database with their stored columns; generated ones are left out."""
    rows = connection.execute(
        'SELECT lower(t.name), lower(c.name), c.name, c.type, c."notnull", c.dflt_value, c.pk'
        " FROM pragma_table_list AS t, pragma_table_xinfo(t.name, t.schema) AS c"
        " WHERE t.schema = ? AND t.type IN ('table', 'virtual')"
        " AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
        " AND c.hidden = 0 ORDER BY t.name, c.cid",
        (schema,),
    )
    return _structure(tuple(rows))


@lru_cache(maxsize=64)  # thousands of shards share one structure, and its memory
def _structure(rows: tuple[tuple[Any, ...], ...]) -> Structure:
    structure: Structure = {}
    for table, key, name, declared_type, not_null, default, position in rows:
        structure.setdefault(table, {})[key] = Column(
            name, declared_type, bool(not_null), default, position
        )
    return structure


@cache
def today() -> Structure:
    """Return the structure of today's schema."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        create_schema(connection)
        return read_structure(connection)


def read_experiments(connection: sqlite3.Connection) -> dict[str, tuple[object, ...]]:
    """Return what a database says about its experiments: name, description, hypothesis."""
    rows = connection.execute(
        "SELECT experiment_id, name, description, hypothesis FROM experiments"
    )
    return {experiment_id: tuple(description) for experiment_id, *description in rows}


def _require_health(path: Path, connection: sqlite3.Connection) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise ShardError(f"{path}: damaged; SQLite's quick_check says: {verdict}")


def _require_utf8(path: Path, connection: sqlite3.Connection) -> None:
    (encoding,) = connection.execute("PRAGMA encoding").fetchone()
    if encoding != "UTF-8":
        raise ShardError(f"{path}: its text is {encoding}, and only UTF-8 can be merged")


def _not_carried(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Return the views, triggers and indexes that today's schema does not have."""
    ours = {statement.split()[2] for statement in ddl()}
    rows = connection.execute(
        "SELECT type, name FROM sqlite_schema WHERE type <> 'table'"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type, name"
    )
    return tuple(f"{kind} {name}" for kind, name in rows if name not in ours)


def _require_known(path: Path, structure: Structure) -> None:
    """Refuse what could not be carried whole: other tables, other types, missing keys."""
    expected = today()
    if unknown := sorted(structure.keys() - expected.keys()):
        raise ShardError(
            f"{path}: holds tables that today's schema does not know ({', '.join(unknown)});"
            " they would be lost, so the file is not merged"
        )
    if missing := sorted(expected.keys() - structure.keys()):
        raise ShardError(f"{path}: lacks the tables {', '.join(missing)} of today's schema")
    for table, columns in expected.items():
        for key, column in columns.items():
            _require_column(path, table, column, structure[table].get(key))


def _require_column(path: Path, table: str, expected: Column, found: Column | None) -> None:
    if found is None:
        if expected.not_null:
            raise ShardError(f"{path}: table {table} lacks the column {expected.name}")
    elif found.declared_type.upper() != expected.declared_type.upper():
        raise ShardError(
            f"{path}: table {table}, column {expected.name} is declared {found.declared_type!r},"
            f" today's schema has {expected.declared_type!r}; values could change on the way"
        )
    elif found.key != expected.key:
        raise ShardError(f"{path}: table {table} has another primary key than today's schema")


def _simulations(path: Path, connection: sqlite3.Connection) -> tuple[Found, ...]:
    """Read the simulations from the keys of the data, and from the registry where it names more."""
    registered = dict(connection.execute("SELECT simulation_id, status FROM simulations"))
    counts: dict[str, dict[str, int]] = {simulation_id: {} for simulation_id in registered}
    for table in DATA_TABLES:
        for simulation_id, rows in connection.execute(
            f"SELECT simulation_id, count(*) FROM {table} GROUP BY simulation_id"
        ):
            counts.setdefault(simulation_id, {})[table] = rows
    if odd := [each for each in counts if not isinstance(each, str)]:
        raise ShardError(f"{path}: has a simulation_id that is no text: {odd[0]!r}")
    return tuple(
        Found(simulation_id, _status(connection, simulation_id), counts[simulation_id])
        for simulation_id in sorted(counts)
    )


def _status(connection: sqlite3.Connection, simulation_id: str) -> str | None:
    """Return a run's status; one that was closed is over, whatever its status says."""
    row = connection.execute(
        "SELECT CASE WHEN status = 'running' AND end_time IS NOT NULL THEN 'closed' ELSE status END"
        " FROM simulations WHERE simulation_id = ?",
        (simulation_id,),
    ).fetchone()
    return row[0] if row else None
