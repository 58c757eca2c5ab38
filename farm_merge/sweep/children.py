"""Children: where a run must not take its worker with it, a process of the worker's simulates it.

A run that is killed, or takes too long, costs itself then: the thread that waits for it goes on,
and the process of Dask or MPI.
"""

from __future__ import annotations

import atexit
import threading
from typing import TYPE_CHECKING

from farm_merge.sweep.command import end_programs
from farm_merge.sweep.processes import ProcessCrew

if TYPE_CHECKING:
    from pathlib import Path

    from farm_merge.sweep.runs import Run
    from farm_merge.sweep.shards import Ended, Jobs

__all__ = ["end_runs", "simulate_in_child"]

_crews: dict[int, tuple[Jobs, ProcessCrew]] = {}
"""The child of each thread of this process, which waits for its next run."""


def simulate_in_child(jobs: Jobs, run: Run) -> Ended:
    """Simulate a run in a process of this worker's own, which stays for the next.

    Args:
        jobs: What all runs have in common.
        run: What to simulate.
    """
    crew = _crew(jobs)
    crew.start(run)
    (ended,) = crew.wait()
    return ended


def end_runs(folder: Path) -> None:
    """End what goes on for the threads of this process: children, and programs.

    Args:
        folder: That of the shards of the sweep, whose runs they are.
    """
    for jobs, crew in list(_crews.values()):
        if jobs.folder == folder:
            crew.kill()
    end_programs(folder)


def _crew(jobs: Jobs) -> ProcessCrew:
    thread = threading.get_ident()
    before = _crews.get(thread)
    if before and before[0] == jobs:
        return before[1]
    if before:  # of another sweep, whose code may be another
        before[1].close()
    crew = ProcessCrew(jobs, 1)
    _crews[thread] = jobs, crew
    return crew


@atexit.register
def _close() -> None:
    for _, crew in _crews.values():
        crew.close()
