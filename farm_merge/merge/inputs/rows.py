"""Rows: how many each simulation of a file brings, and which of them the output cannot hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from farm_merge.merge.inputs.input import Choices
from farm_merge.merge.tables.definition import SIMULATION_ID, affinity, folded
from farm_merge.merge.tables.structure import today
from farm_merge.schema import DATA_TABLES, METADATA_TABLES
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from farm_merge.merge.inputs.input import KeptRow
    from farm_merge.merge.inputs.mapping import FileMapping, TableMapping, Traits
    from farm_merge.merge.inputs.reading import Reading
    from farm_merge.merge.inputs.simulations import SimulationIds
    from farm_merge.merge.tables.definition import TableDefinition

__all__ = ["FoundRows", "read_rows"]

_ID_PARAMETER = ":simulation_id"


@dataclass(frozen=True, slots=True)
class FoundRows:
    """What was found about the rows of a file.

    Attributes:
        counts: Rows by table of the output, by simulation; None for one that the file does not
            name.
        choices: What is not carried as it is.
        problems: Why rows cannot be carried.
    """

    counts: Mapping[str | None, Mapping[str, int]]
    choices: Choices
    problems: tuple[str, ...]


@dataclass(slots=True)
class _Duplicates:
    """Rows that repeat the key of another, by the simulation as its expression reads."""

    by_simulation: Counter[tuple[object, str]] = field(default_factory=Counter)
    kept: dict[str, tuple[KeptRow, int]] = field(default_factory=dict)


def read_rows(
    reading: Reading,
    mapping: FileMapping,
    ids: SimulationIds,
    traits: Traits,
    keep: KeptRow | None,
) -> FoundRows:
    """Count the rows that a file brings, and look for those that the output cannot hold.

    Args:
        reading: The file.
        mapping: How its tables are carried.
        ids: The simulations that it names.
        traits: What decided the mapping.
        keep: Which of several rows with one key is carried; None makes them a problem.
    """
    data = [table for table in mapping.tables if table.target not in METADATA_TABLES]
    problems: list[str] = []
    duplicates = _Duplicates()
    for table in data:
        source = reading.structure.tables[folded(table.source)]
        if table.target not in DATA_TABLES or source == today().tables[table.target]:
            continue
        if table.target == "agent_states" and _has_ids_of_its_keys(source, traits):
            continue
        problems += _missing_values(reading, table, source, ids.first)
        if not _keeps_its_key(table, source):
            problems += _repeated_keys(reading, table, ids.first, keep, duplicates)
    counts, unattributed = _counts(reading, data, ids, traits, duplicates)
    problems += unattributed
    problems += _ambiguous_agents(reading, data, traits)
    choices = Choices(duplicates.kept, _unresolved(reading, data, ids.first, traits))
    return FoundRows(counts, choices, tuple(problems))


def _missing_values(
    reading: Reading, table: TableMapping, source: TableDefinition, simulation_id: str
) -> Iterator[str]:
    """Report the rows that lack what the output asks for."""
    columns = dict(table.columns)
    required = [
        column.name
        for column in table.definition.stored
        if column.not_null and not _is_surely_filled(source, columns.get(column.name))
    ]
    if not required:
        return
    asked = ", ".join(f"sum({columns.get(name, 'NULL')} IS NULL)" for name in required)
    found = reading.ask(f"SELECT {asked} {table.origin}", simulation_id)
    for name, missing in zip(required, found, strict=True):
        if missing:
            yield (
                f"table {table.source}: {missing:,} rows have no {name}, which {table.target} needs"
            )


def _keeps_its_key(table: TableMapping, source: TableDefinition) -> bool:
    """Return whether the key that rows get is one that they have, or a number of their own."""
    keys = _key_expressions(table)
    own_key = {f"t.{quoted(name)}" for name in source.key_names}
    return bool(own_key and own_key <= {*keys, 't."simulation_id"'}) or any(
        key.startswith("row_number()") for key in keys
    )


def _key_expressions(table: TableMapping) -> list[str]:
    columns = dict(table.columns)
    return [columns.get(name, "NULL") for name in table.definition.key_names]


def _repeated_keys(
    reading: Reading,
    table: TableMapping,
    simulation_id: str,
    keep: KeptRow | None,
    duplicates: _Duplicates,
) -> Iterator[str]:
    """Count the rows that repeat a key, and report them if nobody chose which is carried."""
    terms = ", ".join([table.simulation, *_key_expressions(table)])
    rows = reading.connection.execute(
        f"SELECT s, sum(n - 1) FROM (SELECT {table.simulation} AS s, count(*) AS n"
        f" {table.origin} GROUP BY {terms} HAVING n > 1) GROUP BY s",
        {SIMULATION_ID: simulation_id},
    ).fetchall()
    total = sum(number for _, number in rows)
    if not total:
        return
    if keep is None:
        key = ", ".join(table.definition.key_names)
        yield (
            f"table {table.source}: {total:,} rows repeat a key ({key});"
            " `on_duplicate_row=first` or `on_duplicate_row=last` chooses the one that is carried"
        )
        return
    duplicates.kept[table.target] = (keep, total)
    for simulation, number in rows:
        duplicates.by_simulation[simulation, table.target] = number


def _counts(
    reading: Reading,
    data: list[TableMapping],
    ids: SimulationIds,
    traits: Traits,
    duplicates: _Duplicates,
) -> tuple[dict[str | None, dict[str, int]], list[str]]:
    """Count the rows that each simulation will have in the output."""
    only = None if traits.ids == "none" else ids.first
    counts: dict[str | None, dict[str, int]] = {found: {} for found in ids.texts or {only}}
    problems: list[str] = []
    for table in data:
        if table.simulation != _ID_PARAMETER:
            rows = reading.connection.execute(
                f"SELECT {table.simulation}, count(*) {table.origin} GROUP BY 1"
            ).fetchall()
        else:
            (number,) = reading.ask(f"SELECT count(*) FROM source.{quoted(table.source)}")
            rows = [(only, number)]
            if traits.ids == "many" and number:
                problems.append(
                    f"table {table.source}: {number:,} rows name no simulation,"
                    f" and the file holds {len(ids.texts)}"
                )
                continue
        for simulation, number in rows:
            if traits.ids == "many" and simulation is None:
                problems.append(
                    f"table {table.source}: {number:,} rows have neither a simulation_id nor"
                    " an agent that has one"
                )
            elif number:
                read_as = ids.first if table.simulation == _ID_PARAMETER else simulation
                dropped = duplicates.by_simulation[read_as, table.target]
                counts.setdefault(simulation, {})[table.target] = number - dropped
    return counts, problems


def _ambiguous_agents(reading: Reading, data: list[TableMapping], traits: Traits) -> Iterator[str]:
    """Report rows without an id whose agent lives in several simulations."""
    if traits.ids != "many":
        return
    with_agents = [
        quoted(table.source)
        for table in data
        if table.target in {"agents", "agent_states", "agent_actions"}
        and reading.structure.tables[folded(table.source)].column(SIMULATION_ID)
    ]
    ids_of_agent = " UNION ALL ".join(
        f"SELECT simulation_id FROM source.{name} WHERE agent_id = t.agent_id"
        for name in with_agents
    )
    for table in data:
        if not table.simulation.startswith("coalesce"):
            continue
        (unclear,) = reading.ask(
            f"SELECT count(*) FROM source.{quoted(table.source)} AS t WHERE t.simulation_id IS NULL"
            f" AND (SELECT count(DISTINCT simulation_id) FROM ({ids_of_agent})) > 1"
        )
        if unclear:
            yield (
                f"table {table.source}: {unclear:,} rows have no simulation_id, and several"
                " simulations have their agent"
            )


def _unresolved(
    reading: Reading, data: list[TableMapping], simulation_id: str, traits: Traits
) -> dict[str, int]:
    """Count the references of actions that point at no state."""
    unresolved: dict[str, int] = {}
    for name in traits.state_references:
        (actions,) = (table for table in data if table.target == "agent_actions")
        resolved = dict(actions.columns)[name]
        (number,) = reading.connection.execute(
            f"SELECT count(*) {actions.origin} WHERE t.{name} IS NOT NULL AND {resolved} IS NULL",
            {SIMULATION_ID: simulation_id},
        ).fetchone()
        if number:
            unresolved[name] = number
    return unresolved


def _has_ids_of_its_keys(states: TableDefinition, traits: Traits) -> bool:
    """Return whether every state's unique id is made of its key: no key has NULL or comes twice."""
    own, step, agent = map(states.column, ("id", "step_number", "agent_id"))
    return (
        own is not None
        and own.not_null
        and states.key_names == ("id",)
        and not traits.original_ids
        and step is not None
        and "INT" in step.declared_type.upper()  # else 1 and 1.0 are two ids of one key
        and agent is not None
        and affinity(agent.declared_type) == "TEXT"
    )


def _is_surely_filled(source: TableDefinition, expression: str | None) -> bool:
    """Return whether a column of a file cannot hold NULL."""
    if expression is None:
        return False
    if expression.startswith("row_number()"):
        return True
    return any(
        column.not_null and expression == f"t.{quoted(column.name)}" for column in source.columns
    )
