"""What people use today to merge SQLite files, each as a function of the inputs and the output.

Every one writes today's schema, with the columns that the inputs have, but for the one that keeps
AgentFarm's. None of them verifies.
"""

from __future__ import annotations

import shutil
import sqlite3 as plain_sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.resources import files
from importlib.util import find_spec
from typing import TYPE_CHECKING

from data import LEGACY_SCHEMA

from farm_merge.publish import sync
from farm_merge.schema import DATA_TABLES, ddl
from farm_merge.sqlite import sqlite3

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from duckdb import DuckDBPyConnection

TABLES = ("simulations", *DATA_TABLES)
NUMBERED = {
    "resource_states": "id",
    "agent_actions": "action_id",
    "health_incidents": "incident_id",
    "simulation_config": "config_id",
}
"""Keys of AgentFarm's tables that are the rowid, and start anew in every file."""


def farm_merge(shards: list[Path], output: Path) -> None:
    _farm_merge(shards, output)


def farm_merge_attach(shards: list[Path], output: Path) -> None:
    _farm_merge(shards, output, "--engine", "attach")


def farm_merge_unverified(shards: list[Path], output: Path) -> None:
    _farm_merge(shards, output, "--verify", "none")


def _farm_merge(shards: list[Path], output: Path, *options: str) -> None:
    command = [sys.executable, "-m", "farm_merge", shards[0].parent, "-o", output, "-q", *options]
    subprocess.run(list(map(str, command)), check=True)


def cp(shards: list[Path], output: Path) -> None:
    """The physical limit: the same bytes, and the same fsync."""
    script = 'out="$1"; shift; cat "$@" > "$out" && sync "$out"'
    subprocess.run(["sh", "-c", script, "sh", str(output), *map(str, shards)], check=True)


def attach_plain(shards: list[Path], output: Path) -> None:
    """The script that everybody writes: tables and indexes, then file by file."""
    is_new = not output.exists()
    with closing(sqlite3.connect(str(output))) as connection:
        for statement in ddl() if is_new else ():
            connection.execute(statement)
        for shard in shards:
            connection.execute("ATTACH DATABASE ? AS shard", (str(shard),))
            for table in TABLES:
                columns = _columns(connection, table)
                connection.execute(
                    f"INSERT INTO {table} ({columns}) SELECT {columns} FROM shard.{table}"
                )
            connection.commit()
            connection.execute("DETACH DATABASE shard")


def attach_tuned(shards: list[Path], output: Path) -> None:
    """The same, by somebody who knows SQLite: no journal, a large cache, indexes last."""
    is_new = not output.exists()
    with closing(sqlite3.connect(str(output), isolation_level=None)) as connection:
        for pragma in (
            "journal_mode=OFF",
            "synchronous=OFF",
            "locking_mode=EXCLUSIVE",
            "cache_size=-262144",
        ):
            connection.execute(f"PRAGMA {pragma}")
        tables, indexes = _split(ddl() if is_new else ())
        for statement in tables:
            connection.execute(statement)
        for shard in shards:
            connection.execute("ATTACH DATABASE ? AS shard", (str(shard),))
            connection.execute("BEGIN")
            for table in TABLES:
                columns = _columns(connection, table)
                connection.execute(
                    f"INSERT INTO {table} ({columns}) SELECT {columns} FROM shard.{table}"
                )
            connection.execute("COMMIT")
            connection.execute("DETACH DATABASE shard")
        for statement in indexes:
            connection.execute(statement)
    sync(output)


def attach_agentfarm(files: list[Path], output: Path) -> None:
    """The script of a lab that keeps AgentFarm's tables and indexes: rows get new numbers."""
    with closing(sqlite3.connect(str(output))) as connection:
        connection.executescript(LEGACY_SCHEMA)
        for file in files:
            connection.execute("ATTACH DATABASE ? AS file", (str(file),))
            for table in TABLES:
                found = connection.execute(f"PRAGMA file.table_info({table})")
                columns = ", ".join(row[1] for row in found if row[1] != NUMBERED.get(table))
                connection.execute(
                    f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM file.{table}"
                )
            connection.commit()
            connection.execute("DETACH DATABASE file")


