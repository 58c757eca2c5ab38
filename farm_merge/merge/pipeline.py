"""The whole path: find, inspect, plan, copy, verify, publish."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial as partial_
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

from farm_merge.driver import sqlite3
from farm_merge.errors import OutputError, ShardError, StillWrittenError
from farm_merge.merge.archive import archive_shards
from farm_merge.merge.build import (
    DamagedGraftError,
    Grafted,
    check,
    compare_grafted,
    create,
    graft,
    register_grafted,
)
from farm_merge.merge.copy import IN_FILE, Registration, copy_simulation
from farm_merge.merge.engine import smallest_worth_grafting
from farm_merge.merge.find import find_shards
from farm_merge.merge.inspect import (
    Inspection,
    glance_at_shard,
    inspect_shard,
    read_experiments,
    with_common_keys,
)
from farm_merge.merge.naming import named, require_template
from farm_merge.merge.plan import Action, LedgerEntry, LeftOut, OutputState, Plan, make_plan
from farm_merge.merge.publish import (
    building,
    existing_output,
    locked,
    new_output,
    read_output,
    require_usable,
    settle_output,
    workshop,
)
from farm_merge.merge.recall import files_in_ledger, recall
from farm_merge.merge.rewrite import as_shard, count_changes
from farm_merge.merge.source import Identity, attached, connect_untrusted, identify, snapshot
from farm_merge.merge.structure import read_structure
from farm_merge.merge.target import Target, make_target
from farm_merge.merge.verify import same_content
from farm_merge.merge.workers import prefetched
from farm_merge.schema import LEDGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from os import PathLike

    from farm_merge.merge.copy import Verification
    from farm_merge.merge.engine import Engine
    from farm_merge.merge.inspect import OnDuplicateRow
    from farm_merge.merge.plan import OnConflict, SimulationPlan

__all__ = [
    "MergeReport",
    "Merged",
    "OnBadShard",
    "Options",
    "Progress",
    "merge_shards",
    "plan_merge",
    "read_state",
]

OnBadShard = Literal["stop", "skip"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a merge has come.

    Attributes:
        phase: "wait", "inspect", "plan", "copy" or "verify".
        done: Files inspected, or rows copied.
        total: Files to inspect, or rows to copy.
        message: What just happened, in words.
    """

    phase: Literal["wait", "inspect", "plan", "copy", "verify"]
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
        details: How inputs were carried, where that is not as they stand.
        notes: What a reader should know: what was not carried, and what contradicts.
        archived: Inputs that were moved away, by `archive`: from where to where.
        seconds: Wall time of the whole merge.
    """

    output: Path
    simulations: tuple[Merged, ...]
    left_out: tuple[LeftOut, ...]
    details: tuple[str, ...]
    notes: tuple[str, ...]
    archived: tuple[tuple[Path, Path], ...]
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


@dataclass(frozen=True, slots=True)
class Options:
    """What a user decides about a merge.

    Attributes:
        experiment_id: The experiment of the merged simulations; by default their own, and the
            output's stem for those that have none.
        name: Name of the experiment, if it is new.
        description: Description of the experiment, if it is new.
        simulation_id: What to call runs whose files do not tell it, with `{stem}`, `{parent}` and
            `{grandparent}`; by default the stem, and as many folders as tell them apart.
        include_running: Merge runs that have not ended, as far as they got.
        on_conflict: What wins when a simulation_id stands for different data: "error" stops before
            anything is written, "skip" keeps what was there first, "replace" takes the new.
        on_bad_shard: Whether an input that cannot be merged stops the merge before anything is
            written, or is left out and reported.
        on_duplicate_row: Which of several rows with one key is carried; "error" makes it an input
            that cannot be merged.
        verify: What is compared with the source before it is kept: "none", "counts" (rows of every
            simulation and table, and SQLite's check of a new output), or "content" as well.
        engine: How a new output is written: "attach" copies rows, "graft" copies pages, and
            "auto" chooses: pages where the form of a file allows it.
        jobs: Processes or threads that read, rewrite and write; one a core by default.
        archive: A folder to which inputs are moved once all of their simulations are in the
            output.
    """

    experiment_id: str | None = None
    name: str | None = None
    description: str | None = None
    simulation_id: str | None = None
    include_running: bool = False
    on_conflict: OnConflict = "error"
    on_bad_shard: OnBadShard = "stop"
    on_duplicate_row: OnDuplicateRow = "error"
    verify: Verification = "counts"
    engine: Engine = "auto"
    jobs: int | None = None
    archive: Path | None = None


def merge_shards(
    paths: Iterable[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> MergeReport:
    """Merge shards and legacy files into an experiment database, new or existing.

    The inputs stay as they are. A new output appears whole or not at all. An existing one is
    extended by one transaction a simulation. Merging the same files again changes nothing. Several
    processes may merge into one output: they take turns.

    Args:
        paths: Files, folders and glob patterns.
        output: The experiment database.
        progress: Called as the work goes on.
        options: The fields of `Options`.

    Raises:
        ShardError: If inputs cannot be merged and `on_bad_shard` is "stop"; all are named.
        ConflictError: If inputs contradict the output or each other and `on_conflict` is "error".
        OutputError: If the output cannot be written or is something else.
    """
    started = time.perf_counter()
    output, chosen, report = Path(output), Options(**options), progress or _silent
    if chosen.archive and chosen.verify == "none":
        raise OutputError("inputs are only moved away once they are verified: not with verify=none")
    archived: tuple[tuple[Path, Path], ...] = ()
    with (
        locked(output, lambda who: report(Progress("wait", 0, 0, f"{output} is held by {who}"))),
        workshop(output) as folder,
    ):
        paths = tuple(paths)
        try:
            plan = _merged(paths, output, chosen, folder, report)
        except DamagedGraftError as exc:
            # Row by row, the input that is to blame is found and named.
            report(Progress("plan", 0, 0, f"copying row by row, since the check says: {exc}"))
            plan = _merged(paths, output, replace(chosen, engine="attach"), folder, report)
        if chosen.archive:
            archived = archive_shards(plan, chosen.archive)
    return MergeReport(
        output,
        tuple(_told(each) for each in plan.simulations),
        plan.left_out,
        plan.details,
        plan.notes,
        archived,
        time.perf_counter() - started,
    )


def _merged(
    paths: Iterable[str | PathLike[str]],
    output: Path,
    options: Options,
    folder: Path,
    report: Callable[[Progress], None],
) -> Plan:
    """Plan a merge and carry it out; return the plan with what became of it."""
    plan = _make_plan(paths, output, options, folder, report)
    for each in plan.simulations:
        if not each.action.writes:
            report(Progress("plan", 0, 0, _line(each)))
    merge = _Merge(plan, output, options, folder, report)
    return merge.into_existing() if output.exists() else merge.into_new()


def plan_merge(
    paths: Iterable[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    progress: Callable[[Progress], None] | None = None,
    **options: Any,
) -> Plan:
    """Decide what `merge_shards` would do, and write nothing.

    Args:
        paths: Files, folders and glob patterns.
        output: The experiment database.
        progress: Called as the work goes on.
        options: The fields of `Options`.

    Raises:
        ShardError, ConflictError, OutputError: As `merge_shards` would.
    """
    with TemporaryDirectory(prefix="farm-merge-") as folder:
        return _make_plan(
            paths, Path(output), Options(**options), Path(folder), progress or _silent
        )


def _silent(_: Progress) -> None:
    """Report to nobody."""


def _make_plan(
    paths: Iterable[str | PathLike[str]],
    output: Path,
    options: Options,
    folder: Path,
    report: Callable[[Progress], None],
) -> Plan:
    if options.simulation_id is not None:
        require_template(options.simulation_id)
    require_usable(output)
    files = find_shards(paths, output=output)
    state = read_state(output)
    glance = state.structure is None and options.engine != "attach"
    inspections, bad, running = _inspect_all(files, state, options, folder, report, glance=glance)
    if glance:
        inspections = _looked_at_closely(inspections, options, folder, bad)
    inspections = with_common_keys(inspections, state.structure)
    target, misfits = _fitting_target(inspections, state, folder)
    bad += [LeftOut(path, reason) for path, reason in misfits.items()]
    if bad and options.on_bad_shard == "stop":
        raise ShardError(_listed(bad))
    if misfits:
        inspections = [each for each in inspections if each.path not in misfits]
        target, _ = make_target(inspections, state.structure, count_changes)
    same = _comparer(output, target, folder)
    plan = make_plan(
        named(inspections, state, same, options.simulation_id),
        state,
        target,
        same,
        include_running=options.include_running,
        on_conflict=options.on_conflict,
    )
    return replace(plan, left_out=(*bad, *running, *plan.left_out))


def _inspect_all(
    files: tuple[Path, ...],
    state: OutputState,
    options: Options,
    folder: Path,
    report: Callable[[Progress], None],
    *,
    glance: bool,
) -> tuple[list[Inspection], list[LeftOut], list[LeftOut]]:
    """Return what is known of the inputs, those that are bad, and those that are being written.

    Args:
        files: The inputs.
        state: What the output holds; files that its ledger knows are not read again.
        options: What the user decided.
        folder: For snapshots.
        report: Called as the work goes on.
        glance: Whether shards are read later, when their pages are copied.
    """
    if not files:
        raise ShardError("no database found among the inputs (*.db, *.sqlite, *.sqlite3)")
    known_files = files_in_ledger(state) if options.simulation_id is None else {}

    smallest = smallest_worth_grafting(options.engine)
    jobs = _jobs(options)
    inspections: list[Inspection] = []
    bad: list[LeftOut] = []
    running: list[LeftOut] = []
    with ThreadPoolExecutor(jobs) as pool:

        def look(path: Path) -> Future[Inspection]:
            # What takes half a millisecond is done here: threads would wait for each other.
            known = recall(path, known_files) or (glance and glance_at_shard(path, smallest))
            if not known:
                return pool.submit(inspect_shard, path, options.on_duplicate_row)
            future: Future[Inspection] = Future()
            future.set_result(known)
            return future

        looks = prefetched(files, look, 2 * jobs)
        for number, (path, future) in enumerate(looks, start=1):
            try:
                if future.exception() is None:
                    inspections.append(future.result())
                else:  # alone: another thread may have had the file open, under another name
                    inspections.append(_inspect(path, options, folder / f"running-{number}.db"))
            except StillWrittenError as exc:
                running.append(_left_out(path, exc))
            except ShardError as exc:
                bad.append(_left_out(path, exc))
            report(Progress("inspect", number, len(files)))
    return inspections, bad, running


def _jobs(options: Options) -> int:
    return options.jobs or os.cpu_count() or 1


def _looked_at_closely(
    inspections: list[Inspection], options: Options, folder: Path, bad: list[LeftOut]
) -> list[Inspection]:
    """Read the inputs whole that name one simulation, since their content decides."""
    times = Counter(found.simulation_id for each in inspections for found in each.simulations)
    closely: list[Inspection] = []
    for each in inspections:
        if not each.is_glance or times[each.simulations[0].simulation_id] == 1:
            closely.append(each)
            continue
        try:
            closely.append(_inspect(each.path, options, folder / "running.db"))
        except ShardError as exc:
            bad.append(_left_out(each.path, exc))
    return closely


def _inspect(path: Path, options: Options, copy: Path) -> Inspection:
    try:
        return inspect_shard(path, options.on_duplicate_row)
    except StillWrittenError:
        if not options.include_running:
            raise
    snapshot(path, copy)
    return inspect_shard(path, options.on_duplicate_row, copy)


def _left_out(path: Path, reason: ShardError) -> LeftOut:
    return LeftOut(path, str(reason).removeprefix(f"{path}: "))


def _listed(bad: list[LeftOut]) -> str:
    lines = [f"{len(bad)} of the inputs cannot be merged, and nothing was written:"]
    lines += [f"  {each.path}: {each.reason}" for each in bad]
    lines.append("Put them right, or leave them out with --on-bad-shard skip.")
    return "\n".join(lines)


def read_state(output: Path) -> OutputState:
    """Return what an output holds before a merge."""
    if not output.exists():
        return OutputState()
    with read_output(output) as connection:
        ids = connection.execute("SELECT simulation_id FROM simulations")
        return OutputState(
            read_structure(connection),
            frozenset(simulation_id for (simulation_id,) in ids),
            tuple(_ledger(connection)),
            read_experiments(connection),
        )


def _ledger(connection: sqlite3.Connection) -> Iterator[LedgerEntry]:
    """Yield what the ledger says, the oldest first."""
    entries = connection.execute(
        "SELECT simulation_id, fingerprint, source_path, source_schema, device, inode, size_bytes,"
        f" mtime_ns, ctime_ns, row_counts, choices ->> '$.{IN_FILE}' FROM {LEDGER}"
        " ORDER BY merged_at"
    )
    for simulation_id, fingerprint, path, schema, *identity, counts, in_file in entries:
        yield LedgerEntry(
            simulation_id,
            fingerprint,
            path,
            schema,
            Identity(*identity),
            json.loads(counts),
            in_file or 1,
        )


def _fitting_target(
    inspections: list[Inspection], state: OutputState, folder: Path
) -> tuple[Target, dict[Path, str]]:
    """Return the target, and the inputs that do not fit into it, each with the reason."""
    target, misfits = make_target(inspections, state.structure, count_changes)
    for source in inspections:
        if source.path in target.to_try and source.path not in misfits:
            try:
                with as_shard(source, target, folder):
                    pass
            except ShardError as exc:
                misfits[source.path] = str(exc).removeprefix(f"{source.path}: ")
    return target, misfits


def _comparer(
    output: Path, target: Target, folder: Path
) -> Callable[[Inspection, Inspection | None, str], bool]:
    """Return what tells whether an input has the same data as another input, or as the output."""

    def same(source: Inspection, rival: Inspection | None, simulation_id: str) -> bool:
        with ExitStack() as stack:
            if rival is None:
                connection = stack.enter_context(read_output(output))
            else:
                uri = stack.enter_context(as_shard(rival, target, folder))
                connection = stack.enter_context(closing(connect_untrusted(uri)))
            uri = stack.enter_context(as_shard(source, target, folder))
            stack.enter_context(attached(connection, uri, "shard"))
            left, right = read_structure(connection), read_structure(connection, "shard")
            return same_content(connection, simulation_id, left, right)

    return same


class _Merge:
    """Carries out a plan."""

    def __init__(
        self,
        plan: Plan,
        output: Path,
        options: Options,
        folder: Path,
        report: Callable[[Progress], None],
    ) -> None:
        self._plan = plan
        self._output = output
        self._options = options
        self._folder = folder
        self._report = report
        self._registration = Registration(
            options.experiment_id, output.stem, options.name, options.description
        )
        self._done = 0
        self._rows = plan.rows
        self._written: list[SimulationPlan] = []
        self._gone: list[LeftOut] = []

    def into_existing(self) -> Plan:
        """Extend an output by one transaction a simulation."""
        try:
            if self._plan.to_write:
                with existing_output(self._output) as connection:
                    for statement in self._plan.target.additions:
                        connection.execute(statement)
                    self._copy(connection, self._plan.to_write)
            else:
                settle_output(self._output)
        except (sqlite3.Error, OSError) as exc:
            raise OutputError(
                f"{self._output}: cannot be written ({exc}); what was committed stays"
            ) from exc
        return self._told()

    def into_new(self) -> Plan:
        """Build an output, from pages where that is possible, and from rows."""
        if not self._plan.to_write:
            return self._plan
        try:
            with new_output(self._output) as partial:
                self._build(partial)
        except (sqlite3.Error, OSError) as exc:
            raise OutputError(
                f"{self._output}: cannot be written ({exc}); nothing was written"
            ) from exc
        return self._told()

    def _build(self, partial: Path) -> None:
        structure = create(partial, self._plan)
        grafted = Grafted(copied=list(self._plan.to_write))
        if self._options.engine != "attach":
            jobs = _jobs(self._options)
            grafted = graft(
                partial,
                self._plan,
                structure,
                self._folder,
                jobs,
                smallest_worth_grafting(self._options.engine),
                self._advance_by_simulation,
            )
        bad = [LeftOut(path, reason) for path, reason in grafted.damaged.items()]
        if bad and self._options.on_bad_shard == "stop":
            raise ShardError(_listed(bad))
        self._gone += bad
        verify = self._options.verify
        with building(partial) as connection:
            self._written += grafted.simulations
            register_grafted(connection, grafted.simulations, self._registration, self._folder)
            if verify == "content":
                compare_grafted(connection, grafted.simulations, self._plan.target, self._folder)
            self._copy(connection, grafted.copied)
        if verify != "none":
            self._report(Progress("verify", self._done, self._done))
            check(partial, self._written, verify)

    def _copy(self, connection: sqlite3.Connection, simulations: Iterable[SimulationPlan]) -> None:
        """Copy simulations row by row; an input that changed or went is left out."""
        for source, group in groupby(simulations, key=lambda each: each.source):
            unchanged = partial_(_require_unchanged, source)
            try:
                unchanged()
                known = list(map(_with_rows, group))
                with (
                    as_shard(source, self._plan.target, self._folder) as uri,
                    attached(connection, uri, "shard"),
                ):
                    for planned in known:
                        copy_simulation(
                            connection,
                            planned,
                            self._registration,
                            self._options.verify,
                            unchanged,
                            self._advance,
                        )
                        self._written.append(planned)
                        self._report(
                            Progress(
                                "copy", self._done, max(self._done, self._rows), _line(planned)
                            )
                        )
            except ShardError as exc:
                if self._options.on_bad_shard == "stop":
                    raise
                self._gone.append(_left_out(source.path, exc))

    def _advance(self, rows: int) -> None:
        self._done += rows
        self._report(Progress("copy", self._done, max(self._done, self._rows)))

    def _advance_by_simulation(self, planned: SimulationPlan, rows: int) -> None:
        self._done += rows
        self._report(Progress("copy", self._done, max(self._done, self._rows), _line(planned)))

    def _told(self) -> Plan:
        """Return the plan with the rows that were counted on the way, without what went."""
        gone = {each.path for each in self._gone}
        written = {(each.source.path, each.simulation_id): each for each in self._written}
        return replace(
            self._plan,
            simulations=tuple(
                written.get((each.source.path, each.simulation_id), each)
                for each in self._plan.simulations
                if each.source.path not in gone
            ),
            left_out=(*self._gone, *self._plan.left_out),
        )


def _with_rows(planned: SimulationPlan) -> SimulationPlan:
    """Return a simulation with its rows counted, which a glance does not."""
    if not planned.source.is_glance:
        return planned
    source = inspect_shard(planned.source.file)
    (found,) = source.simulations
    return replace(planned, source=source, simulation=found)


def _require_unchanged(source: Inspection) -> None:
    if source.copy is None and identify(source.path) != source.identity:
        raise ShardError(
            f"{source.path}: changed after it was inspected; run the merge again when it rests"
        )


def _line(planned: SimulationPlan) -> str:
    return f"{planned.action}: {planned.source.path} [{planned.simulation_id}] ({planned.reason})"


def _told(planned: SimulationPlan) -> Merged:
    return Merged(
        planned.simulation_id,
        planned.source.path,
        planned.action,
        planned.reason,
        planned.simulation.rows,
    )
