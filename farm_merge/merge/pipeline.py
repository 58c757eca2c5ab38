"""The whole path: find, inspect, plan, copy, verify, publish."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from farm_merge.driver import sqlite3
from farm_merge.errors import OutputError, ShardError
from farm_merge.merge.copy import Registration, add_columns, attached, copy_simulation
from farm_merge.merge.find import find_shards
from farm_merge.merge.inspect import (
    Inspection,
    inspect_shard,
    read_experiments,
    read_structure,
    today,
)
from farm_merge.merge.plan import Action, LeftOut, OutputState, make_plan
from farm_merge.merge.publish import (
    existing_output,
    locked,
    new_output,
    read_output,
    require_usable,
    settle_output,
)
from farm_merge.merge.source import identify, opened, readable
from farm_merge.merge.verify import require_health, same_content
from farm_merge.schema import LEDGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from os import PathLike

    from farm_merge.merge.plan import OnConflict, Plan, SimulationPlan

__all__ = ["MergeReport", "Merged", "OnBadShard", "Progress", "merge_shards"]

OnBadShard = Literal["stop", "skip"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a merge has come.

    Attributes:
        phase: "wait", "inspect", "copy" or "verify".
        done: Files inspected, or rows copied.
        total: Files to inspect, or rows to copy.
        message: What just happened, in words.
    """

    phase: Literal["wait", "inspect", "copy", "verify"]
    done: int
    total: int
    message: str = ""


