"""How runs are spread over processes, or over any other executor, and what becomes of them."""

from __future__ import annotations

from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import TYPE_CHECKING

from farm_merge.sweep.shards import remove_leftovers, simulate_run, temporary_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor, Future
    from pathlib import Path

    from farm_merge.sweep.design import Run

__all__ = ["Failure", "Jobs", "Tally", "run_on", "run_on_processes"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that did not complete, and why."""

    run: Run
    reason: str

    def __str__(self) -> str:
        """Return what failed and why, in a line."""
        return f"{self.run.simulation_id}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Jobs:
    """What every run of a sweep needs to know, on whatever machine it runs."""

    folder: Path
    experiment_id: str


@dataclass(slots=True)
class Tally:
    """What became of the runs so far."""

    total: int
    progress: Callable[[int, int, int, Run | None], None] | None
    done: int = 0
    completed: list[Run] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)

    def complete(self, run: Run) -> None:
        """Count a run that completed."""
        self.completed.append(run)
        self.done += 1
        self.report(run)

    def fail(self, run: Run, reason: BaseException) -> None:
        """Count a run that failed."""
        self.failed.append(Failure(run, f"{type(reason).__name__}: {reason}"))
        self.report(run)

    def report(self, run: Run | None) -> None:
        """Report how far the sweep has come, and the run that ended last."""
        if self.progress is not None:
            self.progress(self.done, len(self.failed), self.total, run)


def run_on_processes(jobs: Jobs, due: Iterable[Run], tally: Tally, workers: int) -> None:
    """Run on processes of this machine, and find out which run it is that kills its process.

    A process that dies takes the whole pool with it. Runs that had not begun go to a new pool;
    those that had are repeated one at a time, so that only the one that does it fails.
    """
    remaining = list(due)
    while remaining:
        with _pool(min(workers, len(remaining))) as pool:
            broken = run_on(pool, jobs, remaining, tally, keep_broken=True)
        begun = [run for run in broken if temporary_path(jobs.folder, run).exists()]
        suspects = begun or broken[:1]
        remove_leftovers(suspects, jobs.folder)
        for run in suspects:
            with _pool(1) as pool:
                run_on(pool, jobs, [run], tally)
        remaining = [run for run in broken if run not in suspects]


def _pool(workers: int) -> ProcessPoolExecutor:
    # Forked processes would inherit open databases and the locks of other threads.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def run_on(
    executor: Executor,
    jobs: Jobs,
    due: Iterable[Run],
    tally: Tally,
    *,
    keep_broken: bool = False,
) -> list[Run]:
    """Run on an executor; return the runs to be repeated because the executor broke."""
    broken: list[Run] = []
    futures: dict[Future[None], Run] = {}
    try:
        for run in due:
            try:
                futures[executor.submit(simulate_run, jobs.folder, jobs.experiment_id, run)] = run
            except BrokenExecutor as exc:
                broken.append(run) if keep_broken else tally.fail(run, exc)
        for future in as_completed(futures):
            run = futures[future]
            error = future.exception()
            if error is None:
                tally.complete(run)
            elif keep_broken and isinstance(error, BrokenExecutor):
                broken.append(run)
            else:
                tally.fail(run, error)
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    return broken
