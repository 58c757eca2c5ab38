"""Export: tables as CSV, JSON, JSON lines, or a Hive-partitioned Parquet dataset.

Rows are streamed, and the folder appears whole. Inputs are experiment databases and shards alike,
so a sweep that has outgrown one file goes to Parquet without one.
"""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from farm_merge.errors import FarmMergeError, InvalidOptionError, ShardError
from farm_merge.merge.inputs.running import OpenFiles
from farm_merge.nearest import require_known
from farm_merge.progress import counting
from farm_merge.publish import file_name, new_folder, require_empty
from farm_merge.read.formats import (
    BATCH_ROWS,
    ColumnTypeError,
    NullWordError,
    require_format,
    write_rows,
)
from farm_merge.read.open import at_rest, reading
from farm_merge.read.where import chosen_simulations, selection
from farm_merge.schema import METADATA_TABLES
from farm_merge.sqlite import column_types, quoted, table_names

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
    from concurrent.futures import Executor, Future
    from os import PathLike

    from farm_merge.progress import ReportCount
    from farm_merge.read.formats import Compression, Format

__all__ = ["Exported", "export_tables"]

_LONGEST_NAME_BYTES = 255

_WORTH_PROCESSES_BYTES = 200_000_000
"""Two processes start in the time in which one exports 50 million bytes, with twice the memory."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote.

    Attributes:
        folder: Where it is.
        rows: Rows by table.
        files: Number of files.
    """

    folder: Path
    rows: dict[str, int]
    files: int


@dataclass(frozen=True, slots=True)
class _Source:
    """What is taken from a database.

    Attributes:
        path: The database.
        place: Where it is read.
        simulations: Which; None for whole tables.
    """

    path: Path
    place: Path
    simulations: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class _Job:
    """One file that a process writes: some simulations of a table in a database, or all.

    Attributes:
        sources: What is taken from which databases.
        table: The table.
        columns: Its columns with their declared types, as all of the sources have them together.
        steps: The steps; None for all.
        path: The file that is written.
        format: Its format.
        compression: How text is compressed.
        null: What NULL is in CSV.
    """

    sources: tuple[_Source, ...]
    table: str
    columns: tuple[tuple[str, str], ...]
    steps: range | None
    path: Path
    format: Format
    compression: Compression
    null: str


def export_tables(
    inputs: Iterable[str | PathLike[str]],
    folder: str | PathLike[str],
    format: Format,  # noqa: A002  (what it is called everywhere)
    *,
    tables: str | Iterable[str] | None = None,
    simulations: str | Iterable[str] | None = None,
    steps: range | None = None,
    as_text: str | Iterable[str] = (),
    compression: Compression = "none",
    null: str = "",
    where: Iterable[str] = (),
    jobs: int | None = None,
    dry_run: bool = False,
    executor: Executor | None = None,
    progress: ReportCount | bool | None = None,
) -> Exported:
    """Write tables of experiment databases and shards into a new folder.

    Args:
        inputs: Databases of today's schema; a simulation is in one of them only.
        folder: Where the files go; new, or empty.
        format: "csv", "json" (an array of objects), "jsonl" (an object a line), each a file a
            table; or "parquet", a file for every table and simulation, below
            `TABLE/simulation_id=ID/`.
        tables: Which tables; all by default.
        simulations: Which simulations; all by default.
        steps: Which steps, of tables that have them; all by default.
        as_text: Columns, as `TABLE.COLUMN`, that are text in Parquet whatever they are declared as:
            files of different years may have had numbers there and texts.
        compression: "gz" or "zst" for text; Parquet is always compressed with Zstandard.
        null: What NULL is in CSV; an empty field by default, as an empty text is too.
        where: Conditions on simulations that all have to hold, as `compare_simulations` takes
            them.
        jobs: Processes; by default one a core, or none beside this one where there is little to
            do.
        dry_run: Only count the rows; nothing is written.
        executor: Does the work instead, such as `Client.get_executor()` of a Dask cluster that
            sees the same files.
        progress: Called with the number of files written, and their total; True draws a bar.

    Raises:
        InvalidOptionError: If an option has a value that it does not know.
        ShardError: If an input cannot be read, or two hold one simulation.
        FarmMergeError: If there is no such table or simulation, a value is not of its column's
            declared type (Parquet), or a package is missing.
        OutputError: If the folder is not empty or cannot be written.
    """
    require_format(format, compression)
    paths = list(map(Path, inputs))
    jobs = _fitting_jobs(paths) if jobs is None else jobs
    if not isinstance(jobs, int) or jobs < 1:
        raise InvalidOptionError(f"jobs is {jobs!r}; it takes a number from 1")
    if null and format != "csv":
        raise InvalidOptionError(f"null is {null!r}, and {format} has a NULL of its own")
    folder = Path(folder)
    if dry_run:
        require_empty(folder)
        return _counted(
            paths, folder, format, _listed(tables), _listed(simulations), steps, list(where)
        )
    with new_folder(folder) as partial, ExitStack() as stack:
        open_files = OpenFiles()
        places = [
            (path, stack.enter_context(at_rest(path, partial.parent, open_files))) for path in paths
        ]
        sources = _sources(places, _listed(simulations), list(where))
        columns = _with_text(_columns(sources, _listed(tables)), _listed(as_text) or [])
        work = list(_jobs(sources, columns, partial, format, compression, null, steps))
        rows = dict.fromkeys(columns, 0)
        with (
            _workers(executor, min(jobs, len(work))) as submit,
            counting(progress, "export", "files") as report,
        ):
            waiting = [(job, submit(job)) for job in work]
            for done, (job, result) in enumerate(waiting, start=1):
                rows[job.table] += result()
                report(done, len(work))
    return Exported(folder, rows, len(work))


