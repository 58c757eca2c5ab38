"""Collect: one writer merges shards as they come, and writes down what failed."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Self

from farm_merge.merge import merge_shards
from farm_merge.sweep.failures import Failure, forget_failures, record_failures
from farm_merge.sweep.shards import remove_leftovers
from farm_merge.sweep.shelf import simulations_in

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from farm_merge.merge import MergeReport, OnConflict, Outcome, Progress
    from farm_merge.merge.options import ReportProgress

__all__ = ["Collector", "Experiment"]

_REST = 1
"""The writer rests so many times as long as it worked: a merge of more shards at once takes less
time for each, but what is left for the end grows."""

_LEAST_REST_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Experiment:
    """Where shards are merged to, and how.

    Attributes:
        output: The experiment database.
        experiment_id: What all runs belong to.
        name: Of the experiment, if it is new.
        description: Of the experiment, if it is new.
        on_conflict: What wins, as in `merge_shards`.
    """

    output: Path
    experiment_id: str
    name: str | None
    description: str | None
    on_conflict: OnConflict

    def merge(self, shards: Sequence[Path], progress: ReportProgress | None) -> MergeReport:
        """Merge shards; what their runs left when they failed before is forgotten."""
        forget_failures(self.output, chain.from_iterable(map(simulations_in, shards)))
        return merge_shards(
            shards,
            self.output,
            experiment_id=self.experiment_id,
            name=self.name,
            description=self.description,
            on_conflict=self.on_conflict,
            progress=progress,
        )

    def record(self, failures: Sequence[Failure]) -> None:
        """Record failures, and merge what is kept of their runs."""
        record_failures(self.output, self.experiment_id, failures)
        for failure in failures:
            if failure.partial is not None:
                if failure.mark():
                    self._merge_partial(failure.partial, failure.run.simulation_id)
                remove_leftovers(failure.partial.parent, failure.run)

    def _merge_partial(self, partial: Path, simulation_id: str) -> None:
        """Merge an unfinished shard; one that cannot be merged leaves its record alone."""
        forget_failures(self.output, [simulation_id])
        merge_shards(
            [partial],
            self.output,
            experiment_id=self.experiment_id,
            on_conflict="skip",
            on_bad_shard="skip",
            include_running=True,
        )


class _StoppedError(Exception):
    """Nobody waits for the merge any more."""


class _Watched:
    """A merge's progress, by which it can be stopped."""

    def __init__(self) -> None:
        self.is_stopped = False

    def __call__(self, _: Progress) -> None:
        if self.is_stopped:
            raise _StoppedError


class Collector:
    """A thread that is the only writer of an experiment database while a sweep goes on.

    A shard that cannot be merged stops it, not the sweep: the merge at the end names it.

    Args:
        experiment: Where to, and how.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._pending: list[Path | Failure] = []
        self._changed = threading.Condition()
        self._closing = False
        self._watched = _Watched()
        self._thread = threading.Thread(target=self._work, name="farm-merge collector")
        self.error: Exception | None = None
        self.seconds = 0.0
        self.outcomes: dict[tuple[Path, str], Outcome] = {}

    def add(self, item: Path | Failure) -> None:
        """Hand over the shard of a run that completed, or why one did not."""
        with self._changed:
            self._pending.append(item)
            self._changed.notify()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Wait until everything is merged; after an error, leave the rest for the next time."""
        with self._changed:
            self._closing = True
            self._watched.is_stopped = error is not None
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        try:
            while batch := self._next():
                started = time.perf_counter()
                self._write(batch)
                took = time.perf_counter() - started
                self.seconds += took
                self._rest(max(_LEAST_REST_SECONDS, _REST * took))
        except _StoppedError:
            pass
        except Exception as exc:  # noqa: BLE001  (the merge at the end meets it again, and raises)
            self.error = exc

    def _next(self) -> list[Path | Failure]:
        """Return all that has come, when something has; nothing if that was all."""
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closing)
            batch, self._pending = self._pending, []
        return [] if self._watched.is_stopped else batch

    def _write(self, batch: list[Path | Failure]) -> None:
        failures = [item for item in batch if isinstance(item, Failure)]
        shards = [item for item in batch if not isinstance(item, Failure)]
        if failures:
            self._experiment.record(failures)
        if shards:
            report = self._experiment.merge(shards, self._watched)
            self.outcomes.update(((it.path, it.simulation_id), it) for it in report.simulations)

    def _rest(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closing, seconds)