def duckdb(shards: list[Path], output: Path) -> None:
    """DuckDB's extension for SQLite."""
    _make(output)
    connection = sqlite_scanner()
    connection.execute(f"ATTACH '{output}' AS out (TYPE sqlite)")
    with closing(sqlite3.connect(str(shards[0]))) as first:
        columns = {
            table: ", ".join(row[1] for row in first.execute(f"PRAGMA table_info({table})"))
            for table in TABLES
        }
    for shard in shards:
        connection.execute(f"ATTACH '{shard}' AS shard (TYPE sqlite, READ_ONLY)")
        for table in TABLES:
            connection.execute(
                f"INSERT INTO out.{table} ({columns[table]})"
                f" SELECT {columns[table]} FROM shard.{table}"
            )
        connection.execute("DETACH shard")
    connection.close()


def sqlite_scanner() -> DuckDBPyConnection:
    """Return a connection of DuckDB with its extension for SQLite."""
    import duckdb as engine

    connection = engine.connect()
    extension = files("duckdb_extension_sqlite_scanner") / "extensions" / f"v{engine.__version__}"
    connection.execute(f"LOAD '{extension / 'sqlite_scanner.duckdb_extension'}'")
    return connection


def pandas(shards: list[Path], output: Path) -> None:
    """read_sql and to_sql."""
    import pandas as pd

    _make(output)
    with closing(plain_sqlite3.connect(output)) as connection:
        for shard in shards:
            with closing(plain_sqlite3.connect(shard)) as source:
                for table in TABLES:
                    columns = _stored(source, table)
                    frame = pd.read_sql(f"SELECT {columns} FROM {table}", source)
                    frame.to_sql(table, connection, if_exists="append", index=False)


def sqlite_utils(shards: list[Path], output: Path) -> None:
    """insert_all of sqlite-utils."""
    from sqlite_utils import Database

    _make(output)
    database = Database(output)
    for shard in shards:
        with closing(plain_sqlite3.connect(shard)) as source:
            for table in TABLES:
                cursor = source.execute(f"SELECT {_stored(source, table)} FROM {table}")
                names = [name for name, *_ in cursor.description]
                rows = (dict(zip(names, row, strict=True)) for row in cursor)
                database[table].insert_all(rows, batch_size=1000)
    database.close()


def dump(shards: list[Path], output: Path) -> None:
    """sqlite3 .dump, its INSERTs read by sqlite3."""
    _make(output)
    for shard in shards:
        script = (
            f"(echo 'BEGIN;'; sqlite3 '{shard}' .dump | grep '^INSERT INTO'; echo 'COMMIT;')"
            f" | sqlite3 '{output}'"
        )
        subprocess.run(["sh", "-c", script], check=True)


CONTENDERS: dict[str, Callable[[list[Path], Path], None]] = {
    contender.__name__: contender
    for contender in (
        cp,
        farm_merge,
        farm_merge_unverified,
        farm_merge_attach,
        attach_plain,
        attach_tuned,
        duckdb,
        pandas,
        sqlite_utils,
        dump,
    )
}
EVERYBODY = {**CONTENDERS, "attach_agentfarm": attach_agentfarm}


def missing(contender: str) -> str | None:
    """Return why a contender cannot run here; None if it can."""
    modules = {"duckdb": "duckdb_extension_sqlite_scanner", "pandas": "pandas"}
    if contender in modules and not find_spec(modules[contender]):
        return f"{modules[contender]} is not installed"
    if contender == "dump" and not shutil.which("sqlite3"):
        return "the sqlite3 shell is not installed"
    return None


def _make(output: Path) -> None:
    with closing(plain_sqlite3.connect(output)) as connection:
        for statement in ddl():
            connection.execute(statement)


def _split(statements: tuple[str, ...]) -> tuple[list[str], list[str]]:
    tables = [sql for sql in statements if sql.startswith("CREATE TABLE")]
    return tables, [sql for sql in statements if sql not in tables]


def _columns(connection: sqlite3.Connection, table: str) -> str:
    """Return the columns that output and shard share; computed ones are not among them."""
    mine, theirs = (
        [row[1] for row in connection.execute(f"PRAGMA {schema}.table_info({table})")]
        for schema in ("main", "shard")
    )
    return ", ".join(name for name in mine if name in theirs)


def _stored(connection: plain_sqlite3.Connection, table: str) -> str:
    return ", ".join(row[1] for row in connection.execute(f"PRAGMA table_info({table})"))