def _fitting_jobs(paths: Iterable[Path]) -> int:
    """Return how many processes are worth their start."""
    size = sum(path.stat().st_size for path in paths if path.exists())
    return (os.cpu_count() or 1) if size > _WORTH_PROCESSES_BYTES else 1


def _listed(names: str | Iterable[str] | None) -> list[str] | None:
    """Return names as a list; a text is one name, and not its letters."""
    if names is None:
        return None
    return [names] if isinstance(names, str) else list(names)


def _sources(
    places: Iterable[tuple[Path, Path]], wanted: list[str] | None, where: list[str]
) -> list[_Source]:
    """Return the simulations that are taken from each input.

    Args:
        places: The inputs, each with where it is read.
        wanted: The simulations; None for all.
        where: Conditions that they have to meet.
    """
    homes: dict[str, Path] = {}
    sources = []
    for path, place in places:
        with reading(place) as connection:
            ids = chosen_simulations(connection)
            kept = chosen_simulations(connection, where) if where else ids
        for simulation_id in ids:
            if simulation_id in homes:
                raise ShardError(
                    f"has simulation {simulation_id}, and so has {homes[simulation_id]}", path=path
                )
            homes[simulation_id] = path
        kept = kept if wanted is None else [name for name in kept if name in wanted]
        sources.append(_Source(path, place, tuple(kept)))
    require_known("simulation", wanted or (), homes)
    return sources


def _counted(
    paths: Iterable[Path],
    folder: Path,
    format: Format,  # noqa: A002
    tables: list[str] | None,
    simulations: list[str] | None,
    steps: range | None,
    where: list[str],
) -> Exported:
    """Return what an export would write."""
    sources = _sources(((path, path) for path in paths), simulations, where)
    jobs = list(_jobs(sources, _columns(sources, tables), folder, format, "none", "", steps))
    rows = dict.fromkeys((job.table for job in jobs), 0)
    for job in jobs:
        for source in job.sources:
            with reading(source.place) as connection:
                if column_types(connection, job.table):
                    chosen, values = selection(connection, job.table, source.simulations, steps)
                    asked = f"SELECT count(*) FROM {quoted(job.table)}{chosen}"
                    rows[job.table] += connection.execute(asked, values).fetchone()[0]
    return Exported(folder, rows, len(jobs))


