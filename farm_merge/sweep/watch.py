"""Watch: merge the shards of simulations that something else has started, as they come."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from farm_merge.errors import InvalidOptionError, ShardError
from farm_merge.merge import MergeReport, find_inputs, merge_shards
from farm_merge.merge.inputs.file import companions, identify
from farm_merge.publish import reading_output

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

    from farm_merge.merge import OnConflict
    from farm_merge.merge.inputs.file import Identity

__all__ = ["watch_shards"]


def watch_shards(
    paths: Iterable[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    experiment_id: str | None = None,
    on_conflict: OnConflict = "error",
    settle: float = 2.0,
    interval: float = 1.0,
    until: int | None = None,
    stop: threading.Event | None = None,
) -> Iterator[MergeReport]:
    """Merge files as they appear, and yield what each merge did.

    A file is merged when it has not changed for a while and nothing writes it. What cannot be
    merged is in the report, and is tried again when it has changed. Watching may end at any moment
    and begin again: the ledger knows what is there.

    Args:
        paths: Files, folders and patterns, which may match nothing yet.
        output: The experiment database.
        experiment_id: The experiment of the merged simulations, as for `merge_shards`.
        on_conflict: What wins where a simulation_id has different data, as for `merge_shards`.
        settle: For how many seconds a file must not have changed.
        interval: Seconds between two looks.
        until: Watch until the output has so many simulations; for ever by default.
        stop: Set it to end the watch.

    Raises:
        InvalidOptionError: If a number is not one that it can be.
        ConflictError, OutputError: As `merge_shards` does.
    """
    if interval <= 0 or settle < 0:
        raise InvalidOptionError("interval takes seconds above 0, and settle from 0")
    places, output = [Path(path) for path in paths], Path(output)
    stop, done = stop or threading.Event(), _Done()
    while not stop.is_set():
        if settled := done.new_ones(_settled(places, output, settle)):
            report = merge_shards(
                settled,
                output,
                experiment_id=experiment_id,
                on_conflict=on_conflict,
                on_bad_shard="skip",
            )
            done.note(settled, report)
            yield report
        if until is not None and _simulations(output) >= until:
            return
        stop.wait(interval)


class _Done:
    """The files that have been handed to a merge, each as it was then."""

    def __init__(self) -> None:
        self._seen: dict[Path, Identity] = {}

    def new_ones(self, files: dict[Path, Identity]) -> list[Path]:
        """Return the files that were not there before, or have changed since."""
        new = [path for path, identity in files.items() if self._seen.get(path) != identity]
        self._seen.update((path, files[path]) for path in new)
        return new

    def note(self, paths: list[Path], report: MergeReport) -> None:
        """Let those be looked at again of which a run goes on."""
        going_on = {left.path for left in report.left_out if "include_running" in left.remedy}
        for path in paths:
            if path in going_on:
                del self._seen[path]


def _settled(paths: list[Path], output: Path, settle: float) -> dict[Path, Identity]:
    """Return the files that have not changed for a while, with nothing of SQLite beside them."""
    settled = {}
    newest = time.time_ns() - int(settle * 1e9)
    for path in find_inputs(paths, output=output).files:
        try:
            identity = identify(path)
            if max(identity.mtime_ns, identity.ctime_ns) <= newest and not companions(path):
                settled[path] = identity
        except ShardError:
            continue  # a pattern that matches nothing yet, or a file that is gone again
    return settled


def _simulations(output: Path) -> int:
    if not output.exists():
        return 0
    with reading_output(output) as connection:
        (number,) = connection.execute("SELECT count(*) FROM simulations").fetchone()
    return int(number)
