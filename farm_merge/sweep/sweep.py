"""A whole sweep: what is there, what has to be simulated, and the merge of the shards."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from farm_merge.errors import ConflictError, FarmMergeError, InvalidOptionError, require_choice
from farm_merge.merge import OnConflict, merge_shards
from farm_merge.publish import locked, writing
from farm_merge.sweep.executors import Failure, Jobs, Tally, run_on, run_on_processes
from farm_merge.sweep.resume import present_runs
from farm_merge.sweep.shards import clear, remove_leftovers, shard_path

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor
    from os import PathLike

    from farm_merge.merge import MergeReport, Progress
    from farm_merge.sweep.design import Run, Sweep

__all__ = ["SweepReport", "run_sweep"]


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep did.

    Attributes:
        completed: Runs that were simulated now.
        present: Runs whose shards were there already.
        failed: Runs that did not complete; the same sweep, run again, repeats only these.
        merge: What the merge of the shards did.
    """

    completed: tuple[Run, ...]
    present: tuple[Run, ...]
    failed: tuple[Failure, ...]
    merge: MergeReport


def run_sweep(
    sweep: Sweep,
    shards: str | PathLike[str],
    output: str | PathLike[str],
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    on_conflict: OnConflict = "error",
    progress: Callable[[int, int, int, Run | None], None] | None = None,
    merge_progress: Callable[[Progress], None] | None = None,
) -> SweepReport:
    """Simulate every run of a sweep in parallel, then merge their shards.

    A run whose shard is there already, with the same parameters, is not run again.

    Args:
        sweep: The design.
        shards: The folder for the shards; with workers on other machines, one that all share.
        output: The experiment database.
        executor: Any executor of `concurrent.futures`, or of its interface, such as
            `dask.distributed.Client().get_executor()`; by default processes on this machine, and
            a run that kills its process then costs only itself.
        workers: The number of processes if no executor is given; one a core by default.
        on_conflict: What wins if the output has other data of these simulations, as in
            `merge_shards`.
        progress: Called with the number of runs done, failed and in total, and the run that
            ended last.
        merge_progress: Called as the merge goes on.

    Raises:
        InvalidOptionError: If an option has a value that it does not know; nothing is run.
        ConflictError: If a shard is there that is not of this sweep, or another sweep is writing
            to the folder; nothing is run. Or if the output has other data of these simulations.
        OutputError: If the folder or the output cannot be written.
        FarmMergeError: If no run completed, or the merge is not possible.
    """
    require_choice("on_conflict", on_conflict, get_args(OnConflict))
    if workers is not None and workers < 1:
        raise InvalidOptionError(f"workers is {workers!r}; it takes a number from 1")
    folder = Path(shards).resolve()
    runs = sweep.runs()
    with writing(folder), locked(folder / "sweep", partial(_refuse, folder)):
        present = present_runs(runs, folder)
        there = {run.simulation_id for run in present}
        due = tuple(run for run in runs if run.simulation_id not in there)
        tally = Tally(len(runs), progress, done=len(present))
        tally.report(None)
        _simulate(Jobs(folder, sweep.experiment_id), due, tally, executor, workers)
    paths = [path for run in runs if (path := shard_path(folder, run)).exists()]
    if not paths:
        raise FarmMergeError(f"no run completed; the first failure: {tally.failed[0]}")
    merge = merge_shards(
        paths,
        output,
        experiment_id=sweep.experiment_id,
        name=sweep.name,
        description=sweep.description,
        on_conflict=on_conflict,
        progress=merge_progress,
    )
    return SweepReport(tuple(tally.completed), present, tuple(tally.failed), merge)


def _simulate(
    jobs: Jobs,
    due: tuple[Run, ...],
    tally: Tally,
    executor: Executor | None,
    workers: int | None,
) -> None:
    clear(jobs.folder)
    if executor is not None:
        run_on(executor, jobs, due, tally)
    else:
        run_on_processes(jobs, due, tally, workers or os.cpu_count() or 1)
    remove_leftovers(due, jobs.folder)


def _refuse(folder: Path, who: str) -> None:
    raise ConflictError(
        f"another sweep writes its shards here ({who})",
        path=folder,
        remedy="wait for it, or choose another folder",
    )
