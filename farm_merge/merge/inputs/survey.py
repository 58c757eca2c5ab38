"""Survey: all inputs are inspected, several at once; what is wrong with any costs only itself."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from farm_merge.errors import ShardError, StillWrittenError
from farm_merge.merge.inputs.file import look_at, snapshot
from farm_merge.merge.inputs.inspect import inspect_briefly, inspect_file
from farm_merge.merge.options import Progress
from farm_merge.workers import prefetched

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from farm_merge.merge.inputs.file import InputFile
    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.options import Options, ReportProgress

__all__ = ["Survey", "survey"]


@dataclass(slots=True)
class Survey:
    """What is known of all inputs.

    Attributes:
        sources: Those that can be merged.
        bad: Those that cannot, and why.
        running: Those that are being written.
    """

    sources: list[Input] = field(default_factory=list)
    bad: dict[Path, ShardError] = field(default_factory=dict)
    running: dict[Path, ShardError] = field(default_factory=dict)


def survey(
    paths: Sequence[Path],
    is_brief: Callable[[InputFile], bool],
    options: Options,
    folder: Path,
    report: ReportProgress,
) -> Survey:
    """Inspect files.

    Args:
        paths: The files.
        is_brief: Whether a brief inspection does for a file, since its pages are read later.
        options: What the user decided.
        folder: A private folder, for snapshots of files that are being written.
        report: Called as the work goes on.
    """
    found = Survey()
    with ThreadPoolExecutor(options.workers) as pool:

        def submit(path: Path) -> Future[Input]:
            # What takes half a millisecond is done here: threads would wait for each other.
            future: Future[Input] = Future()
            try:
                file = look_at(path)
                known = inspect_briefly(file) if is_brief(file) else None
            except ShardError as exc:
                future.set_exception(exc)
                return future
            if known is None:
                return pool.submit(inspect_file, file, options.on_duplicate_row)
            future.set_result(known)
            return future

        inspections = prefetched(paths, submit, 2 * options.workers)
        for number, (path, future) in enumerate(inspections, start=1):
            if future.exception() is None:
                found.sources.append(future.result())
            else:  # alone: another thread may have had the file open, under another name
                _inspect_alone(path, options, folder / f"running-{number}.db", found)
            report(Progress("inspect", number, len(paths)))
    return _with_rivals_read_whole(found, options, folder)


def _inspect_alone(path: Path, options: Options, copy: Path, found: Survey) -> None:
    """Inspect a file, or the snapshot of one that is being written; add what comes of it."""
    try:
        try:
            file = look_at(path)
        except StillWrittenError:
            if not options.include_running:
                raise
            file = snapshot(path, copy)
        found.sources.append(inspect_file(file, options.on_duplicate_row))
    except StillWrittenError as exc:
        found.running[path] = exc
    except ShardError as exc:
        found.bad[path] = exc


def _with_rivals_read_whole(found: Survey, options: Options, folder: Path) -> Survey:
    """Read the inputs whole that name one simulation, since their content decides."""
    times = Counter(
        simulation.simulation_id for source in found.sources for simulation in source.simulations
    )
    whole = Survey([], found.bad, found.running)
    for number, source in enumerate(found.sources):
        if source.contents or times[source.simulations[0].simulation_id] == 1:
            whole.sources.append(source)
        else:
            _inspect_alone(source.path, options, folder / f"rival-{number}.db", whole)
    return whole
