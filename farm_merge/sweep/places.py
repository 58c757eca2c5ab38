"""Places: where the runs of a sweep are, each in a shard of its own or in that of its worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm_merge.sweep.shards import shard_path

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from farm_merge.sweep.collect import Collector
    from farm_merge.sweep.failures import Failure
    from farm_merge.sweep.runs import Run
    from farm_merge.sweep.shelf import Shelf

__all__ = ["Places"]


class Places:
    """The shards of a sweep.

    Args:
        folder: Where they are.
        shelf: Those of workers.
    """

    def __init__(self, folder: Path, shelf: Shelf) -> None:
        self._folder = folder
        self._shelf = shelf

    def path(self, run: Run) -> Path:
        """Return where a run is, or belongs."""
        return self._shelf.find(run.simulation_id) or shard_path(self._folder, run)

    def of(self, runs: Iterable[Run]) -> Iterable[Path]:
        """Return the shards that are there, each once."""
        return dict.fromkeys(path for run in runs if (path := self.path(run)).exists())

    def collect(self, run: Run, collector: Collector) -> None:
        """Hand over the shard of a run that completed, or those of workers that are old."""
        if (own := shard_path(self._folder, run)).exists():
            collector.add(own)
            return
        for shard in self._shelf.take_over_old():
            collector.add(shard)

    def has_lost(self, failure: Failure, collector: Collector) -> bool:
        """Return whether a run is there, though its executor failed.

        Dask may lose the word of a run whose worker died when it was done.
        """
        if failure.stage != "executor":
            return False
        self.take_over(collector)
        return self.path(failure.run).exists()

    def take_over(self, collector: Collector) -> None:
        """Hand over the shards of workers, as far as they have come."""
        for shard in self._shelf.take_over():
            collector.add(shard)
