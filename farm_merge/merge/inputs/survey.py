"""Survey: all inputs are inspected, several at once; what is wrong with any costs only itself."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from farm_merge.errors import ShardError, StillWrittenError
from farm_merge.merge.inputs.file import look_into
from farm_merge.merge.inputs.inspect import inspect_briefly, inspect_file
from farm_merge.merge.inputs.map_file import map_file
from farm_merge.merge.inputs.running import OpenFiles, with_evidence
from farm_merge.merge.inputs.snapshot import snapshot
from farm_merge.merge.options import Progress
from farm_merge.workers import WorkerDiedError, Workers, prefetched

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Generator, Sequence
    from pathlib import Path

    from farm_merge.merge.inputs.file import InputFile
    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.options import Options, ReportProgress

__all__ = ["Survey", "survey"]

_Glance: TypeAlias = "tuple[InputFile | ShardError, Input | None]"
"""A file as a file, or what is wrong with it; and what is in it, where a glance is enough."""

_AT_ONCE = 32
"""So many files are sent back together, since they share what they have in common."""


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
        folder: A private folder, for copies of files that are being written, or are compressed.
        report: Called as the work goes on.
    """
    found = Survey(options, folder)

    def glance(path: Path) -> _Glance:
        try:
            file = look_into(path, folder)
            return file, inspect_briefly(file) if is_brief(file) else None
        except ShardError as exc:
            return exc, None

    with (
        closing(_glances(paths, glance, options.workers)) as glances,
        ThreadPoolExecutor(options.workers) as pool,
    ):

        def submit(glance: _Glance) -> Future[Input]:
            file, known = glance
            if known is None and not isinstance(file, ShardError):
                return pool.submit(inspect_file, file, options)
            future: Future[Input] = Future()
            if isinstance(file, ShardError):
                future.set_exception(file)
            elif known is not None:
                future.set_result(known)
            return future

        inspections = prefetched(glances, submit, 2 * options.workers)
        for number, (path, (_, future)) in enumerate(zip(paths, inspections, strict=True), start=1):
            if future.exception() is None:
                found.add(future.result())
            else:  # alone: another thread may have had the file open, under another name
                found.inspect(path)
            report(Progress("inspect", number, len(paths)))
    return found


def _glances(
    paths: Sequence[Path], glance: Callable[[Path], _Glance], jobs: int
) -> Generator[_Glance, None, None]:
    """Yield what a glance at each file shows, of many files by several processes.

    What takes half a millisecond is not done by threads: they would wait for each other.
    """
    batches = [paths[first : first + _AT_ONCE] for first in range(0, len(paths), _AT_ONCE)]
    seen = 0
    if len(batches) > 1 and (workers := Workers(jobs)).forks:
        glance(paths[0])  # what it teaches about the schema, all processes know then
        results = workers.run(lambda number: list(map(glance, batches[number])), len(batches))
        with closing(results), suppress(WorkerDiedError):
            for _, future in results:
                yield from map(_as_here, future.result())
                seen += _AT_ONCE
    yield from map(glance, paths[seen:])


def _as_here(glance: _Glance) -> _Glance:
    """Return what another process saw with this one's mapping: all that are alike share one."""
    file, known = glance
    if known is not None:
        mapping = map_file(known.structure, known.kind, known.traits)
        known = replace(known, mapping=mapping)
    return file, known


class Survey:
    """What is known of all inputs.

    Attributes:
        sources: Those that can be merged.
        bad: Those that cannot, and why.
        running: Those that are being written, and why they cannot be read now.
    """

    def __init__(self, options: Options, folder: Path) -> None:
        self.sources: list[Input] = []
        self.bad: dict[Path, ShardError] = {}
        self.running: dict[Path, ShardError] = {}
        self._options = options
        self._folder = folder
        self._open_files = OpenFiles()
        self._copies = 0

    def add(self, source: Input) -> None:
        """Add an input, or what is committed in one that seems to be written, if that is wanted."""
        self._keep(source.path, lambda _: self._with_evidence(source))

    def inspect(self, path: Path) -> None:
        """Inspect a file, or what is committed in one that is being written if that is wanted."""
        self._keep(path, self._inspect)

    def read_whole(self, paths: Container[Path]) -> None:
        """Read inputs whole that were inspected briefly."""
        sources, self.sources = self.sources, []
        for source in sources:
            if source.contents is None and source.path in paths:
                self.inspect(source.path)
            else:
                self.sources.append(source)

    def _keep(self, path: Path, inspect: Callable[[Path], Input]) -> None:
        try:
            self.sources.append(inspect(path))
        except StillWrittenError as exc:
            self.running[path] = exc
        except ShardError as exc:
            self.bad[path] = exc

    def _inspect(self, path: Path) -> Input:
        try:
            source = self._inspect_in_place(look_into(path, self._folder))
        except StillWrittenError:
            if not self._options.include_running:
                raise
            return self._inspect_snapshot(path)
        return self._with_evidence(source)

    def _with_evidence(self, source: Input) -> Input:
        """Return an input with the evidence that it is written, or a snapshot of it then."""
        source = with_evidence(source, self._open_files, self._options.settle)
        if self._options.include_running and any(run.evidence for run in source.simulations):
            return self._inspect_snapshot(source.path)
        return source

    def _inspect_in_place(self, file: InputFile) -> Input:
        """Inspect a file; what seems damaged while a process may write it is half written."""
        try:
            return inspect_file(file, self._options)
        except ShardError as exc:
            if isinstance(exc, StillWrittenError) or not self._open_files.writer(file):
                raise
            raise StillWrittenError(exc.reason, path=file.path, remedy=exc.remedy) from exc

    def _inspect_snapshot(self, path: Path) -> Input:
        self._copies += 1
        copy = self._folder / f"snapshot-{self._copies}.db"
        return inspect_file(snapshot(path, copy), self._options)
