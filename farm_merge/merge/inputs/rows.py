"""Rows: how many each simulation of a file brings, and which of them the output cannot hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from farm_merge.merge.inputs.input import Choices
from farm_merge.merge.tables.definition import affinity, folded
from farm_merge.merge.tables.structure import today
from farm_merge.schema import DATA_TABLES, METADATA_TABLES
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from farm_merge.merge.inputs.input import KeptRow
    from farm_merge.merge.inputs.mapping import FileMapping, TableMapping, Traits
    from farm_merge.merge.inputs.reading import Reading
    from farm_merge.merge.inputs.simulations import SimulationIds
    from farm_merge.merge.options import OnOrphanRows
    from farm_merge.merge.tables.definition import TableDefinition

__all__ = ["FoundRows", "Problem", "read_rows"]

_ID_PARAMETER = ":simulation_id"


class Problem(NamedTuple):
    """Why rows cannot be carried, and what to do about it; options are in backquotes."""

    reason: str
    remedy: str = ""


class FoundRows(NamedTuple):
    """What was found about the rows of a file.

    Attributes:
        counts: Rows by table of the output, by simulation; None for one that the file does not
            name, or for rows of nobody.
        choices: What is not carried as it is.
        problems: Why rows cannot be carried.
    """

    counts: Mapping[str | None, Mapping[str, int]]
    choices: Choices
    problems: tuple[Problem, ...]


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
    on_orphan_rows: OnOrphanRows,
) -> FoundRows:
    """Count the rows that a file brings, and look for those that the output cannot hold.

    Args:
        reading: The file.
        mapping: How its tables are carried.
        ids: The simulations that it names.
        traits: What decided the mapping.
        keep: Which of several rows with one key is carried; None makes them a problem.
        on_orphan_rows: What becomes of rows that belong to none of several simulations.
    """
    data = [table for table in mapping.tables if table.target not in METADATA_TABLES]
    problems: list[Problem] = []
    duplicates = _Duplicates()
    for table in data:
        source = reading.structure.tables[folded(table.source)]
        # Own tables keep their keys, or are numbered; a shard's tables have today's.
        if table.target not in DATA_TABLES or source == today().tables[table.target]:
            continue
        if table.target == "agent_states" and _has_ids_of_its_keys(source, traits):
            continue
        problems += _missing_values(reading, table, source, ids.first)
        if not _keeps_its_key(table, source):
            problems += _repeated_keys(reading, table, ids.first, keep, duplicates)
    counts = _counts(reading, data, ids, traits, duplicates)
    orphans, unwanted = _orphans(counts, ids, on_orphan_rows)
    unresolved = _unresolved(reading, data, ids.first, traits)
    choices = Choices(duplicates.kept, unresolved, orphans, on_orphan_rows == "keep")
    return FoundRows(counts, choices, (*problems, *unwanted))


def _missing_values(
    reading: Reading, table: TableMapping, source: TableDefinition, simulation_id: str
) -> Iterator[Problem]:
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
            yield Problem(
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
) -> Iterator[Problem]:
    """Count the rows that repeat a key, and report them if nobody chose which is carried."""
    terms = ", ".join([table.simulation, *_key_expressions(table)])
    rows = reading.rows(
        # Of n rows with one key, n - 1 are not carried.
        f"SELECT s, sum(n - 1) FROM (SELECT {table.simulation} AS s, count(*) AS n"
        f" {table.origin} GROUP BY {terms} HAVING n > 1) GROUP BY s",
        simulation_id,
    )
    total = sum(number for _, number in rows)
    if not total:
        return
    if keep is None:
        key = ", ".join(table.definition.key_names)
        yield Problem(
            f"table {table.source}: {total:,} rows repeat a key ({key})",
            "`on_duplicate_row=first` or `on_duplicate_row=last` chooses the one that is carried",
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
) -> dict[str | None, dict[str, int]]:
    """Count the rows that each simulation will have in the output.

    Rows of nobody, in a file of several simulations, are counted under None.
    """
    only = None if traits.ids == "none" else ids.first
    counts: dict[str | None, dict[str, int]] = {found: {} for found in ids.texts or {only}}
    for table in data:
        if table.simulation == _ID_PARAMETER:  # all rows are of one: nothing has to be grouped
            ((number,),) = reading.rows(f"SELECT count(*) FROM source.{quoted(table.source)}")
            rows = [(only, number, ids.first)]
        else:
            by_simulation = f"SELECT {table.simulation}, count(*) {table.origin} GROUP BY 1"
            rows = [(found, number, found) for found, number in reading.rows(by_simulation)]
        for simulation, number, read_as in rows:
            if number:
                dropped = duplicates.by_simulation[read_as, table.target]
                counts.setdefault(simulation, {})[table.target] = number - dropped
    return counts


def _orphans(
    counts: dict[str | None, dict[str, int]], ids: SimulationIds, policy: OnOrphanRows
) -> tuple[Mapping[str, int], list[Problem]]:
    """Return the rows of nobody by table, and what speaks against carrying them.

    Those that are not carried are taken out of the counts.
    """
    orphans = counts.get(None, {}) if len(ids.texts) > 1 else {}
    if not orphans:
        return {}, []
    if policy == "error":
        remedy = (
            "`on_orphan_rows=keep` carries them under one of their own, `on_orphan_rows=skip`"
            " carries the others"
        )
        nobody = f"belong to none of the {len(ids.texts)} simulations"
        return orphans, [
            Problem(f"table {table}: {number:,} rows {nobody}", remedy)
            for table, number in orphans.items()
        ]
    if policy == "skip":
        del counts[None]
    return orphans, []


def _unresolved(
    reading: Reading, data: list[TableMapping], simulation_id: str, traits: Traits
) -> dict[str, int]:
    """Count the references of actions that point at no state."""
    unresolved: dict[str, int] = {}
    for name in traits.state_references:
        (actions,) = (table for table in data if table.target == "agent_actions")
        resolved = dict(actions.columns)[name]
        ((number,),) = reading.rows(
            f"SELECT count(*) {actions.origin} WHERE t.{name} IS NOT NULL AND {resolved} IS NULL",
            simulation_id,
        )
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
