"""Processes: the runs of a batch, in this process or in several."""

from __future__ import annotations

from collections import deque
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from multiprocessing import get_context
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from collections.abc import Callable

    from farm_merge.mesa.design import BatchRun

__all__ = ["run_all"]

_AHEAD = 2
"""Runs that a process has, or has next."""


def run_all(
    simulate: Callable[[BatchRun], None],
    due: list[BatchRun],
    processes: int,
    present: Callable[[], set[str]],
    *,
    total: int,
    shows_progress: bool,
) -> list[tuple[BatchRun, str]]:
    """Run what is due.

    A run that kills its process fails, and no other with it: those that were under way are run
    again one by one, but for those that were done.

    Args:
        simulate: Runs one.
        due: The runs.
        processes: How many processes; with one, this one.
        present: Returns the names of the runs that are there.
        total: How many runs there are, those among them that are there already.
        shows_progress: Whether a bar is drawn.

    Returns:
        The runs that failed, and why.
    """
    failed: list[tuple[BatchRun, str]] = []
    with tqdm(
        total=total, initial=total - len(due), unit=" runs", disable=not shows_progress
    ) as bar:

        def end(run: BatchRun, error: BaseException | None) -> None:
            if error is not None:
                failed.append((run, f"{type(error).__name__}: {error}"))
            bar.update()

        if processes == 1:
            for run in due:
                end(run, _error_of(simulate, run))
            return failed
        waiting = deque(due)
        while waiting:
            suspects = _run_in_pool(simulate, waiting, processes, end)
            there = present() if suspects else set()
            for run in suspects:
                if run.simulation_id in there:
                    end(run, None)
                    continue
                alone = deque([run])
                for culprit in _run_in_pool(simulate, alone, 1, end):
                    end(culprit, RuntimeError("its process was killed"))
    return failed


def _error_of(simulate: Callable[[BatchRun], None], run: BatchRun) -> Exception | None:
    try:
        simulate(run)
    except Exception as exc:  # noqa: BLE001  (a model may raise anything; the others go on)
        return exc
    return None


def _run_in_pool(
    simulate: Callable[[BatchRun], None],
    waiting: deque[BatchRun],
    processes: int,
    end: Callable[[BatchRun, BaseException | None], None],
) -> list[BatchRun]:
    """Run until all is done, or a process died; return the runs that were under way then."""
    under_way: dict[Future[None], BatchRun] = {}
    # Forked processes would inherit open databases and the locks of other threads.
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        try:
            while waiting or under_way:
                while waiting and len(under_way) < _AHEAD * processes:
                    under_way[pool.submit(simulate, waiting[0])] = waiting[0]
                    waiting.popleft()
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    error = future.exception()
                    if isinstance(error, BrokenExecutor):
                        return list(under_way.values())
                    end(under_way.pop(future), error)
        except BrokenExecutor:
            return list(under_way.values())
        except BaseException:
            for future in under_way:
                future.cancel()
            raise
    return []
