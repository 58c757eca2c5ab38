"""Processes of this machine that simulate, each the leader of a group.

Whatever a run starts is in the group of its process and ends with it: when it takes too long, when
it is killed, when the sweep is interrupted, and when the sweep itself is killed, which every
process sees by a pipe that closes. The processes are our own, since those of `concurrent.futures`
do not show which run it is that kills one, and cannot be ended one by one.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import current_process, get_context, resource_tracker
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

from farm_merge.sweep.failures import Failure
from farm_merge.sweep.shards import ended_by, remove_leftovers, simulate_run
from farm_merge.workers import ignore_interrupts, interrupts_held

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from farm_merge.sweep.runs import Run
    from farm_merge.sweep.shards import Ended, Jobs

__all__ = ["ProcessCrew"]

_LOOK_SECONDS = 1.0  # a process may die while something that it started keeps its pipe open


@dataclass(slots=True, eq=False)
class _Worker:
    """A process, and what it does."""

    process: SpawnProcess
    connection: Connection
    lifeline: Connection
    run: Run | None = None
    began: float | None = None

    @property
    def seconds(self) -> float:
        """How long its run has been going on."""
        return 0.0 if self.began is None else time.monotonic() - self.began

    def kill(self) -> None:
        """Kill it, with everything that it started."""
        assert self.process.pid is not None  # noqa: S101  (it was started)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()  # it may not lead a group yet

    def end(self) -> None:
        """End it, with everything that it started."""
        self.kill()
        self.process.join()
        self.connection.close()
        self.lifeline.close()


class ProcessCrew:
    """Processes that simulate one run each at a time.

    Args:
        jobs: What all runs have in common.
        workers: How many processes.
    """

    def __init__(self, jobs: Jobs, workers: int) -> None:
        self._jobs = jobs
        self._most = workers
        self._timeout = jobs.timeout
        self._busy: list[_Worker] = []
        self._free: list[_Worker] = []

    @property
    def has_room(self) -> bool:
        """Whether another run can be started now."""
        return len(self._busy) < self._most

    def start(self, run: Run) -> None:
        """Start a run."""
        worker = self._free.pop() if self._free else self._hire()
        if not worker.process.is_alive():  # killed while it had nothing to do
            worker.end()
            worker = self._hire()
        worker.run, worker.began = run, None
        self._busy.append(worker)
        with suppress(OSError):  # it died at once, which is seen when it is waited for
            worker.connection.send(run)

    def wait(self) -> list[Ended]:
        """Wait until runs have ended, and return them; none if nothing is going on."""
        ended: list[Ended] = []
        while self._busy and not ended:
            ready = wait([worker.connection for worker in self._busy], self._patience())
            for worker in list(self._busy):
                result = self._result(worker, is_ready=worker.connection in ready)
                if result is not None:
                    self._busy.remove(worker)
                    ended.append(result)
        return ended

    def kill(self) -> None:
        """Kill what is running, for whoever waits for it."""
        for worker in list(self._busy):
            worker.kill()

    def close(self) -> None:
        """End all processes, and everything that they started."""
        running = [worker.run for worker in self._busy if worker.run]
        for worker in (*self._busy, *self._free):
            worker.end()
        self._busy, self._free = [], []
        for run in running:
            remove_leftovers(self._jobs.folder, run)

    def _hire(self) -> _Worker:
        # Forked processes would inherit open databases and the locks of other threads.
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        held, lifeline = context.Pipe()
        process = context.Process(target=_serve, args=(self._jobs, theirs, lifeline))
        resource_tracker.ensure_running()  # or it is started with the first, and lets SIGINT in
        with interrupts_held(), _may_have_children():
            process.start()
        theirs.close()
        lifeline.close()
        return _Worker(process, ours, held)

    def _patience(self) -> float:
        if self._timeout is None:
            return _LOOK_SECONDS
        left = [self._timeout - worker.seconds for worker in self._busy]
        return max(0.0, min(_LOOK_SECONDS, *left))

    def _result(self, worker: _Worker, *, is_ready: bool) -> Ended | None:
        """Return how the run of a process has ended; None if it goes on."""
        try:
            while is_ready or worker.connection.poll():
                message: Ended | None = worker.connection.recv()
                if message is not None:
                    self._free.append(worker)
                    return message
                worker.began, is_ready = time.monotonic(), False
        except (EOFError, OSError):
            return self._dead(worker)
        if self._timeout is not None and worker.seconds >= self._timeout:
            return self._ended(worker, "TimeoutError", f"took longer than {self._timeout:g} s")
        if not worker.process.is_alive():
            return self._dead(worker)
        return None

    def _dead(self, worker: _Worker) -> Ended:
        """Return the failure of a run whose process is gone."""
        worker.end()
        code = worker.process.exitcode or 0
        if code < 0:
            how = f"the process was killed by {signal.Signals(-code).name}"
        else:
            how = f"the process ended with exit code {code}"
        return self._ended(worker, "Killed", how)

    def _ended(self, worker: _Worker, exception: str, message: str) -> Ended:
        run, seconds = worker.run, worker.seconds
        assert run is not None  # noqa: S101  (it was busy)
        stage = "start" if worker.began is None else "simulate"
        name = f"process {worker.process.pid} on {os.uname().nodename}"
        worker.end()
        failure = Failure(run, stage, exception, message, "", name, seconds)
        return ended_by(self._jobs, failure)


@contextmanager
def _may_have_children() -> Iterator[None]:
    """Let a daemon, as Dask's workers are, have a child: ours sees when its parent is gone."""
    config = current_process()._config  # type: ignore[attr-defined]  # noqa: SLF001
    was_daemon = config.pop("daemon", False)
    try:
        yield
    finally:
        if was_daemon:
            config["daemon"] = True


def _serve(jobs: Jobs, connection: Connection, lifeline: Connection) -> None:
    """Simulate run after run, until the sweep closes the pipe or is gone."""
    os.setpgid(0, 0)
    ignore_interrupts()
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()
    with suppress(EOFError, ConnectionError):
        while True:
            run = connection.recv()
            connection.send(None)  # it begins now, which is what a timeout counts from
            connection.send(simulate_run(jobs, run))


def _end_with(lifeline: Connection) -> None:
    """End this process and everything that it started, when the sweep is gone."""
    with suppress(EOFError, ConnectionError):
        lifeline.recv()
    os.killpg(0, signal.SIGKILL)
