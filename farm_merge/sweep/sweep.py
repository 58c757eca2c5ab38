"""A whole sweep: what is there, what has to be simulated, and the merge of the shards."""

from __future__ import annotations

import os
from collections import deque
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from farm_merge.errors import ConflictError, InvalidOptionError, require_choice
from farm_merge.merge import MergeReport, OnConflict
from farm_merge.notebook import html_table
from farm_merge.progress import runs_and_merge
from farm_merge.publish import locked, writing
from farm_merge.sweep.code import code_of
from farm_merge.sweep.collect import Collector, Experiment
from farm_merge.sweep.executors import ExecutorCrew
from farm_merge.sweep.places import Places
from farm_merge.sweep.processes import ProcessCrew
from farm_merge.sweep.resume import find_runs
from farm_merge.sweep.shards import Jobs, remove_leftovers
from farm_merge.sweep.shelf import Shelf
from farm_merge.sweep.store import changes_of_design, store_design
from farm_merge.sweep.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor
    from os import PathLike

    from farm_merge.merge import Progress
    from farm_merge.sweep.design import Sweep
    from farm_merge.sweep.failures import Failure
    from farm_merge.sweep.runs import Run, Runs

__all__ = ["SweepReport", "run_sweep"]


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep did.

    Attributes:
        completed: Runs that were simulated now.
        present: Runs that were there already.
        failed: Runs that did not complete; the same sweep, run again, tries them again.
        not_run: How many runs were not tried, since too many had failed.
        notes: What a reader should know: runs that are there of other code.
        merge: What became of the shards, those that were merged while others ran among them.
        hidden_seconds: How long the merge took beside the simulations, of `merge.seconds`.
    """

    completed: tuple[Run, ...]
    present: Runs
    failed: tuple[Failure, ...]
    not_run: int
    notes: tuple[str, ...]
    merge: MergeReport
    hidden_seconds: float

    def __repr__(self) -> str:
        return f"<SweepReport {self._summary()}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the runs, those first that failed."""
        rows = chain(
            ((it.run.simulation_id, "failed", it.reason) for it in self.failed),
            ((run.simulation_id, "simulated", None) for run in self.completed),
            ((run.simulation_id, "there before", None) for run in self.present),
        )
        number = len(self.failed) + len(self.completed) + len(self.present)
        return html_table(self._summary(), ["run", "what", "why"], rows, number)

    def _summary(self) -> str:
        counts = {
            "simulated": len(self.completed),
            "there before": len(self.present),
            "failed": len(self.failed),
            "not run": self.not_run,
        }
        parts = [f"{number:,} {what}" for what, number in counts.items() if number]
        return f"{self.merge.output}: {', '.join(parts) or 'nothing to run'}"


