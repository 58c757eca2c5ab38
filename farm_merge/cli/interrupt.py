"""Interrupt: Ctrl-C ends a command where the command can bear it.

Python raises KeyboardInterrupt between any two of its instructions. In the middle of an import it
becomes another error; in what runs at a fork, or when an object goes, it is printed and forgotten,
and so it is in what SQLite calls; in the code of a lock it leaves the lock held, for which a
thread then waits for ever; and a temporary folder that is being removed it leaves there. So a
signal waits until the command is in code of its own, or in a call that blocks.
"""

from __future__ import annotations

import atexit
import os
import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import FrameType

__all__ = ["interrupted", "on_signal", "waiting_signal"]

_AGAIN_SECONDS = 0.01
_PATIENCE_SECONDS = 1.0
"""How long other packages may go on; nobody asks whether they bear it."""

_OWN = __name__.partition(".")[0]
_DELICATE = frozenset((
    "concurrent", "importlib", "logging", "multiprocessing", "queue", "tempfile", "threading",
    "weakref",
    f"{_OWN}.publish.lock", f"{_OWN}.publish.workshop",
))  # fmt: skip
_WAITING = frozenset((
    "_recv", "_wait_for_tstate_lock", "hold", "join", "poll", "select", "wait",
))  # fmt: skip
"""Functions in which the command waits for others; `join` is that of threads since Python 3.13."""

_CALLED_BY_SQLITE = frozenset(("_by_bytes", "_refuse_attach", "_refuse_modules", "count"))


def on_signal(numbers: Iterable[signal.Signals], act: Callable[[int], None]) -> None:
    """Have something done at a signal, at the next moment that can bear it.

    Args:
        numbers: The signals; one that is ignored, as behind `nohup`, stays so.
        act: Called with the number of the signal.
    """
    handler = _Deferring(act)
    for number in numbers:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
    signal.signal(signal.SIGALRM, handler)
    # When Python ends, it gives signals back their own effect: an alarm would kill it.
    atexit.register(signal.signal, signal.SIGALRM, signal.SIG_IGN)


def interrupted(number: int) -> None:
    """Raise what `exit_on_error` ends the command with."""
    raise KeyboardInterrupt(number)


def waiting_signal() -> int | None:
    """Return the signal that came, and waits for a moment that can bear it; None if none does."""
    handler = signal.getsignal(signal.SIGALRM)
    return handler.waiting if isinstance(handler, _Deferring) else None


class _Deferring:
    """A handler of signals, and of the alarm by which it looks again."""

    def __init__(self, act: Callable[[int], None]) -> None:
        self._act = act
        self._process = os.getpid()
        self._number: int = signal.SIGINT
        self._since: float | None = None
        self._seen: tuple[FrameType, int] | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # just forked: what happens to it, its parent decides
            return
        if number != signal.SIGALRM:
            self._number, self._seen = number, None
            self._since = self._since or time.monotonic()
        if self._since is None:
            return
        if frame is None or self._may_act(frame):
            self._since = self._seen = None
            self._act(self._number)
            return
        self._seen = (frame, frame.f_lasti)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    @property
    def waiting(self) -> int | None:
        """The signal that has not been acted on."""
        return None if self._since is None else self._number

    def _may_act(self, frame: FrameType) -> bool:
        if self._seen == (frame, frame.f_lasti) and frame.f_code.co_name in _WAITING:
            return True
        if _is_delicate(frame):
            self._since = time.monotonic()
            return False
        waited = time.monotonic() - (self._since or 0)
        return _package(frame) == _OWN or waited > _PATIENCE_SECONDS


def _is_delicate(frame: FrameType | None) -> bool:
    """Return whether what is executed, or has called that, is to be left alone."""
    if frame is not None and frame.f_code.co_name in _CALLED_BY_SQLITE:
        return True
    while frame is not None:
        if _package(frame) in _DELICATE or frame.f_globals.get("__name__") in _DELICATE:
            return True
        frame = frame.f_back
    return False


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
