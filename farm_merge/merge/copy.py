"""Copy: carry out what was planned. No policy here."""

from __future__ import annotations

import json
import platform
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlite_utils.db import quote_identifier

from farm_merge import __version__
from farm_merge.driver import sqlite3
from farm_merge.merge.plan import Action
from farm_merge.merge.verify import require_counts
from farm_merge.schema import DATA_TABLES, LEDGER, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from farm_merge.merge.inspect import Column, Structure
    from farm_merge.merge.plan import SimulationPlan

__all__ = ["Registration", "add_columns", "attached", "copy_simulation"]


@dataclass(frozen=True, slots=True)
class Registration:
    """The experiment under which merged simulations are registered.

    Attributes:
        experiment_id: Given to every simulation; None leaves those that have one as they are.
        default_id: For simulations that name no experiment.
        name: Of the experiment; its id where None.
        description: Of the experiment.
    """

    experiment_id: str | None
    default_id: str
    name: str | None = None
    description: str | None = None


@contextmanager
def attached(connection: sqlite3.Connection, uri: str) -> Iterator[None]:
    """Attach a database as `shard`; one at a time, so SQLite's limit of ten is never met."""
    connection.execute("ATTACH DATABASE ? AS shard", (uri,))
    try:
        yield
    finally:
        connection.execute("DETACH DATABASE shard")


def add_columns(connection: sqlite3.Connection, columns: Iterable[tuple[str, Column]]) -> None:
    """Add columns that shards have and the output lacks; rows that are there get NULL."""
    for table, column in columns:
        connection.execute(
            f"ALTER TABLE main.{quote_identifier(table)}"
            f" ADD COLUMN {quote_identifier(column.name)} {column.declared_type}"
        )


def copy_simulation(
    connection: sqlite3.Connection,
    planned: SimulationPlan,
    registration: Registration,
    progress: Callable[[int], None],
) -> None:
    """Copy one simulation from `shard` into `main`, in one transaction with its ledger row.

    Args:
        connection: The output, with the source attached as `shard`.
        planned: The simulation, and what to do with it.
        registration: The experiment it belongs to.
        progress: Called with the number of rows copied since the last call.

    Raises:
        OutputError: If the counts differ; the transaction is rolled back.
    """
    simulation_id = planned.simulation.simulation_id
    connection.execute("BEGIN IMMEDIATE")
    try:
        if planned.action is Action.REPLACE:
            _remove(connection, simulation_id)
        _register(connection, planned, registration)
        for table in DATA_TABLES:
            progress(_copy_rows(connection, table, planned.source.structure, simulation_id))
        require_counts(connection, simulation_id, planned.simulation.row_counts)
        _enter_in_ledger(connection, planned)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _remove(connection: sqlite3.Connection, simulation_id: str) -> None:
    for table in (*DATA_TABLES, LEDGER, "simulations"):
        connection.execute(f"DELETE FROM main.{table} WHERE simulation_id = ?", (simulation_id,))


def _copy_rows(
    connection: sqlite3.Connection, table: str, structure: Structure, simulation_id: str
) -> int:
    columns = ", ".join(quote_identifier(column.name) for column in structure[table].values())
    return connection.execute(
        f"INSERT INTO main.{table} ({columns})"
        f" SELECT {columns} FROM shard.{table} WHERE simulation_id = ?",
        (simulation_id,),
    ).rowcount


def _register(
    connection: sqlite3.Connection, planned: SimulationPlan, registration: Registration
) -> None:
    """Carry the simulation's registry row and its experiment's, or make them where they lack."""
    simulation_id = planned.simulation.simulation_id
    if not _copy_rows(connection, "simulations", planned.source.structure, simulation_id):
        connection.execute(
            "INSERT INTO main.simulations (simulation_id, status, parameters, simulation_db_path)"
            " VALUES (?, 'unknown', '{}', ?)",
            (simulation_id, str(planned.source.path)),
        )
    connection.execute(
        "UPDATE main.simulations SET experiment_id = coalesce(?, experiment_id, ?)"
        " WHERE simulation_id = ?",
        (registration.experiment_id, registration.default_id, simulation_id),
    )
    columns = ", ".join(
        quote_identifier(column.name) for column in planned.source.structure["experiments"].values()
    )
    connection.execute(
        f"INSERT OR IGNORE INTO main.experiments ({columns}) SELECT {columns}"
        " FROM shard.experiments WHERE experiment_id ="
        " (SELECT experiment_id FROM main.simulations WHERE simulation_id = ?)",
        (simulation_id,),
    )
    connection.execute(
        "INSERT OR IGNORE INTO main.experiments"
        " (experiment_id, name, description, creation_date, status)"
        " SELECT experiment_id, coalesce(:name, experiment_id), :description, :now, 'completed'"
        " FROM main.simulations WHERE simulation_id = :id",
        {
            "name": registration.name,
            "description": registration.description,
            "now": now(),
            "id": simulation_id,
        },
    )
    # What the ledgers of merged inputs tell is history, and comes along.
    history = ", ".join(
        quote_identifier(column.name) for column in planned.source.structure[LEDGER].values()
    )
    connection.execute(
        f"INSERT OR IGNORE INTO main.{LEDGER} ({history})"
        f" SELECT {history} FROM shard.{LEDGER} WHERE simulation_id = ?",
        (simulation_id,),
    )


def _enter_in_ledger(connection: sqlite3.Connection, planned: SimulationPlan) -> None:
    identity = planned.source.identity
    entry = {
        "simulation_id": planned.simulation.simulation_id,
        "fingerprint": planned.source.fingerprint,
        "source_path": str(planned.source.path.absolute()),
        "source_schema": "farm-merge 1",
        "size_bytes": identity.size_bytes,
        "device": identity.device,
        "inode": identity.inode,
        "mtime_ns": identity.mtime_ns,
        "ctime_ns": identity.ctime_ns,
        "merged_at": now(),
        "row_counts": json.dumps(dict(planned.simulation.row_counts), sort_keys=True),
        "choices": json.dumps({"replaced": True} if planned.action is Action.REPLACE else {}),
        "software": json.dumps(
            {
                "farm-merge": __version__,
                "python": platform.python_version(),
                "sqlite": sqlite3.sqlite_version,
            }
        ),
    }
    connection.execute(
        f"INSERT OR REPLACE INTO main.{LEDGER} ({', '.join(entry)})"
        f" VALUES ({', '.join(f':{name}' for name in entry)})",
        entry,
    )
