"""Registry: a simulation's row, its experiment's, and its entry in the ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeGuard

from farm_merge.merge import ledger
from farm_merge.merge.inputs.sidecar import json_object, read_sidecar
from farm_merge.merge.tables.definition import SIMULATION_ID
from farm_merge.schema import LEDGER, now, stored_time
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm_merge.merge.plan.plan import SimulationPlan
    from farm_merge.merge.tables.definition import TableDefinition
    from farm_merge.merge.tables.structure import Structure
    from farm_merge.sqlite import sqlite3

__all__ = ["ExperimentFields", "column_list", "copy_rows", "register", "remove_simulation"]


@dataclass(frozen=True, slots=True)
class ExperimentFields:
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


def register(
    connection: sqlite3.Connection,
    planned: SimulationPlan,
    experiment: ExperimentFields,
    output: Structure,
    shard: Structure,
) -> None:
    """Carry a simulation's registry row and its experiment's, or make them; enter the ledger.

    Args:
        connection: The output, with the rows of the simulation in it, and its shard attached.
        planned: The simulation.
        experiment: The experiment it belongs to.
        output: The structure of the output.
        shard: The structure of the shard.
    """
    _register_simulation(connection, planned, experiment, output, shard)
    _register_experiment(connection, planned.simulation_id, experiment, shard)
    # What the ledgers of merged inputs say is history, and comes along.
    simulation_id = planned.simulation_id
    ledger.carry_history(connection, simulation_id, column_list(shard.tables[LEDGER]))
    counts = planned.outcome.row_counts or {}
    ledger.enter(connection, simulation_id, planned.source, counts, replaced=planned.replaces)


def _register_simulation(
    connection: sqlite3.Connection,
    planned: SimulationPlan,
    experiment: ExperimentFields,
    output: Structure,
    shard: Structure,
) -> None:
    simulation_id = planned.simulation_id
    found, target = shard.tables["simulations"], output.tables["simulations"]
    if not copy_rows(connection, found, target, simulation_id):
        _insert(connection, "simulations", _derived(connection, planned))
    connection.execute(
        "UPDATE main.simulations SET experiment_id = coalesce(?, experiment_id, ?),"
        " simulation_db_path = coalesce(nullif(simulation_db_path, ''), ?) WHERE simulation_id = ?",
        (
            experiment.experiment_id,
            experiment.default_id,
            str(planned.source.path),
            simulation_id,
        ),
    )


def _register_experiment(
    connection: sqlite3.Connection,
    simulation_id: str,
    experiment: ExperimentFields,
    shard: Structure,
) -> None:
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
            "name": experiment.name,
            "description": experiment.description,
            "now": now(),
            "id": simulation_id,
        },
    )


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
    ledger.forget(connection, simulation_id)
    connection.execute("DELETE FROM main.simulations WHERE simulation_id = ?", (simulation_id,))
    return rows


def copy_rows(
    connection: sqlite3.Connection,
    found: TableDefinition,
    target: TableDefinition,
    simulation_id: str,
) -> int:
    """Copy the rows of a simulation; what the shard's table lacks is NULL, not a default.

    Args:
        connection: The output, with the shard attached.
        found: The table of the shard.
        target: The table of the output.
        simulation_id: The simulation.

    Returns:
        The number of rows.
    """
    table, columns = quoted(target.name), column_list(found)
    lacking = [
        quoted(column.name)
        for column in target.stored
        if not found.column(column.name) and not column.not_null
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
    own = [quoted(column.name) for column in table.stored]
    return [SIMULATION_ID, *own] if table.merged else own


def _derived(connection: sqlite3.Connection, planned: SimulationPlan) -> dict[str, Any]:
    """Return the row of `simulations` for a run that has none: from its data, file and folder."""
    simulation_id, source = planned.simulation_id, planned.source
    steps, agents = connection.execute(
        "SELECT (SELECT count(*) FROM main.simulation_steps WHERE simulation_id = :id),"
        " (SELECT count(*) FROM main.agents WHERE simulation_id = :id)",
        {"id": simulation_id},
    ).fetchone()
    logged = connection.execute(
        "SELECT timestamp, config_data FROM main.simulation_config WHERE simulation_id = ?"
        " ORDER BY config_id LIMIT 1",
        (simulation_id,),
    ).fetchone()
    written, config = logged or (None, None)
    summary = {"steps": steps, "agents": agents} if steps or agents else None
    parameters = read_sidecar(source.path) or json_object(config) or {}
    ended = datetime.fromtimestamp(source.file.identity.mtime_ns / 1e9, UTC)
    started = stored_time(datetime.fromtimestamp(written, UTC)) if _is_time(written) else None
    return {
        "simulation_id": simulation_id,
        "start_time": started,
        "end_time": stored_time(ended),
        "status": "unknown",
        "parameters": json.dumps(parameters),
        "results_summary": summary and json.dumps(summary),
        "simulation_db_path": str(source.path.absolute()),
    }


def _is_time(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and 0 < value < 2**33


def _insert(connection: sqlite3.Connection, table: str, row: Mapping[str, object]) -> None:
    names = ", ".join(map(quoted, row))
    marks = ", ".join("?" * len(row))
    connection.execute(
        f"INSERT INTO main.{quoted(table)} ({names}) VALUES ({marks})", tuple(row.values())
    )
