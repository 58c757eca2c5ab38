"""Plan: decide for every simulation what happens to it, before one byte is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from farm_merge.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from farm_merge.merge.inspect import Found, Inspection
    from farm_merge.merge.source import Identity
    from farm_merge.merge.structure import Structure
    from farm_merge.merge.target import Target

__all__ = [
    "Action",
    "LedgerEntry",
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

    @property
    def simulation_id(self) -> str:
        """The simulation, by its name in the output."""
        return str(self.simulation.simulation_id)


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An input, or a simulation of it, that does not reach the output, and why."""

    path: Path
    reason: str
    simulation_id: str | None = None


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What the output's ledger says of a file.

    Attributes:
        simulation_id: What was merged.
        fingerprint: The hash of the file's bytes.
        source_path: Where it stood.
        source_schema: What its schema is called.
        identity: Which file it was, and when it was changed last.
        row_counts: Rows by table.
        in_file: How many simulations the file holds.
    """

    simulation_id: str
    fingerprint: str
    source_path: str
    source_schema: str
    identity: Identity
    row_counts: Mapping[str, int] = field(hash=False)
    in_file: int = 1


@dataclass(frozen=True, slots=True)
class OutputState:
    """What the output holds before the merge.

    Attributes:
        structure: Its tables; None where it does not exist.
        simulation_ids: Its simulations.
        ledger: What was merged from where, the oldest first.
        experiments: What it says about experiments.
    """

    structure: Structure | None = field(default=None, hash=False)
    simulation_ids: frozenset[str] = frozenset()
    ledger: tuple[LedgerEntry, ...] = ()
    experiments: Mapping[str, tuple[object, ...]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole merge, decided: a value that can be shown or carried out.

    Attributes:
        simulations: What happens to each simulation of each input.
        left_out: What does not reach the output, and why.
        target: The tables of the output.
        details: How inputs are carried, where that is not as they stand.
        notes: What a reader should know: what is not carried, and what contradicts.
    """

    simulations: tuple[SimulationPlan, ...]
    left_out: tuple[LeftOut, ...]
    target: Target = field(hash=False)
    details: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def to_write(self) -> tuple[SimulationPlan, ...]:
        """The simulations that are copied, in the order of their keys."""
        written = (each for each in self.simulations if each.action.writes)
        return tuple(sorted(written, key=lambda each: each.simulation_id))

    @property
    def rows(self) -> int:
        """The number of data rows that are copied."""
        return sum(each.simulation.rows for each in self.to_write)


SameContent = Callable[["Inspection", "Inspection | None", str], bool]
"""Compares a simulation of an input with that of another input, or with the output's (None)."""


def make_plan(
    inspections: Iterable[Inspection],
    output: OutputState,
    target: Target,
    same_content: SameContent,
    *,
    include_running: bool,
    on_conflict: OnConflict,
) -> Plan:
    """Decide what happens to every simulation of every input.

    Args:
        inspections: What is known of the inputs; all simulations have their names.
        output: What the output holds.
        target: The tables in which the rows have their place.
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
    merged = {(each.simulation_id, each.fingerprint) for each in output.ledger}
    for source in inspections:
        for found in source.simulations:
            if found.status == "running" and not include_running:
                reason = "its run has not ended; --include-running takes what is committed"
                left_out.append(LeftOut(source.path, reason, found.simulation_id))
                continue
            decided = _decide(source, found, output, merged, taken, same_content, on_conflict)
            simulations.append(decided)
            if decided.action.writes:
                taken[str(found.simulation_id)] = source
            elif decided.action is Action.SKIP:
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
        target,
        (*target.notes, *_told_once((each.path, each.details) for each in inspections)),
        (
            *_experiment_notes(inspections, output),
            *_told_once((each.path, each.notes) for each in inspections),
        ),
    )


def _decide(
    source: Inspection,
    found: Found,
    output: OutputState,
    merged: AbstractSet[tuple[str, str]],
    taken: Mapping[str, Inspection],
    same_content: SameContent,
    on_conflict: OnConflict,
) -> SimulationPlan:
    simulation_id = str(found.simulation_id)
    if (simulation_id, source.fingerprint) in merged and simulation_id in output.simulation_ids:
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


def _told_once(told: Iterable[tuple[Path, Iterable[str]]]) -> Iterator[str]:
    """Tell something once for all files of which it is true."""
    paths: dict[str, list[Path]] = {}
    for path, notes in told:
        for note in notes:
            paths.setdefault(note, []).append(path)
    for note, files in paths.items():
        others = f" and {len(files) - 1:,} others" if len(files) > 1 else ""
        yield f"{files[0]}{others}: {note}"
