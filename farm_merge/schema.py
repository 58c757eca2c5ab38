"""Today's schema as SQL: its marks, its tables, and how a new file gets them.

The DDL is generated from `farm_merge.models` into `schema.sql`, so that merging needs no
SQLAlchemy. A test keeps the two equal.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farm_merge.sqlite import sqlite3

__all__ = [
    "CLOCK_COLUMNS",
    "DATA_TABLES",
    "EXPERIMENT_MARK",
    "LEDGER",
    "METADATA_TABLES",
    "OUR_TABLES",
    "REGISTRY_TABLES",
    "SCHEMA_VERSION",
    "SHARD_MARK",
    "create_schema",
    "ddl",
    "ddl_of",
    "is_current",
    "is_experiment",
    "lacking",
    "mark_as_experiment",
    "now",
    "registry_ddl",
    "stored_time",
]

SHARD_MARK = int.from_bytes(b"FARM", "big")
"""The `PRAGMA application_id` of a shard: what one simulation wrote."""

EXPERIMENT_MARK = int.from_bytes(b"FARX", "big")
"""The `PRAGMA application_id` of an experiment database, which merges extend."""

SCHEMA_VERSION = 1
"""The `PRAGMA user_version`; it grows with every change of the tables."""

DATA_TABLES = (
    "agents",
    "agent_states",
    "resource_states",
    "simulation_steps",
    "agent_actions",
    "health_incidents",
    "simulation_config",
)
"""What a simulation is made of: the content that merging compares and carries."""

CLOCK_COLUMNS = {"simulation_config": frozenset({"timestamp"})}
"""When a row was written: metadata in a data table. It is carried, but it is not content, so the
same run simulated anew is the same simulation."""

REGISTRY_TABLES = ("experiments", "simulations")
"""What is known about experiments and simulations: metadata, not content."""

LEDGER = "merged_shards"
"""What came from where."""

METADATA_TABLES = frozenset((*REGISTRY_TABLES, LEDGER))
"""Tables about simulations; all others are what simulations are made of."""

OUR_TABLES = METADATA_TABLES.union(DATA_TABLES)
"""The tables of today's schema."""


@cache
def ddl() -> tuple[str, ...]:
    """Return the statements that make today's tables and indexes, in order."""
    # importlib.resources takes longer to start than a small merge to read its shard.
    text = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
    lines = (line for line in text.splitlines() if not line.startswith("--"))
    return tuple(part.strip() for part in "\n".join(lines).split(";\n") if part.strip())


def create_schema(
    connection: sqlite3.Connection, *, mark: int = SHARD_MARK, registry_only: bool = False
) -> None:
    """Make today's tables, indexes and marks in an empty database.

    Runs inside the caller's transaction, if there is one: SQLite's DDL is transactional.

    Args:
        connection: The database.
        mark: What it is to be.
        registry_only: Whether it gets only the tables about simulations.
    """
    for statement in registry_ddl() if registry_only else ddl():
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {mark}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def lacking(connection: sqlite3.Connection) -> list[str]:
    """Return the statements that make those of today's tables and indexes that there are not."""
    present = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
    return [statement for statement in ddl() if _made_by(statement) not in present]


def _made_by(statement: str) -> str:
    """Return the name of what a statement such as `CREATE TABLE agents (` makes."""
    return statement.partition("(")[0].split()[2]


def ddl_of(table: str) -> str:
    """Return the statement that makes one of today's tables."""
    start = f"CREATE TABLE {table} "
    return next(statement for statement in ddl() if statement.startswith(start))


def registry_ddl() -> tuple[str, ...]:
    """Return the statements that make the tables about simulations, in order."""
    tables = {ddl_of(table) for table in METADATA_TABLES}
    return tuple(statement for statement in ddl() if statement in tables)


def is_current(connection: sqlite3.Connection, schema: str = "main") -> bool:
    """Return whether a database carries the marks of today's schema.

    Args:
        connection: An open connection.
        schema: The name under which the database is attached.
    """
    (mark,) = connection.execute(f"PRAGMA {schema}.application_id").fetchone()
    (version,) = connection.execute(f"PRAGMA {schema}.user_version").fetchone()
    if mark not in {SHARD_MARK, EXPERIMENT_MARK} or version != SCHEMA_VERSION:
        return False
    # A view could be in the place of a table, and take for ever to read.
    views = connection.execute(
        f"SELECT lower(name) FROM {schema}.sqlite_schema WHERE type = 'view'"
    )
    return OUR_TABLES.isdisjoint(name for (name,) in views)


def is_experiment(connection: sqlite3.Connection) -> bool:
    """Return whether a database of today's schema is an experiment database, and not a shard.

    Those that were made before there was a mark are known by what only they hold: a ledger, or
    several simulations.
    """
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    if mark == EXPERIMENT_MARK:
        return True
    (has_ledger, simulations) = connection.execute(
        f"SELECT EXISTS (SELECT 1 FROM {LEDGER}), (SELECT count(*) FROM simulations)"
    ).fetchone()
    return bool(has_ledger) or simulations > 1


def mark_as_experiment(connection: sqlite3.Connection) -> None:
    """Let a database be an experiment database from now on."""
    connection.execute(f"PRAGMA application_id = {EXPERIMENT_MARK}")


def now() -> str:
    """Return the time in UTC, in the form in which SQLAlchemy stores a DATETIME."""
    return stored_time(datetime.now(UTC))


def stored_time(moment: datetime) -> str:
    """Return a time in UTC in the form in which SQLAlchemy stores a DATETIME."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
