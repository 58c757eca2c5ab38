"""Copy: carry out what was planned. No policy here."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from farm_merge import __version__
from farm_merge.driver import quoted, sqlite3
from farm_merge.merge.definition import SIMULATION_ID
from farm_merge.merge.metadata import derived_metadata
from farm_merge.merge.plan import Action
from farm_merge.merge.structure import read_structure
from farm_merge.merge.verify import require_counts, require_same
from farm_merge.schema import LEDGER, now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from farm_merge.merge.definition import TableDefinition
    from farm_merge.merge.plan import SimulationPlan
    from farm_merge.merge.structure import Structure

__all__ = [
    "IN_FILE",
    "Registration",
    "Verification",
    "copy_simulation",
    "register_simulation",
    "remove_simulation",
]

IN_FILE = "simulations_in_file"
"""The choice that tells of how many simulations of a file this is one."""

Verification = Literal["none", "counts", "content"]


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


def copy_simulation(
    connection: sqlite3.Connection,
    planned: SimulationPlan,
    registration: Registration,
    verification: Verification,
    require_unchanged: Callable[[], None],
    progress: Callable[[int], None],
) -> None:
    """Copy one simulation from `shard` into `main`, in one transaction with its ledger row.

    Args:
        connection: The output, with the source attached as `shard`.
        planned: The simulation, and what to do with it.
        registration: The experiment it belongs to.
        verification: What is compared with the source before the transaction ends.
        require_unchanged: Raises if the source is no longer what was inspected.
        progress: Called with the number of rows copied since the last call.

    Raises:
        OutputError: If what arrived differs; the transaction is rolled back.
    """
    simulation_id = planned.simulation_id
    output, shard = read_structure(connection), read_structure(connection, "shard")
    connection.execute("BEGIN IMMEDIATE")
    try:
        if planned.action is Action.REPLACE:
            remove_simulation(connection, output, simulation_id)
        for table, definition in shard.content.items():
            progress(_copy_rows(connection, definition, output.tables[table], simulation_id))
        register_simulation(connection, planned, registration, output, shard)
        if verification != "none":
            require_counts(connection, simulation_id, planned.simulation.row_counts)
        if verification == "content":
            require_same(connection, simulation_id, output, shard)
        require_unchanged()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def remove_simulation(connection: sqlite3.Connection, output: Structure, simulation_id: str) -> int:
    """Delete a simulation, with its entries in the registry and the ledger.

    Returns:
        The number of its data rows.
    """
    rows = 0
    for table, definition in output.content.items():
        if definition.merged:
            rows += connection.execute(
                f"DELETE FROM main.{quoted(table)} WHERE simulation_id = ?", (simulation_id,)
            ).rowcount
    for table in (LEDGER, "simulations"):
        connection.execute(f"DELETE FROM main.{table} WHERE simulation_id = ?", (simulation_id,))
    return rows


def _copy_rows(
    connection: sqlite3.Connection,
    found: TableDefinition,
    target: TableDefinition,
    simulation_id: str,
) -> int:
    """Copy the rows of a simulation; what the shard's table lacks is NULL, not a default."""
    table, columns = quoted(target.name), column_list(found)
    lacking = [
        quoted(each.name)
        for each in target.stored
        if not found.column(each.name) and not each.not_null
    ]
    names = ", ".join([*columns, *lacking])
    values = ", ".join([*columns, *(["NULL"] * len(lacking))])
    return connection.execute(
        f"INSERT INTO main.{table} ({names}) SELECT {values} FROM shard.{table}"
        " WHERE simulation_id = ?",
        (simulation_id,),
    ).rowcount


def column_list(table: TableDefinition) -> list[str]:
    """Return the quoted names of a shard's table, with the `simulation_id` in front."""
    own = [quoted(each.name) for each in table.stored]
    return [SIMULATION_ID, *own] if table.merged else own


def register_simulation(
    connection: sqlite3.Connection,
    planned: SimulationPlan,
    registration: Registration,
    output: Structure,
    shard: Structure,
) -> None:
    """Carry a simulation's registry row and its experiment's, or make them; enter the ledger.

    Args:
        connection: The output, with the rows of the simulation in it, and its shard attached.
        planned: The simulation.
        registration: The experiment it belongs to.
        output: The structure of the output.
        shard: The structure of the shard.
    """
    simulation_id = planned.simulation_id
    found, target = shard.tables["simulations"], output.tables["simulations"]
    if not _copy_rows(connection, found, target, simulation_id):
        _insert(connection, "simulations", derived_metadata(connection, planned))
    connection.execute(
        "UPDATE main.simulations SET experiment_id = coalesce(?, experiment_id, ?),"
        " simulation_db_path = coalesce(nullif(simulation_db_path, ''), ?) WHERE simulation_id = ?",
        (
            registration.experiment_id,
            registration.default_id,
            str(planned.source.path),
            simulation_id,
        ),
    )
    columns = ", ".join(column_list(shard.tables["experiments"]))
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
    history = ", ".join(column_list(shard.tables[LEDGER]))
    connection.execute(
        f"INSERT OR IGNORE INTO main.{LEDGER} ({history})"
        f" SELECT {history} FROM shard.{LEDGER} WHERE simulation_id = ?",
        (simulation_id,),
    )
    _enter_in_ledger(connection, planned)


def _enter_in_ledger(connection: sqlite3.Connection, planned: SimulationPlan) -> None:
    source = planned.source
    identity = source.identity
    choices = dict(source.choices)
    if planned.action is Action.REPLACE:
        choices["replaced"] = True
    if len(source.simulations) > 1:
        choices[IN_FILE] = len(source.simulations)
    entry = {
        SIMULATION_ID: planned.simulation_id,
        "fingerprint": source.fingerprint,
        "source_path": str(source.path.absolute()),
        "source_schema": source.schema,
        "size_bytes": identity.size_bytes,
        "device": identity.device,
        "inode": identity.inode,
        "mtime_ns": identity.mtime_ns,
        "ctime_ns": identity.ctime_ns,
        "merged_at": now(),
        "row_counts": json.dumps(dict(planned.simulation.row_counts), sort_keys=True),
        "choices": json.dumps(choices, sort_keys=True),
        "software": json.dumps(
            {
                "farm-merge": __version__,
                "python": platform.python_version(),
                "sqlite": sqlite3.sqlite_version,
            }
        ),
    }
    connection.execute(
        f"DELETE FROM main.{LEDGER} WHERE simulation_id = ? AND fingerprint = ?",
        (planned.simulation_id, source.fingerprint),
    )
    _insert(connection, LEDGER, entry)


def _insert(connection: sqlite3.Connection, table: str, row: Mapping[str, object]) -> None:
    names = ", ".join(map(quoted, row))
    marks = ", ".join("?" * len(row))
    connection.execute(
        f"INSERT INTO main.{quoted(table)} ({names}) VALUES ({marks})", tuple(row.values())
    )
