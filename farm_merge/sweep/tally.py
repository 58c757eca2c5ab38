"""Tally: what became of the runs so far, which are tried again, and when it is enough."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from farm_merge.sweep.failures import Failure
    from farm_merge.sweep.runs import Run

__all__ = ["Tally"]


@dataclass(slots=True)
class Tally:
    """What became of the runs so far.

    Attributes:
        total: How many runs there are.
        max_failures: How many may fail before it is enough; no limit if None.
        retries: How often a run that fails is tried again.
        progress: Called with the number of runs done, failed and in total, and the last one.
        present: How many were there before.
        completed: Those that completed.
        failed: Those that did not, however often they were tried.
    """

    total: int
    max_failures: int | None
    retries: int
    progress: Callable[[int, int, int, Run | None], None] | None
    present: int
    completed: list[Run] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    _attempts: Counter[str] = field(default_factory=Counter)

    @property
    def is_over(self) -> bool:
        """Whether too many runs have failed."""
        return self.max_failures is not None and len(self.failed) >= self.max_failures

    @property
    def left(self) -> int:
        """How many runs have neither completed nor failed."""
        return self.total - self.present - len(self.completed) - len(self.failed)

    def complete(self, run: Run) -> None:
        """Count a run that completed."""
        self.completed.append(run)
        self.report(run)

    def fail(self, failure: Failure) -> Failure | None:
        """Count an attempt that failed; return the failure of the run, if it is not tried again."""
        simulation_id = failure.run.simulation_id
        self._attempts[simulation_id] += 1
        attempts = self._attempts[simulation_id]
        if attempts <= self.retries:
            return None
        self.failed.append(replace(failure, attempts=attempts))
        self.report(failure.run)
        return self.failed[-1]

    def report(self, run: Run | None) -> None:
        """Report how far the sweep has come, and the run that ended last."""
        if self.progress is not None:
            done = self.present + len(self.completed)
            self.progress(done, len(self.failed), self.total, run)
