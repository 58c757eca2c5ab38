"""Plan: what happens to every simulation, decided before one byte is written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from farm_merge.errors import ConflictError, ShardError, for_python
from farm_merge.merge.plan.recognize import and_others, doubles
from farm_merge.merge.plan.shown import in_a_line, in_a_table
from farm_merge.merge.plan.template import Template

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from farm_merge.merge.inputs.input import Contents, Input, SimulationInFile
    from farm_merge.merge.ledger import Recalled
    from farm_merge.merge.options import Options
    from farm_merge.merge.plan.output import Output
    from farm_merge.merge.plan.target import Target

__all__ = [
    "Action",
    "Comparison",
    "LeftOut",
    "Outcome",
    "Plan",
    "SameContent",
    "SimulationPlan",
    "count_files",
    "decide",
    "unmergeable",
]


class Action(StrEnum):
    """What happens to a simulation of an input."""

    COPY = "merged"
    REPLACE = "replaced"
    JOIN = "joined"
    ALREADY_MERGED = "already merged"
    SKIP = "skipped"

    @property
    def writes(self) -> bool:
        """Whether the output changes."""
        return self in (Action.COPY, Action.REPLACE, Action.JOIN)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happens, or happened, to a simulation of an input, and why.

    Attributes:
        simulation_id: Its name in the output.
        path: The input.
        schema: What the input's schema is called.
        action: What happens.
        reason: Why.
        row_counts: Its rows by table of the output; None as long as they are not counted.
        status: How the run ended, according to its file; None where it has no status.
    """

    simulation_id: str
    path: Path
    schema: str
    action: Action
    reason: str
    row_counts: Mapping[str, int] | None = field(hash=False)
    status: str | None = None

    @property
    def rows(self) -> int:
        """The number of its rows, as far as they are counted."""
        return sum((self.row_counts or {}).values())

    def __str__(self) -> str:
        """Return it in a line."""
        return f"{self.action}: {self.path} [{self.simulation_id}] ({self.reason})"


@dataclass(frozen=True, slots=True)
class SimulationPlan:
    """A simulation that is to be written.

    Attributes:
        source: The input that holds it.
        simulation: What is known of it from the input.
        outcome: What happens to it.
    """

    source: Input
    simulation: SimulationInFile
    outcome: Outcome

    @property
    def simulation_id(self) -> str:
        """Its name in the output."""
        return self.outcome.simulation_id

    @property
    def replaces(self) -> bool:
        """Whether other data in the output gives way."""
        return self.outcome.action is Action.REPLACE

    @property
    def joins(self) -> bool:
        """Whether its rows are added to those of another file."""
        return self.outcome.action is Action.JOIN

    def with_contents(self, contents: Contents) -> SimulationPlan:
        """Return the plan with what was read of its input, which holds this simulation alone."""
        (row_counts,) = contents.row_counts
        return replace(
            self,
            source=replace(self.source, contents=contents),
            outcome=replace(self.outcome, row_counts=row_counts),
        )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An input, or a simulation of it, that does not reach the output, and why.

    Attributes:
        path: The input.
        reason: Why.
        simulation_id: The simulation; None for the whole input.
        remedy: What to do about it; options are in backquotes.
    """

    path: Path
    reason: str
    simulation_id: str | None = None
    remedy: str = ""

    @classmethod
    def because_of(cls, path: Path, error: ShardError) -> LeftOut:
        """Return an input that is left out because of an error."""
        where = "" if error.path in {None, path} else f"{error.path}: "
        table = "" if error.table is None else f"table {error.table}: "
        return cls(path, f"{where}{table}{error.reason}", remedy=error.remedy)

    def explained(self, worded: Callable[[str], str] = for_python) -> str:
        """Return the reason, with advice as its reader writes it."""
        return worded("; ".join(filter(None, (self.reason, self.remedy))))


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole merge, decided: a value that can be shown or carried out.

    Attributes:
        to_write: The simulations that are written, in the order of their keys.
        settled: The simulations of which nothing is written.
        left_out: What does not reach the output, and why.
        output: What the output holds before.
        target: The tables of the output.
        details: How inputs are carried, where that is not as they are.
        notes: What a reader should know: what is not carried, and what contradicts.
    """

    to_write: tuple[SimulationPlan, ...]
    settled: tuple[Outcome, ...]
    left_out: tuple[LeftOut, ...]
    output: Output = field(hash=False)
    target: Target = field(hash=False)
    details: tuple[str, ...]
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<Plan: {self._summary()}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return in_a_table(self._summary(), self.outcomes, self.left_out)

    def _summary(self) -> str:
        line = in_a_line(self.output.path, self.outcomes, self.left_out, planned=True)
        return f"nothing is written yet; {line}"

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """What happens to every simulation."""
        return (*(planned.outcome for planned in self.to_write), *self.settled)

    @property
    def rows(self) -> int:
        """The number of data rows that are copied, as far as they are counted."""
        return sum(planned.outcome.rows for planned in self.to_write)


