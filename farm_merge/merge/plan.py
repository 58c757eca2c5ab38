"""Plan: decide for every simulation what happens to it, before one byte is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from farm_merge.errors import ConflictError, ShardError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from farm_merge.merge.inspect import Column, Found, Inspection, Structure

__all__ = [
    "Action",
    "LeftOut",
    "OnConflict",
    "OutputState",
    "Plan",
    "SimulationPlan",
    "make_plan",
]

OnConflict = Literal["error", "skip", "replace"]


class Action(StrEnum):
    """What happens to a simulation of an input."""

    COPY = "merged"
    REPLACE = "replaced"
    ALREADY_MERGED = "already merged"
    SKIP = "skipped"

    @property
    def writes(self) -> bool:
        """Whether the output changes."""
        return self in (Action.COPY, Action.REPLACE)


@dataclass(frozen=True, slots=True)
class SimulationPlan:
    """What happens to one simulation of one input, and why."""

    source: Inspection
    simulation: Found
    action: Action
    reason: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An input, or a simulation of it, that does not reach the output, and why."""

    path: Path
    reason: str
    simulation_id: str | None = None


@dataclass(frozen=True, slots=True)
class OutputState:
    """What the output holds before the merge; nothing, where it does not exist."""

    structure: Structure = field(hash=False)
    simulation_ids: frozenset[str] = frozenset()
    ledger: frozenset[tuple[str, str]] = frozenset()
    experiments: Mapping[str, tuple[object, ...]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole merge, decided: a value that can be shown or carried out."""

    simulations: tuple[SimulationPlan, ...]
    left_out: tuple[LeftOut, ...]
    added_columns: tuple[tuple[str, Column], ...]
    notes: tuple[str, ...]

    @property
    def to_write(self) -> tuple[SimulationPlan, ...]:
        """The simulations that are copied, in the order of their keys."""
        written = (each for each in self.simulations if each.action.writes)
        return tuple(sorted(written, key=lambda each: each.simulation.simulation_id))

    @property
    def rows(self) -> int:
        """The number of data rows that are copied."""
        return sum(each.simulation.rows for each in self.to_write)


SameContent = Callable[["Inspection", "Inspection | None", str], bool]
"""Compares a simulation of an input with that of another input, or with the output's (None)."""


def make_plan(
    inspections: Iterable[Inspection],
    output: OutputState,
    same_content: SameContent,
    *,
    include_running: bool,
    on_conflict: OnConflict,
) -> Plan:
    """Decide what happens to every simulation of every input.

    Args:
        inspections: What is known of the inputs.
        output: What the output holds.
        same_content: Tells whether two versions of a simulation have the same data.
        include_running: Whether runs that have not ended are merged as far as they got.
        on_conflict: What wins when a simulation_id stands for different data.

    Raises:
        ConflictError: If `on_conflict` is "error" and there are conflicts; all are named.
    """
    simulations: list[SimulationPlan] = []
    left_out: list[LeftOut] = []
    conflicts: list[str] = []
    taken: dict[str, Inspection] = {}
    inspections = tuple(inspections)
    for source in inspections:
        for found in source.simulations:
            if found.status == "running" and not include_running:
                reason = "its run has not ended; --include-running takes what is committed"
                left_out.append(LeftOut(source.path, reason, found.simulation_id))
                continue
            decided = _decide(source, found, output, taken, same_content, on_conflict)
            simulations.append(decided)
            if decided.action is not Action.SKIP:
                taken.setdefault(found.simulation_id, source)
            else:
                left_out.append(LeftOut(source.path, decided.reason, found.simulation_id))
                conflicts.append(f"{source.path}: {decided.reason}")
    if conflicts and on_conflict == "error":
        raise ConflictError(
            "\n".join(conflicts) + "\nNothing was written."
            " --on-conflict skip keeps what is there, replace takes the new."
        )
    return Plan(
        tuple(simulations),
        tuple(left_out),
        _added_columns(inspections, output.structure),
        (*_experiment_notes(inspections, output), *_not_carried_notes(inspections)),
    )


def _decide(
    source: Inspection,
    found: Found,
    output: OutputState,
    taken: Mapping[str, Inspection],
    same_content: SameContent,
    on_conflict: OnConflict,
) -> SimulationPlan:
    simulation_id = found.simulation_id
    if (simulation_id, source.fingerprint) in output.ledger:
        return SimulationPlan(source, found, Action.ALREADY_MERGED, "the ledger has this very file")
    rival = taken.get(simulation_id)
    if rival is None and simulation_id not in output.simulation_ids:
        return SimulationPlan(source, found, Action.COPY, "new")
    where = f"in {rival.path}" if rival else "in the output"
    same_bytes = rival is not None and rival.fingerprint == source.fingerprint
    if same_bytes or same_content(source, rival, simulation_id):
        return SimulationPlan(source, found, Action.ALREADY_MERGED, f"the same data is {where}")
    if on_conflict == "replace" and rival is None:
        return SimulationPlan(source, found, Action.REPLACE, "replaces other data in the output")
    reason = f"simulation {simulation_id!r} has other data here than {where}"
    return SimulationPlan(source, found, Action.SKIP, reason)


def _experiment_notes(inspections: Iterable[Inspection], output: OutputState) -> Iterator[str]:
    """Tell where inputs describe one experiment differently; the first description wins."""
    described = dict(output.experiments)
    for source in inspections:
        for experiment_id, description in source.experiments.items():
            if described.setdefault(experiment_id, description) != description:
                yield (
                    f"{source.path}: describes experiment {experiment_id!r} differently;"
                    " the description that was there first is kept"
                )


def _not_carried_notes(inspections: Iterable[Inspection]) -> Iterator[str]:
    for source in inspections:
        if source.not_carried:
            yield f"{source.path}: holds no data, so not carried: {', '.join(source.not_carried)}"


def _added_columns(
    inspections: Iterable[Inspection], structure: Structure
) -> tuple[tuple[str, Column], ...]:
    """Return the columns that inputs have and the output lacks, each once."""
    added: dict[tuple[str, str], Column] = {}
    for source in inspections:
        for table, columns in source.structure.items():
            for key, column in columns.items():
                if key not in structure[table]:
                    _require_same_type(
                        source, table, column, added.setdefault((table, key), column)
                    )
    return tuple((table, column) for (table, _), column in added.items())


def _require_same_type(source: Inspection, table: str, column: Column, chosen: Column) -> None:
    if column.declared_type.upper() != chosen.declared_type.upper():
        raise ShardError(
            f"{source.path}: table {table}, column {column.name} is declared"
            f" {column.declared_type or 'without type'}, in another shard"
            f" {chosen.declared_type or 'without type'}; values could change, so nothing was merged"
        )