@dataclass(frozen=True, slots=True)
class Merged:
    """What happened to one simulation of one input."""

    simulation_id: str
    path: Path
    action: Action
    reason: str
    rows: int


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge did.

    Attributes:
        output: The experiment database.
        simulations: What happened to each simulation of each input.
        left_out: What did not reach the output, and why.
        notes: What else a reader should know.
        seconds: Wall time of the whole merge.
    """

    output: Path
    simulations: tuple[Merged, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def counts(self) -> dict[Action, int]:
        """The number of simulations by what happened to them."""
        return dict(Counter(each.action for each in self.simulations))

    @property
    def rows(self) -> int:
        """The number of data rows written."""
        return sum(each.rows for each in self.simulations if each.action.writes)

    @property
    def rows_per_second(self) -> float:
        """Data rows written by second of the whole merge."""
        return self.rows / self.seconds if self.seconds else 0.0


def merge_shards(
    paths: Iterable[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    experiment_id: str | None = None,
    name: str | None = None,
    description: str | None = None,
    include_running: bool = False,
    on_conflict: OnConflict = "error",
    on_bad_shard: OnBadShard = "stop",
    progress: Callable[[Progress], None] | None = None,
) -> MergeReport:
    """Merge shards into an experiment database, new or existing; the shards stay as they are.

    A new output appears whole or not at all. An existing one is extended by one transaction a
    simulation. Merging the same shards again changes nothing. Several processes may merge into
    one output: they take turns.

    Args:
        paths: Files, folders and glob patterns.
        output: The experiment database.
        experiment_id: The experiment of the merged simulations; by default their own, and the
            output's stem for those that have none.
        name: Name of the experiment, if it is new.
        description: Description of the experiment, if it is new.
        include_running: Merge runs that have not ended, as far as they got.
        on_conflict: What wins when a simulation_id stands for different data: "error" stops before
            anything is written, "skip" keeps what was there first, "replace" takes the new.
        on_bad_shard: Whether an unreadable input stops the merge before anything is written, or
            is left out and reported.
        progress: Called as the work goes on.

    Raises:
        ShardError: If inputs cannot be merged and `on_bad_shard` is "stop"; all are named.
        ConflictError: If inputs contradict the output or each other and `on_conflict` is "error".
        OutputError: If the output cannot be written or is something else.
    """
    started = time.perf_counter()
    output = Path(output)
    report = progress or _silent
    registration = Registration(experiment_id, output.stem, name, description)
    with locked(output, lambda who: report(Progress("wait", 0, 0, f"{output} is held by {who}"))):
        require_usable(output)
        files = find_shards(paths, output=output)
        inspections, bad = _inspect_all(files, report)
        if bad and on_bad_shard == "stop":
            raise ShardError(_listed(bad))
        plan = make_plan(
            inspections,
            _output_state(output),
            _comparer(output),
            include_running=include_running,
            on_conflict=on_conflict,
        )
        _carry_out(plan, output, registration, report)
    return MergeReport(
        output,
        tuple(_told(each) for each in plan.simulations),
        (*bad, *plan.left_out),
        plan.notes,
        time.perf_counter() - started,
    )


def _silent(_: Progress) -> None:
    """Report to nobody."""


def _inspect_all(
    files: tuple[Path, ...], report: Callable[[Progress], None]
) -> tuple[list[Inspection], list[LeftOut]]:
    if not files:
        raise ShardError("no database found among the inputs (*.db, *.sqlite, *.sqlite3)")
    inspections: list[Inspection] = []
    bad: list[LeftOut] = []
    for number, path in enumerate(files, start=1):
        try:
            inspections.append(inspect_shard(path))
        except ShardError as exc:
            bad.append(LeftOut(path, str(exc).removeprefix(f"{path}: ")))
        report(Progress("inspect", number, len(files)))
    return inspections, bad


def _listed(bad: list[LeftOut]) -> str:
    lines = [f"{len(bad)} of the inputs cannot be merged, and nothing was written:"]
    lines += [f"  {each.path}: {each.reason}" for each in bad]
    lines.append("Put them right, or leave them out with --on-bad-shard skip.")
    return "\n".join(lines)


def _output_state(output: Path) -> OutputState:
    if not output.exists():
        return OutputState(today())
    with read_output(output) as connection:
        ids = connection.execute("SELECT simulation_id FROM simulations")
        return OutputState(
            read_structure(connection),
            frozenset(simulation_id for (simulation_id,) in ids),
            frozenset(connection.execute(f"SELECT simulation_id, fingerprint FROM {LEDGER}")),
            read_experiments(connection),
        )


def _comparer(output: Path) -> Callable[[Inspection, Inspection | None, str], bool]:
    """Return what tells whether an input has the same data as another input, or as the output."""

    def same(source: Inspection, rival: Inspection | None, simulation_id: str) -> bool:
        left = opened(rival.path) if rival else read_output(output)
        with left as connection, readable(source.path) as uri, attached(connection, uri):
            structure = read_structure(connection)
            return same_content(connection, simulation_id, structure, source.structure)

    return same


def _carry_out(
    plan: Plan, output: Path, registration: Registration, report: Callable[[Progress], None]
) -> None:
    exists = output.exists()
    try:
        if not plan.to_write:
            if exists:
                settle_output(output)
            return
        with (existing_output if exists else new_output)(output) as connection:
            add_columns(connection, plan.added_columns)
            _copy_all(connection, plan, registration, report)
            if not exists:
                report(Progress("verify", plan.rows, plan.rows))
                require_health(connection)
    except (sqlite3.Error, OSError) as exc:
        kept = "what was committed stays" if exists else "nothing was written"
        raise OutputError(f"{output}: cannot be written ({exc}); {kept}") from exc


def _copy_all(
    connection: sqlite3.Connection,
    plan: Plan,
    registration: Registration,
    report: Callable[[Progress], None],
) -> None:
    done, total = 0, plan.rows

    def advance(rows: int) -> None:
        nonlocal done
        done += rows
        report(Progress("copy", done, total))

    for source, group in groupby(plan.to_write, key=lambda each: each.source):
        with _unchanged(source) as uri, attached(connection, uri):
            for planned in group:
                copy_simulation(connection, planned, registration, advance)
                message = f"{planned.action}: {planned.simulation.simulation_id} ({source.path})"
                report(Progress("copy", done, total, message))


@contextmanager
def _unchanged(source: Inspection) -> Iterator[str]:
    """Yield the URI of an input, and see that it is what was inspected, before and after."""
    _require_unchanged(source)
    with readable(source.path) as uri:
        yield uri
    _require_unchanged(source)


def _require_unchanged(source: Inspection) -> None:
    if identify(source.path) != source.identity:
        raise ShardError(
            f"{source.path}: changed after it was inspected; run the merge again when it rests"
        )


def _told(planned: SimulationPlan) -> Merged:
    found = planned.simulation
    return Merged(
        found.simulation_id, planned.source.path, planned.action, planned.reason, found.rows
    )
