"""Workers: what is done to many files at once, in processes where that is safe, and in threads.

A forked process shares all that was there before, so nothing has to be sent to it but the number of
a file. But a fork copies one thread alone: a lock that another holds would never be given back. So
a process with several threads (a notebook, a Dask worker) gets threads.

The processes are our own, and not those of `concurrent.futures`: theirs live on when their parent
is killed, and the threads that serve them made the graft a fifth slower.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from contextlib import AbstractContextManager
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkContext

__all__ = [
    "WorkerDiedError",
    "Workers",
    "ignore_interrupts",
    "interrupts_held",
    "own_process",
    "prefetched",
    "taken_from",
]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_TASKS_EACH, _AHEAD_EACH = 2, 4
"""What a process has to do next waits for it, so that it never waits; but results that wait for an
earlier one take memory."""

_HELD = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
"""What may end the command: the last is the alarm by which it looks again whether it may."""


class WorkerDiedError(Exception):
    """A process that worked was killed."""


class Workers:
    """Processes or threads that do one thing to many items.

    Args:
        jobs: How many.

    Attributes:
        lock: What keeps them apart.
        forks: Whether they are processes.
    """

    lock: AbstractContextManager[Any]

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self.forks = False
        self.lock = threading.Lock()
        if jobs > 1 and _may_fork():
            try:
                self.lock = _context().Lock()
                self.forks = True
            except (ImportError, OSError):
                pass  # no semaphores that processes share, as in some containers

    def run(
        self, work: Callable[[int], _Result], count: int
    ) -> Generator[tuple[int, Future[_Result]], None, None]:
        """Yield numbers from 0 in their order, each with what is made of it; to be closed."""
        if self.forks:
            return _in_processes(work, count, self._jobs)
        return _in_threads(work, count, self._jobs)


def prefetched(
    items: Iterable[_Item], submit: Callable[[_Item], Future[_Result]], ahead: int
) -> Generator[tuple[_Item, Future[_Result]], None, None]:
    """Yield items in their order, each with what is made of it elsewhere, a few ahead.

    Args:
        items: What work is done to.
        submit: Has it done.
        ahead: How many results may wait.
    """
    waiting: deque[tuple[_Item, Future[_Result]]] = deque()
    try:
        for item in items:
            waiting.append((item, submit(item)))
            if len(waiting) > ahead:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        for _, future in waiting:
            future.cancel()


def taken_from(waiting: deque[_Item]) -> Iterator[_Item]:
    """Yield items until there are no more; several threads share them."""
    while True:
        try:
            yield waiting.popleft()
        except IndexError:
            return


@contextmanager
def own_process(
    work: Callable[[_Item], _Result],
) -> Iterator[Callable[[_Item], _Result] | None]:
    """Yield what has something done by a process of its own, one call after the other.

    That process is killed at the end, whatever it does. Yields None where none can be forked.
    """
    if not _may_fork():
        yield None
        return
    with _forked(work, 1) as (connection,):

        def ask(item: _Item) -> _Result:
            with _noticing_death():
                connection.send(item)
                _, result, error = connection.recv()
            if error is not None:
                raise error
            return result  # type: ignore[no-any-return]

        yield ask


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Let signals wait while a process is started: it gets them too, and has no answer yet."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_interrupts() -> None:
    """Leave SIGINT to the parent, in a process that was started while signals were held."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)


def _may_fork() -> bool:
    # macOS's own libraries do not survive a fork, and a daemonic process may not have children.
    if sys.platform != "linux" or threading.active_count() > 1:
        return False
    from multiprocessing import current_process

    return not current_process().daemon


def _context() -> ForkContext:
    from multiprocessing import get_context  # slow to load, and of no use to few files

    return get_context("fork")


def _in_threads(
    work: Callable[[int], _Result], count: int, jobs: int
) -> Generator[tuple[int, Future[_Result]], None, None]:
    with ThreadPoolExecutor(jobs) as pool:
        yield from prefetched(range(count), lambda number: pool.submit(work, number), jobs)


def _in_processes(
    work: Callable[[int], _Result], count: int, jobs: int
) -> Generator[tuple[int, Future[_Result]], None, None]:
    from multiprocessing.connection import wait

    with _forked(work, min(jobs, count)) as connections:
        free = deque([*connections] * _TASKS_EACH)
        done: dict[int, Future[_Result]] = {}
        given = 0
        for number in range(count):
            while number not in done:
                while free and given < min(count, number + _AHEAD_EACH * jobs):
                    connection = free.popleft()
                    with _noticing_death():
                        connection.send(given)
                    given += 1
                ready = wait(connections)
                for connection in [ours for ours in connections if ours in ready]:
                    with _noticing_death():
                        finished, result, error = connection.recv()
                    free.append(connection)
                    done[finished] = Future()
                    if error is None:
                        done[finished].set_result(result)
                    else:
                        done[finished].set_exception(error)
            yield number, done.pop(number)


@contextmanager
def _noticing_death() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError) as exc:
        raise WorkerDiedError from exc


@contextmanager
def _forked(work: Callable[[Any], Any], jobs: int) -> Iterator[list[Connection]]:
    context = _context()
    connections: list[Connection] = []
    processes = []
    try:
        for _ in range(jobs):
            ours, theirs = context.Pipe()
            connections.append(ours)
            process = context.Process(target=_serve, args=(work, theirs, connections), daemon=True)
            with interrupts_held():
                process.start()
                processes.append(process)
            theirs.close()
        yield connections
    finally:
        # They have nothing to do, or nobody wants what they do; one may wait for the lock of a
        # process that was killed.
        for process in processes:
            process.kill()
        for process in processes:
            process.join()
        for connection in connections:  # one more than processes, if that one could not be made
            connection.close()


def _serve(work: Callable[[Any], Any], connection: Connection, parents: list[Connection]) -> None:
    """Work until the parent closes the connection, or is killed, which closes it too."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ignore_interrupts()
    # What the parent forgot stays open: to close a file here drops this process's locks on it.
    gc.freeze()
    for parent in parents:
        parent.close()
    try:
        while True:
            number = connection.recv()
            result, error = None, None
            try:
                result = work(number)
            except Exception as exc:  # noqa: BLE001 - it is raised in the parent
                error = exc
            connection.send((number, result, error))
    except (EOFError, ConnectionError):
        os._exit(0)