def _columns(
    sources: Iterable[_Source], wanted: list[str] | None
) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return the columns of each table with their declared types, over all inputs."""
    found: dict[str, dict[str, str]] = {}
    for source in sources:
        with reading(source.place) as connection:
            for table in table_names(connection):
                columns = found.setdefault(table, {})
                for name, declared in column_types(connection, table).items():
                    columns.setdefault(name, declared)
    if wanted is not None:
        require_known("table", wanted, found)
        found = {table: found[table] for table in wanted}
    return {table: tuple(columns.items()) for table, columns in found.items()}


def _with_text(
    columns: dict[str, tuple[tuple[str, str], ...]], as_text: list[str]
) -> dict[str, tuple[tuple[str, str], ...]]:
    chosen = set(as_text)
    known = {f"{table}.{name}" for table, found in columns.items() for name, _ in found}
    require_known("exported column", sorted(chosen), sorted(known))
    return {
        table: tuple(
            (name, "TEXT" if f"{table}.{name}" in chosen else declared) for name, declared in found
        )
        for table, found in columns.items()
    }


def _jobs(
    sources: list[_Source],
    columns: Mapping[str, tuple[tuple[str, str], ...]],
    folder: Path,
    format: Format,  # noqa: A002
    compression: Compression,
    null: str,
    steps: range | None,
) -> Iterator[_Job]:
    suffix = "" if compression == "none" else f".{compression}"
    for table, found in columns.items():
        names = [name for name, _ in found]
        if format == "parquet" and table not in METADATA_TABLES and "simulation_id" in names:
            # The path holds the id, so the file does not.
            rest = tuple(column for column in found if column[0] != "simulation_id")
            for source in sources:
                for simulation_id in source.simulations or ():
                    part = folder / file_name(table) / _partition(simulation_id)
                    one = replace(source, simulations=(simulation_id,))
                    path_of_part = part / "part-0.parquet"
                    yield _Job((one,), table, rest, steps, path_of_part, format, "none", "")
            continue
        path = folder / f"{file_name(table)}.{format}{suffix}"
        if format == "parquet":
            path = folder / file_name(table) / "part-0.parquet"
        whole = tuple(
            source if "simulation_id" in names else replace(source, simulations=None)
            for source in sources
        )
        yield _Job(whole, table, found, steps, path, format, compression, null)


def _partition(simulation_id: str) -> str:
    """Return the folder of a simulation; readers of a dataset take the id from its name.

    Raises:
        FarmMergeError: If no folder can have that name.
    """
    name = f"simulation_id={quote(simulation_id, safe='')}"
    if len(name) > _LONGEST_NAME_BYTES:
        raise FarmMergeError(
            f"simulation {simulation_id[:40]}…: its id is too long for the name of a folder",
            remedy="export it as CSV or JSON lines",
        )
    return name


@contextmanager
def _workers(executor: Executor | None, jobs: int) -> Iterator[Callable[[_Job], Callable[[], int]]]:
    """Yield what takes a job and returns what waits for its rows."""
    if executor is None and jobs <= 1:
        yield lambda job: lambda: _write(job)
        return
    with ExitStack() as stack:
        if executor is None:
            # Not forked: SQLite's locks do not survive it.
            pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
            executor = stack.enter_context(pool)
        futures: list[Future[int]] = []

        def submit(job: _Job) -> Callable[[], int]:
            futures.append(executor.submit(_write, job))
            return futures[-1].result

        try:
            yield submit
        finally:
            for future in futures:
                future.cancel()


def _write(job: _Job) -> int:
    """Write a file; return its rows."""
    job.path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(_batches(job)) as batches:  # with its connection, in this thread
            return write_rows(job.path, job.format, job.compression, job.columns, batches, job.null)
    except NullWordError as exc:
        raise FarmMergeError(
            f"column {exc.column}: a text is {job.null!r}, as NULL would be",
            path=", ".join(str(source.path) for source in job.sources),
            table=job.table,
            remedy="choose another word for NULL: `null=`",
        ) from exc
    except ColumnTypeError as exc:
        raise FarmMergeError(
            f"column {exc.column}: a value is not of the declared type, which is {exc.reason}",
            path=", ".join(str(source.path) for source in job.sources),
            table=job.table,
            remedy=f"export it as text: `as_text={job.table}.{exc.column}`",
        ) from exc


def _batches(job: _Job) -> Generator[list[tuple[Any, ...]], None, None]:
    """Yield the rows, some thousand at a time; metadata that several inputs have comes once."""
    seen: set[object] | None = (
        set() if len(job.sources) > 1 and job.table == "experiments" else None
    )
    for source in job.sources:
        with reading(source.place) as connection:
            there = column_types(connection, job.table)
            if not there:
                continue
            chosen = ", ".join(quoted(name) if name in there else "NULL" for name, _ in job.columns)
            where, values = selection(connection, job.table, source.simulations, job.steps)
            cursor = connection.execute(f"SELECT {chosen} FROM {quoted(job.table)}{where}", values)
            while batch := cursor.fetchmany(BATCH_ROWS):
                if seen is not None:
                    batch = [row for row in batch if row[0] not in seen]
                    seen.update(row[0] for row in batch)
                yield batch