def count_files(outcomes: Iterable[Outcome], left_out: Iterable[LeftOut]) -> dict[str, int]:
    """Return how many files were found, by what becomes of them; each is counted once.

    One of which some simulations are merged and others left out is merged; one of which some are
    there already and others left out is left out.
    """
    outcomes = list(outcomes)
    merged = {outcome.path for outcome in outcomes if outcome.action.writes}
    kept_out = {left.path for left in left_out} - merged
    there = {outcome.path for outcome in outcomes} - merged - kept_out
    return {"merged": len(merged), "already there": len(there), "left out": len(kept_out)}


def unmergeable(bad: Iterable[LeftOut]) -> ShardError:
    """Return the error that names all inputs that cannot be merged."""
    causes = [ShardError(left.reason, path=left.path, remedy=left.remedy) for left in bad]
    return ShardError(
        f"{len(causes):,} of the inputs cannot be merged, and nothing was written:",
        causes=causes,
        remedy="put them right, or leave them out with `on_bad_shard=skip`",
    )


class Comparison(Protocol):
    """Compares a simulation of an input with another input's, or with the output's (None)."""

    def is_same(self, source: Input, rival: Input | None, simulation_id: str) -> bool:
        """Return whether both have the same data."""

    def clash(self, source: Input, rival: Input | None, simulation_id: str) -> str:
        """Return the tables in which both have a row of one key; empty if there is none."""


SameContent = Callable[["Input", "Input | None", str], bool]
"""Compares a simulation of an input with that of another input, or with the output's (None)."""


def decide(
    sources: Sequence[Input],
    recalled: Iterable[Recalled],
    output: Output,
    target: Target,
    comparison: Comparison,
    options: Options,
) -> Plan:
    """Decide what happens to every simulation of every input.

    Args:
        sources: What is known of the inputs; all simulations have their names.
        recalled: Inputs that the ledger knows.
        output: What the output holds.
        target: The tables in which the rows have their place.
        comparison: Compares the data of inputs and of the output.
        options: What the user decided.

    Raises:
        ConflictError: If `on_conflict` is "error" and there are conflicts; all are named.
    """
    decider = _Decider(output, comparison, options)
    settled = [outcome for file in recalled for outcome in _already_merged(file)]
    for source in sources:
        decider.add(source)
    if decider.conflicts and options.on_conflict == "error":
        raise ConflictError(
            f"{len(decider.conflicts):,} simulations contradict what is there;"
            " nothing was written:",
            causes=decider.conflicts,
            remedy=_ways_on(sources, options),
        )
    return Plan(
        tuple(sorted(decider.to_write, key=lambda planned: planned.simulation_id)),
        (*settled, *decider.settled),
        tuple(decider.left_out),
        output,
        target,
        tuple(_once((source.path, source.details) for source in sources)),
        (
            *doubles(
                output, ((planned.source, planned.simulation) for planned in decider.to_write)
            ),
            *_experiment_notes(sources, output),
            *_once((source.path, source.notes) for source in sources),
        ),
    )


def _ways_on(sources: Iterable[Input], options: Options) -> str:
    """Return what a user can do about conflicts; of files that are joined nothing is replaced."""
    keep = "`on_conflict=skip` keeps what is there"
    rename = f"a name of their own keeps both (`simulation_id={_separating_template(sources)}`)"
    if options.join:
        return f"{keep}, and {rename}"
    return (
        f"{keep}, `on_conflict=replace` takes the new, {rename}, and `join` makes one simulation of"
        " several files"
    )


_TEMPLATES = ("{parent}_{id}", "{stem}_{id}", "{parent}_{name}_{id}")
"""Names for runs that have one id, the shortest first."""


def _separating_template(sources: Iterable[Input]) -> str:
    """Return a template under which every file's runs have names of their own."""
    runs = [(source, run) for source in sources for run in source.simulations]
    for text in _TEMPLATES:
        template = Template(text, None, joins=False)
        paths: dict[str, set[Path]] = defaultdict(set)
        for source, run in runs:
            paths[template.name(source, run)].add(source.path)
        if all(len(found) == 1 for found in paths.values()):
            return text
    return "{grandparent}_{parent}_{name}_{id}"


