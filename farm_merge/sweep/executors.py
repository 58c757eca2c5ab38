"""Executors of `concurrent.futures`, or of its interface, that simulate: threads, Dask, MPI."""

from __future__ import annotations

from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from farm_merge.sweep.children import end_runs, simulate_in_child
from farm_merge.sweep.failures import Failure
from farm_merge.sweep.shards import ended_by, simulate_run, this_worker

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

    from farm_merge.sweep.runs import Run
    from farm_merge.sweep.shards import Ended, Jobs

__all__ = ["ExecutorCrew"]

_MOST_SUBMITTED = 1000
"""More than any cluster of ours has workers, and few enough to take no memory."""


def _may_stay(executor: Executor, jobs: Jobs) -> bool:
    """Return whether runs go on in the workers themselves, and not in children of theirs.

    A run that is killed would take a worker of Dask with it, and all processes of MPI.
    """
    is_of_python = isinstance(executor, ThreadPoolExecutor | ProcessPoolExecutor)
    return is_of_python and (jobs.timeout is None or jobs.simulator.kind == "command")


class ExecutorCrew:
    """An executor that simulates, of which nothing is known but its interface.

    Args:
        jobs: What all runs have in common.
        executor: The executor; it stays open.
    """

    def __init__(self, jobs: Jobs, executor: Executor) -> None:
        self._jobs = jobs
        self._executor = executor
        self._client: Any = getattr(executor, "_client", None)  # Dask's
        self._simulate = simulate_run if _may_stay(executor, jobs) else simulate_in_child
        self._runs: dict[Future[Ended], Run] = {}
        self._done: SimpleQueue[Future[Ended]] = SimpleQueue()
        self._refused: list[Ended] = []
        self._is_broken = False

    @property
    def has_room(self) -> bool:
        """Whether another run can be submitted now; to a broken executor none can."""
        return not self._is_broken and len(self._runs) < _MOST_SUBMITTED

    def start(self, run: Run) -> None:
        """Submit a run."""
        try:
            future = self._executor.submit(self._simulate, self._jobs, run)
        except RuntimeError as exc:  # it is broken, or shut down
            self._refused.append(self._failed(run, exc))
            return
        self._runs[future] = run
        future.add_done_callback(self._done.put)

    def wait(self) -> list[Ended]:
        """Wait until a run has ended, and return it; none if nothing is going on."""
        if self._refused:
            refused, self._refused = self._refused, []
            return refused
        if not self._runs:
            return []
        future = self._done.get()
        run = self._runs.pop(future)
        try:
            error = future.exception()
        except CancelledError as exc:  # as Dask does where its scheduler was started again
            error = exc
        return [future.result() if error is None else self._failed(run, error)]

    def close(self) -> None:
        """Cancel what has not begun, and end what goes on in children and programs."""
        for future in self._runs:
            future.cancel()
        if self._runs:
            end_runs(self._jobs.folder)
        if self._runs and self._client is not None and self._client.status == "running":
            self._client.run(end_runs, self._jobs.folder)  # its workers stay, and would go on

    def _failed(self, run: Run, error: BaseException) -> Ended:
        self._is_broken = self._is_broken or isinstance(error, BrokenExecutor)
        failure = Failure.of(run, error, stage="executor", worker=this_worker(), seconds=0.0)
        return ended_by(self._jobs, failure)