def run_sweep(
    sweep: Sweep,
    shards: str | PathLike[str],
    output: str | PathLike[str],
    *,
    executor: Executor | None = None,
    jobs: int | None = None,
    timeout: float | None = None,
    retries: int | None = None,
    max_failures: int | None = None,
    keep_partial: bool = False,
    task: tuple[int, int] | None = None,
    on_conflict: OnConflict = "error",
    progress: Callable[[int, int, int, Run | None], None] | bool | None = None,
    merge_progress: Callable[[Progress], None] | None = None,
) -> SweepReport:
    """Simulate every run of a sweep in parallel, and merge their shards as they come.

    A run that is there already, as a shard or in the output, with the same parameters, is not run
    again. A run that fails is recorded in the output, and the others go on.

    Args:
        sweep: The design.
        shards: The folder for the shards; with workers on other machines, one that all share.
        output: The experiment database.
        executor: Any executor of `concurrent.futures`, or of its interface, such as
            `dask.distributed.Client().get_executor(pure=False)`; by default processes on this
            machine. Other than in Python's own, runs go on in children of the workers.
        jobs: The number of processes if no executor is given; one a core by default.
        timeout: Seconds that a run may take, instead of what the sweep has; with an executor, a
            run then goes on in a child of its worker, which can be ended.
        retries: How often a run that fails is tried again, instead of what the sweep has.
        max_failures: How many runs may fail before the sweep stops; no limit by default.
        keep_partial: Keep the rows that runs had logged before they failed.
        task: Which part of the design: the Kth of N, counted from 1. Parts may go on at once.
        on_conflict: What wins if the output has other data of these simulations, as in
            `merge_shards`.
        progress: Called with the number of runs done, failed and in total, and the run that
            ended last; True draws a bar over them, and then one over the merge.
        merge_progress: Called as the merge at the end goes on.

    Raises:
        InvalidOptionError: If an option has a value that it does not know; nothing is run.
        ConflictError: If a shard or simulation is there that is not of this sweep, or another
            sweep is writing to the folder; nothing is run. Or if the output has other data of
            these simulations.
        OutputError: If the folder or the output cannot be written.
        FarmMergeError: If the merge is not possible.
    """
    retries = sweep.retries if retries is None else retries
    timeout = sweep.timeout if timeout is None else timeout
    _require_options(on_conflict, jobs, timeout, retries, max_failures, task)
    folder, output = Path(shards).resolve(), Path(output)
    first, step = task or (1, 1)
    runs = sweep.runs()[first - 1 :: step]
    simulator = sweep.simulator()
    work = Jobs(
        folder,
        sweep.experiment_id,
        simulator,
        code_of(simulator),
        keep_partial,
        timeout,
        by_worker=sweep.shards == "worker",
        in_memory=sweep.storage == "memory",
        memory_limit_mb=sweep.memory_limit_mb,
    )
    experiment = Experiment(output, sweep.experiment_id, sweep.name, sweep.description, on_conflict)
    lock = folder / ("sweep" if task is None else f"sweep-{first}-of-{step}")
    with (
        writing(folder),
        locked(lock, partial(_refuse, folder)),
        runs_and_merge(progress, merge_progress) as (ran, merging),
    ):
        shelf = Shelf(folder)
        deque(shelf.take_over(), maxlen=0)  # what workers of a sweep left that was killed
        places = Places(folder, shelf)
        found = find_runs(
            runs,
            places,
            output,
            sweep.experiment_id,
            work.code,
            tolerant=on_conflict != "error",
        )
        if any(folder.glob(".*.running*")):  # a power failure may take a rename back
            for run in runs.at(found.present):
                remove_leftovers(folder, run)
        notes = (*changes_of_design(output, sweep), *found.notes)
        tally = Tally(len(runs), max_failures, retries, ran, present=len(found.present))
        with ExitStack() as stack:
            collector = stack.enter_context(Collector(experiment))
            for shard in places.of(runs.at(found.present)):
                collector.add(shard)
            stack.callback(places.take_over, collector)
            crew = stack.enter_context(closing(_crew(work, executor, jobs)))
            _carry_out(crew, (runs[place] for place in found.due), tally, collector, places)
        if collector.error is not None:  # what it did not write is written once more
            experiment.record(tally.failed)
        merged = _merge(experiment, list(places.of(runs)), collector, merging)
        store_design(output, sweep)
    return SweepReport(
        tuple(tally.completed),
        runs.at(found.present),
        tuple(tally.failed),
        tally.left,
        notes,
        merged,
        collector.seconds,
    )


def _require_options(
    on_conflict: str,
    jobs: int | None,
    timeout: float | None,
    retries: int,
    max_failures: int | None,
    task: tuple[int, int] | None,
) -> None:
    require_choice("on_conflict", on_conflict, get_args(OnConflict))
    least = {"jobs": (jobs, 1), "max_failures": (max_failures, 1), "retries": (retries, 0)}
    for name, (value, lowest) in least.items():
        if value is not None and value < lowest:
            raise InvalidOptionError(f"{name} is {value!r}; it takes a number from {lowest}")
    if timeout is not None and timeout <= 0:
        raise InvalidOptionError(f"timeout is {timeout!r}; it takes seconds above 0")
    if task is not None and not 1 <= task[0] <= task[1]:
        raise InvalidOptionError(f"task is {task!r}; it takes K and N, with K from 1 to N")


def _crew(work: Jobs, executor: Executor | None, jobs: int | None) -> ProcessCrew | ExecutorCrew:
    if executor is not None:
        return ExecutorCrew(work, executor)
    return ProcessCrew(work, jobs or os.cpu_count() or 1)


def _carry_out(
    crew: ProcessCrew | ExecutorCrew,
    due: Iterator[Run],
    tally: Tally,
    collector: Collector,
    places: Places,
) -> None:
    """Simulate runs until there are no more, or too many have failed."""
    tally.report(None)
    again: deque[Run] = deque()
    while not tally.is_over:
        while crew.has_room and (run := again.popleft() if again else next(due, None)):
            crew.start(run)
        ended = crew.wait()
        if not ended:
            return
        for it in ended:
            if it.failure is None or places.has_lost(it.failure, collector):
                places.collect(it.run, collector)
                tally.complete(it.run)
            elif failure := tally.fail(it.failure):
                collector.add(failure)
            else:
                again.append(it.run)


def _merge(
    experiment: Experiment,
    shards: list[Path],
    collector: Collector,
    progress: Callable[[Progress], None] | None,
) -> MergeReport:
    """Merge what is not merged yet, and report what became of all."""
    if not shards:
        return MergeReport(experiment.output, (), (), (), (), (), 0.0)
    report = experiment.merge(shards, progress)
    before = collector.outcomes
    outcomes = (
        it if it.action.writes else before.get((it.path, it.simulation_id), it)
        for it in report.simulations
    )
    return replace(report, simulations=tuple(outcomes), seconds=report.seconds + collector.seconds)


def _refuse(folder: Path, who: str) -> None:
    raise ConflictError(
        f"another sweep writes its shards here ({who})",
        path=folder,
        remedy="wait for it, or choose another folder",
    )
