"""Simulations: which a file holds, how they ended, and to which experiments they belong."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from farm_merge.errors import ShardError
from farm_merge.merge.inputs.sidecar import json_object
from farm_merge.merge.tables.definition import SIMULATION_ID, affinity
from farm_merge.schema import LEDGER, METADATA_TABLES
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from farm_merge.merge.inputs.reading import Reading
    from farm_merge.sqlite import sqlite3

__all__ = [
    "SimulationIds",
    "experiments_of",
    "has_history",
    "read_experiments",
    "registered_ids",
    "registered_runs",
    "simulation_ids",
]


class SimulationIds(NamedTuple):
    """The ids that a file names.

    Attributes:
        texts: The ids.
        by_column: Whether its columns called `simulation_id` hold them.
        odd: An id that is no text, where there is one.
    """

    texts: frozenset[str]
    by_column: bool
    odd: object = None

    @property
    def first(self) -> str:
        """One of them; empty where there is none."""
        return min(self.texts, default="")


def simulation_ids(reading: Reading) -> SimulationIds:
    """Return the ids that a file names, read from its rows and not only from its registry."""
    found = registered_ids(reading)
    for table, definition in reading.structure.tables.items():
        name = quoted(definition.name)
        if reading.names[table] in METADATA_TABLES:
            continue
        if not (definition.merged or definition.column(SIMULATION_ID)):
            continue
        # Most files hold one simulation, and to see that takes one pass; DISTINCT sorts all rows of
        # a table whose key does not start with the id.
        if not definition.merged and (only := _only_id(reading, name)):
            found.add(only)
        else:
            # BINARY, since a collation of the column might call two ids equal.
            distinct = f"SELECT DISTINCT simulation_id COLLATE BINARY FROM source.{name}"
            rows = reading.connection.execute(distinct)
            ids = {simulation_id for (simulation_id,) in rows}
            found |= ids if definition.merged else ids - {None}
    texts = frozenset(found_id for found_id in found if isinstance(found_id, str))
    if reading.kind == "foreign":
        # Numbers start anew in every file, so they name no simulation.
        by_column = bool(texts) and texts == found
        return SimulationIds(texts if by_column else frozenset(), by_column)
    return SimulationIds(texts, by_column=True, odd=next(iter(found - texts), None))


def _only_id(reading: Reading, table: str) -> object:
    """Return the id that all rows of a table have; None where there is none, or another."""
    first = reading.connection.execute(f"SELECT simulation_id FROM source.{table} LIMIT 1")
    (only,) = first.fetchone() or (None,)
    others = reading.holds(
        f"SELECT 1 FROM source.{table} WHERE simulation_id COLLATE BINARY IS NOT :only", only=only
    )
    return None if others else only


def registered_ids(reading: Reading) -> set[object]:
    """Return the ids in `simulations`; integers there mean nothing, they are 1 in every file."""
    table = reading.registry("simulations")
    column = table and table.column(SIMULATION_ID)
    is_text = column and affinity(column.declared_type) == "TEXT"
    if reading.kind != "today" and not is_text:
        return set()
    rows = reading.connection.execute("SELECT simulation_id FROM source.simulations")
    return {simulation_id for (simulation_id,) in rows}


def registered_runs(
    reading: Reading, ids: frozenset[str]
) -> dict[str | None, tuple[str | None, bool]]:
    """Return what the registry holds about each run: its status, and whether it has parameters.

    One that was closed is over, whatever its status.

    Raises:
        ShardError: If the registry has several runs, and no row names the one that it belongs to.
    """
    table = reading.registry("simulations")
    if not (table and table.column("status") and table.column("end_time")):
        return {}
    has_parameters = "length(parameters) > 2" if table.column("parameters") else "FALSE"
    runs = {
        simulation_id: (status, bool(has))
        for simulation_id, status, has in reading.connection.execute(
            "SELECT simulation_id, CASE WHEN status = 'running' AND end_time IS NOT NULL"
            f" THEN 'closed' ELSE status END, {has_parameters} FROM source.simulations"
        )
    }
    if not ids and len(runs) > 1:
        reason = f"names {len(runs)} simulations, and no row names the one that it belongs to"
        raise ShardError(reason, path=reading.path)
    if not ids and runs:
        return {None: next(iter(runs.values()))}
    return runs


def has_history(reading: Reading) -> bool:
    """Return whether a file has a ledger with entries.

    Raises:
        ShardError: If an entry is none.
    """
    ledger = reading.registry(LEDGER)
    if ledger is None:
        return False
    entries = reading.rows(
        f"SELECT row_counts, choices, simulation_id, fingerprint, source_path FROM source.{LEDGER}"
    )
    if not all(_is_entry(*entry) for entry in entries):
        raise ShardError("has an entry that is none", path=reading.path, table=LEDGER)
    return bool(entries)


def _is_entry(row_counts: object, choices: object, *texts: object) -> bool:
    """Return whether a row of a ledger can be read as one."""
    counts = json_object(row_counts)
    return (
        counts is not None
        and all(isinstance(rows, int) for rows in counts.values())
        and (not choices or json_object(choices) is not None)
        and all(isinstance(text, str) for text in texts)
    )


def experiments_of(reading: Reading) -> dict[str, tuple[object, ...]]:
    """Return how a file describes its experiments, where it has today's registry."""
    table = reading.registry("experiments")
    needed = ("experiment_id", "name", "description", "hypothesis")
    if table is None or not all(map(table.column, needed)):
        return {}
    return read_experiments(reading.connection, "source")


def read_experiments(
    connection: sqlite3.Connection, schema: str = "main"
) -> dict[str, tuple[object, ...]]:
    """Return how a database describes its experiments: name, description, hypothesis."""
    rows = connection.execute(
        f"SELECT experiment_id, name, description, hypothesis FROM {schema}.experiments"
    )
    return {experiment_id: tuple(description) for experiment_id, *description in rows}
