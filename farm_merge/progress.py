"""Progress: how work that takes long reports how far it is, and the bar that shows it.

Who starts the work passes a function that is called as it goes on, or True for a bar: in a notebook
one of the notebook's, else a line on standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from threading import RLock
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tqdm import tqdm

__all__ = [
    "Bar",
    "Event",
    "ReportCount",
    "counting",
    "is_watched",
    "phases",
    "runs_and_merge",
    "show_event",
    "show_runs",
    "silent",
]

ReportCount = Callable[[int, int], None]
"""Called with how much is done, and how much there is."""

_UNITS = {"inspect": "files", "copy": "rows"}
"""What is counted in the phases of a merge."""

_SCALED = frozenset({"B", "rows"})
"""What there is so much of that it is counted in thousands."""

_DELAY_SECONDS = 0.3
"""A bar over less than this would only flicker. What was done before it is no part of its rate, so
it is first seen when that is known."""


def is_watched() -> bool:
    """Return whether somebody is looking: in a notebook, or at a terminal."""
    return "ipykernel" in sys.modules or sys.stderr.isatty()


def silent(*_: object) -> None:
    """Report to nobody."""


class Event(Protocol):
    """What a merge reports."""

    @property
    def phase(self) -> str:
        """What is done: "wait", "inspect", "plan", "copy" or "verify"."""

    @property
    def done(self) -> int:
        """How much is done."""

    @property
    def total(self) -> int:
        """How much there is."""


class Bar:
    """One bar at a time: where other work begins, its bar takes the place of the one before."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._what = ""

    def show(self, what: str, unit: str, done: int, total: int, note: str = "") -> None:
        """Show how far work is.

        Args:
            what: What is done, in a word.
            unit: What is counted.
            done: How much is done.
            total: How much there is.
            note: What else is to be seen.
        """
        if self._bar is None or what != self._what:
            self.close()
            self._what = what
            self._bar = _tqdm()(
                desc=what,
                unit=unit if unit == "B" else f" {unit}",
                unit_scale=unit in _SCALED,
                leave=False,
                initial=done,
                delay=_DELAY_SECONDS,
                dynamic_ncols=True,
            )
        self._bar.total = total
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(done - self._bar.n)

    def describe(self, what: str) -> None:
        """Say what the work has come to that the bar shows."""
        if self._bar is not None:
            self._what = what
            self._bar.set_description(what)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Take the bar away while a line is printed."""
        if self._bar is None:
            yield
            return
        with self._bar.external_write_mode():
            yield

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _tqdm() -> type[tqdm[Any]]:
    """Return the bars that suit where this runs."""
    # The import of tqdm.auto takes longer than a small merge.
    name = "tqdm.auto" if "ipykernel" in sys.modules else "tqdm"
    # A thread that watches the bar would keep the merge from forking its workers.
    found = type("Bar", (import_module(name).tqdm,), {"monitor_interval": 0})
    bars = cast("type[tqdm[Any]]", found)
    bars.set_lock(RLock())  # its own is for processes, too, and starts one on Python 3.14
    return bars


@contextmanager
def counting(
    progress: ReportCount | bool | None,
    what: str,
    unit: str,
) -> Iterator[ReportCount]:
    """Yield what is called with how much is done: the caller's own function, or one of a bar.

    Args:
        progress: The function; True for a bar; None or False for neither.
        what: What is done, in a word.
        unit: What is counted.
    """
    if callable(progress):
        yield progress
    elif progress:
        with Bar() as bar:
            yield lambda done, total: bar.show(what, unit, done, total)
    else:
        yield silent


_Event = TypeVar("_Event", bound=Event)


@contextmanager
def phases(
    progress: Callable[[_Event], None] | bool | None,
) -> Iterator[Callable[[_Event], None]]:
    """Yield what is called with each event of a merge: the caller's own function, or a bar's.

    Args:
        progress: The function; True for a bar; None or False for neither.
    """
    if callable(progress):
        yield progress
    elif progress:
        with Bar() as bar:
            yield partial(show_event, bar)
    else:
        yield silent


@contextmanager
def runs_and_merge(
    progress: Callable[..., None] | bool | None,
    merge_progress: Callable[..., None] | None,
) -> Iterator[tuple[Callable[..., None] | None, Callable[..., None] | None]]:
    """Yield what is called as the runs of a sweep end, and with each event of its merge.

    Args:
        progress: The caller's own function for runs; True for a bar, over the merge as well.
        merge_progress: The caller's own function for the merge.
    """
    if callable(progress) or not progress:
        yield progress or None, merge_progress
        return
    with Bar() as bar:
        yield (
            partial(show_runs, bar),
            merge_progress or partial(show_event, bar),
        )


def show_runs(bar: Bar, done: int, failed: int, total: int, *_: object) -> None:
    """Show how many runs of a sweep have ended."""
    bar.show("simulate", "runs", done + failed, total, f"{failed:,} failed" if failed else "")


def show_event(bar: Bar, event: Event) -> None:
    """Show how far a merge is."""
    if event.phase == "verify":
        bar.describe("verify")
    elif event.phase in _UNITS:
        bar.show(event.phase, _UNITS[event.phase], event.done, event.total)
