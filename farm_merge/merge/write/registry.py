"""Registry: a simulation's row, its experiment's, and its entry in the ledger."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from farm_merge.merge import ledger
from farm_merge.merge.inputs.sidecar import json_object
from farm_merge.merge.ledger import path_text
from farm_merge.merge.tables.definition import SIMULATION_ID
from farm_merge.schema import LEDGER, now, stored_time
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm_merge.merge.plan.plan import SimulationPlan
    from farm_merge.merge.tables.definition import TableDefinition
    from farm_merge.merge.tables.structure import Structure
    from farm_merge.sqlite import sqlite3

__all__ = [
    "ExperimentFields",
    "column_list",
    "copy_rows",
    "copy_statement",
    "highest_number",
    "register",
    "remove_simulation",
]


class ExperimentFields(NamedTuple):
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
    # What the ledgers of merged inputs record is history, and comes along.
    simulation_id = planned.simulation_id
    ledger.carry_history(connection, simulation_id, column_list(shard.tables[LEDGER]))
    ledger.enter(
        connection,
        simulation_id,
        planned.source,
        planned.outcome.row_counts or {},
        own_id=planned.simulation.own_id,
        replaced=planned.replaces,
        joined=planned.joins,
    )


def _register_simulation(
    connection: sqlite3.Connection,
    planned: SimulationPlan,
    experiment: ExperimentFields,
    output: Structure,
    shard: Structure,
) -> None:
    simulation_id = planned.simulation_id
    found, target = shard.tables["simulations"], output.tables["simulations"]
    is_there = planned.joins and _is_registered(connection, simulation_id)
    if not is_there and not copy_rows(connection, found, target, simulation_id):
        _insert(connection, "simulations", _derived(connection, planned, output))
    _complete_parameters(connection, simulation_id, planned.source.parameters or {})
    connection.execute(
        "UPDATE main.simulations SET experiment_id = coalesce(?, experiment_id, ?),"
        " simulation_db_path = coalesce(nullif(simulation_db_path, ''), ?) WHERE simulation_id = ?",
        (
            experiment.experiment_id,
            experiment.default_id,
            path_text(planned.source.path),
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
    *,
    after: int = 0,
) -> int:
    """Copy the rows of a simulation.

    Args:
        connection: The output, with the shard attached.
        found: The table of the shard.
        target: The table of the output.
        simulation_id: The simulation.
        after: The number after which rows are numbered, where they have no key of their own.

    Returns:
        The number of rows.
    """
    statement = copy_statement(found, target, after=after)
    return connection.execute(statement, (simulation_id,)).rowcount


def copy_statement(found: TableDefinition, target: TableDefinition, *, after: int = 0) -> str:
    """Return what copies the rows of a simulation; what the shard's table lacks is NULL.

    Arguments as for `copy_rows`; the simulation is to be bound.
    """
    table, columns = quoted(target.name), column_list(found)
    lacking = [
        quoted(column.name)
        for column in target.stored
        if not found.column(column.name) and not column.not_null
    ]
    names = ", ".join([*columns, *lacking])
    number = quoted(target.key_names[0]) if after else ""
    moved = (f"{name} + {after}" if name == number else name for name in columns)
    values = ", ".join([*moved, *(["NULL"] * len(lacking))])
    return (
        f"INSERT INTO main.{table} ({names}) SELECT {values} FROM shard.{table}"
        " WHERE simulation_id = ?"
    )


def highest_number(
    connection: sqlite3.Connection, target: TableDefinition, simulation_id: str
) -> int:
    """Return the highest number of a simulation's rows; 0 where rows have a key of their own."""
    if not target.is_numbered:
        return 0
    (highest,) = connection.execute(
        f"SELECT max({quoted(target.key_names[0])}) FROM main.{quoted(target.name)}"
        " WHERE simulation_id = ?",
        (simulation_id,),
    ).fetchone()
    return max(highest or 0, 0)


def column_list(table: TableDefinition) -> list[str]:
    """Return the quoted names of a shard's table, with the `simulation_id` in front."""
    own = [quoted(column.name) for column in table.stored]
    return [SIMULATION_ID, *own] if table.merged else own


def _is_registered(connection: sqlite3.Connection, simulation_id: str) -> bool:
    row = connection.execute(
        "SELECT 1 FROM main.simulations WHERE simulation_id = ?", (simulation_id,)
    ).fetchone()
    return row is not None


def _complete_parameters(
    connection: sqlite3.Connection, simulation_id: str, more: Mapping[str, Any]
) -> None:
    """Add parameters that a simulation does not have; see that SQLite can read them all."""
    text, is_valid = connection.execute(
        "SELECT CAST(parameters AS BLOB), json_valid(parameters) FROM main.simulations"
        " WHERE simulation_id = ?",
        (simulation_id,),
    ).fetchone()
    if is_valid and not more:
        return
    have = json_object(text and text.decode(errors="replace"))
    if have is None and not more:
        return  # whatever it is, it stays
    connection.execute(
        "UPDATE main.simulations SET parameters = ? WHERE simulation_id = ?",
        (json.dumps({**more, **(have or {})}), simulation_id),
    )


def _derived(
    connection: sqlite3.Connection, planned: SimulationPlan, output: Structure
) -> dict[str, Any]:
    """Return the row of `simulations` for a run that has none: from its data, file and folder."""
    simulation_id, source = planned.simulation_id, planned.source
    counts = {
        name: connection.execute(
            f"SELECT count(*) FROM main.{table} WHERE simulation_id = ?", (simulation_id,)
        ).fetchone()[0]
        for name, table in (("steps", "simulation_steps"), ("agents", "agents"))
        if table in output.tables
    }
    written, config = _logged_config(connection, simulation_id, output)
    ended = _time(source.file.identity.mtime_ns / 1e9)
    return {
        "simulation_id": simulation_id,
        "start_time": _time(written),
        "end_time": ended,
        "status": planned.simulation.status or "unknown",
        "parameters": json.dumps(json_object(config) or {}),
        "results_summary": json.dumps(counts) if any(counts.values()) else None,
        "simulation_db_path": path_text(source.path),
    }


def _logged_config(
    connection: sqlite3.Connection, simulation_id: str, output: Structure
) -> tuple[object, object]:
    """Return when a run wrote its configuration, and the configuration."""
    table = output.tables.get("simulation_config")
    if table is None or not (table.column("timestamp") and table.column("config_data")):
        return None, None
    row = connection.execute(
        "SELECT timestamp, CAST(config_data AS BLOB) FROM main.simulation_config"
        f" WHERE simulation_id = ? ORDER BY {', '.join(map(quoted, table.key_names))} LIMIT 1",
        (simulation_id,),
    ).fetchone()
    if row is None:
        return None, None
    written, config = row
    return written, config and config.decode(errors="replace")


def _time(seconds: object) -> str | None:
    """Return a time in the form in which it is stored; None for what no calendar knows."""
    if not isinstance(seconds, int | float) or seconds <= 0:
        return None
    try:
        return stored_time(datetime.fromtimestamp(seconds, UTC))
    except (OverflowError, OSError, ValueError):
        return None


def _insert(connection: sqlite3.Connection, table: str, row: Mapping[str, object]) -> None:
    names = ", ".join(map(quoted, row))
    marks = ", ".join("?" * len(row))
    connection.execute(
        f"INSERT INTO main.{quoted(table)} ({names}) VALUES ({marks})", tuple(row.values())
    )