class _Decider:
    """What was decided so far."""

    def __init__(self, output: Output, comparison: Comparison, options: Options) -> None:
        self._output = output
        self._comparison = comparison
        self._options = options
        self._known = {(entry.simulation_id, entry.fingerprint) for entry in output.ledger}
        self._taken: dict[str, list[Input]] = {}
        self.to_write: list[SimulationPlan] = []
        self.settled: list[Outcome] = []
        self.left_out: list[LeftOut] = []
        self.conflicts: list[ConflictError] = []

    def add(self, source: Input) -> None:
        """Decide what happens to the simulations of an input."""
        for number, simulation in enumerate(source.simulations):
            if simulation.evidence and not self._options.include_running:
                self.left_out.append(_still_running(source.path, simulation))
                continue
            simulation_id = simulation.simulation_id
            action, reason = self._decide(source, simulation_id)
            counts = source.contents.row_counts[number] if source.contents else None
            outcome = Outcome(
                simulation_id, source.path, source.schema, action, reason, counts, simulation.status
            )
            if action.writes:
                self._taken.setdefault(simulation_id, []).append(source)
                self.to_write.append(SimulationPlan(source, simulation, outcome))
                continue
            self.settled.append(outcome)
            if action is Action.SKIP:  # an error too, unless the user chose what wins
                self.left_out.append(LeftOut(source.path, reason, simulation_id))
                self.conflicts.append(ConflictError(reason, path=source.path))

    def _decide(self, source: Input, simulation_id: str) -> tuple[Action, str]:
        is_there = simulation_id in self._output.simulation_ids
        fingerprint = source.contents.fingerprint if source.contents else None
        if is_there and (simulation_id, fingerprint) in self._known:
            return Action.ALREADY_MERGED, "the ledger has this very file"
        # An earlier input counts more than the output: it may be about to replace what is there.
        rivals: list[Input | None] = [*self._taken.get(simulation_id, ())]
        if is_there and not any(rivals):
            rivals = [None]  # the output itself
        if not rivals:
            return Action.COPY, "new"
        for rival in rivals:
            if self._is_same(source, rival, simulation_id):
                return Action.ALREADY_MERGED, f"the same data is {_place(rival)}"
        if self._options.join:
            return self._join(source, rivals, simulation_id)
        if self._options.on_conflict == "replace" and rivals == [None]:
            return Action.REPLACE, "replaces other data in the output"
        place = _place(rivals[0])
        return Action.SKIP, f"simulation {simulation_id!r} has other data here than {place}"

    def _is_same(self, source: Input, rival: Input | None, simulation_id: str) -> bool:
        if rival and rival.contents and source.contents:
            same_bytes = rival.contents.fingerprint == source.contents.fingerprint
            if same_bytes and len(source.simulations) == 1:
                return True
        return self._comparison.is_same(source, rival, simulation_id)

    def _join(
        self, source: Input, rivals: list[Input | None], simulation_id: str
    ) -> tuple[Action, str]:
        if simulation_id in self._output.simulation_ids and None not in rivals:
            rivals = [None, *rivals]
        for rival in rivals:
            if clash := self._comparison.clash(source, rival, simulation_id):
                reason = f"simulation {simulation_id!r} has rows of the same keys {_place(rival)}"
                return Action.SKIP, f"{reason}, in {clash}"
        return Action.JOIN, f"added to what is {_place(rivals[0])}"


def _place(rival: Input | None) -> str:
    return f"in {rival.path}" if rival else "in the output"


def _already_merged(file: Recalled) -> Iterator[Outcome]:
    reason = "the ledger has this very file"
    for entry in file.entries:
        yield Outcome(
            entry.simulation_id,
            file.path,
            entry.source_schema,
            Action.ALREADY_MERGED,
            reason,
            entry.row_counts,
        )


def _still_running(path: Path, simulation: SimulationInFile) -> LeftOut:
    return LeftOut(
        path,
        f"its run has not ended: {simulation.evidence}",
        simulation.simulation_id,
        "`include_running` takes what is committed",
    )


def _experiment_notes(sources: Iterable[Input], output: Output) -> Iterator[str]:
    """Report where inputs describe one experiment differently; the first description wins."""
    described = dict(output.experiments)
    for source in sources:
        for experiment_id, description in source.experiments.items():
            if described.setdefault(experiment_id, description) != description:
                yield (
                    f"{source.path}: describes experiment {experiment_id!r} differently;"
                    " the description that was there first is kept"
                )


def _once(found: Iterable[tuple[Path, Iterable[str]]]) -> Iterator[str]:
    """Yield each note once, with the first of the files that it is true of."""
    paths: dict[str, list[Path]] = {}
    for path, notes in found:
        for note in notes:
            paths.setdefault(note, []).append(path)
    for note, files in paths.items():
        yield f"{files[0]}{and_others(len(files) - 1)}: {note}"
