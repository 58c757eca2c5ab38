"""Export: tables as CSV, JSON, JSON lines, or a Hive-partitioned Parquet dataset.

Rows are streamed, and the folder appears whole. Inputs are experiment databases and shards alike,
so a sweep that has outgrown one file goes to Parquet without one.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, get_args
from urllib.parse import quote

from farm_merge.errors import FarmMergeError, ShardError
from farm_merge.merge.tables.definition import affinity
from farm_merge.publish import new_folder
from farm_merge.reading import column_types, reading, selection, table_names
from farm_merge.schema import METADATA_TABLES
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from concurrent.futures import Executor, Future
    from os import PathLike

    import pyarrow as pa

__all__ = ["Compression", "Exported", "Format", "export_tables"]

Format = Literal["csv", "json", "jsonl", "parquet"]
Compression = Literal["none", "gz", "zst"]

_BATCH_ROWS = 20_000
_ROW_GROUP_ROWS = 200_000


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
class _Job:
    """One piece of work for a process: some simulations of a table in a database, or all.

    Attributes:
        sources: Databases, each with the simulations that are taken from it.
        table: The table.
        columns: Its columns with their declared types, as all of the sources have them together.
        steps: The steps; None for all.
        path: The file that is written.
        format: Its format.
        compression: How text is compressed.
        partition: Whether `simulation_id` is in the path and not in the file.
    """

    sources: tuple[tuple[Path, tuple[str, ...] | None], ...]
    table: str
    columns: tuple[tuple[str, str], ...]
    steps: range | None
    path: Path
    format: Format
    compression: Compression
    partition: bool


def export_tables(
    inputs: Iterable[str | PathLike[str]],
    folder: str | PathLike[str],
    format: Format,  # noqa: A002  (what it is called everywhere)
    *,
    tables: Iterable[str] | None = None,
    simulations: Iterable[str] | None = None,
    steps: range | None = None,
    as_text: Iterable[str] = (),
    compression: Compression = "none",
    jobs: int = 1,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
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
        jobs: Processes.
        executor: Does the work instead, such as `Client.get_executor()` of a Dask cluster that
            sees the same files.
        progress: Called with the number of files written, and their total.

    Raises:
        ShardError: If an input cannot be read, or two hold one simulation.
        FarmMergeError: If there is no such table or simulation, a value is not of its column's
            declared type (Parquet), or a package is missing.
        OutputError: If the folder is not empty or cannot be written.
    """
    _require_packages(format, compression)
    folder = Path(folder)
    sources = _sources(list(map(Path, inputs)), simulations)
    columns = _with_text(_columns(sources, tables), as_text)
    with new_folder(folder) as partial:
        work = list(_jobs(sources, columns, partial, format, compression, steps))
        rows = dict.fromkeys(columns, 0)
        with _workers(executor, min(jobs, len(work))) as submit:
            waiting = [(job, submit(job)) for job in work]
            for done, (job, result) in enumerate(waiting, start=1):
                rows[job.table] += result()
                if progress:
                    progress(done, len(work))
    return Exported(folder, rows, len(work))


def _require_packages(format: Format, compression: Compression) -> None:  # noqa: A002
    if format not in get_args(Format) or compression not in get_args(Compression):
        raise FarmMergeError(f"there is no format {format} with compression {compression}")
    try:
        if format == "parquet":
            import pyarrow.parquet  # noqa: F401
        elif compression == "zst":
            import zstandard  # noqa: F401
    except ImportError as exc:
        raise FarmMergeError(
            f"{format} needs the package {exc.name}: pip install 'farm-merge[parquet]'"
        ) from exc


def _sources(inputs: list[Path], wanted: Iterable[str] | None) -> dict[Path, tuple[str, ...]]:
    """Return the simulations that are taken from each input."""
    chosen = None if wanted is None else set(wanted)
    where: dict[str, Path] = {}
    sources: dict[Path, tuple[str, ...]] = {}
    for path in inputs:
        with reading(path) as connection:
            ids = [row[0] for row in connection.execute("SELECT simulation_id FROM simulations")]
        for each in ids:
            if each in where:
                raise ShardError(f"{path}: has simulation {each}, and so has {where[each]}")
            where[each] = path
        sources[path] = tuple(sorted(each for each in ids if chosen is None or each in chosen))
    if chosen and (missing := chosen - where.keys()):
        raise FarmMergeError(f"no input has the simulations {', '.join(sorted(missing))}")
    return sources


def _columns(
    sources: dict[Path, tuple[str, ...]], wanted: Iterable[str] | None
) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return the columns of each table with their declared types, over all inputs."""
    found: dict[str, dict[str, str]] = {}
    for path in sources:
        with reading(path) as connection:
            for table in table_names(connection):
                columns = found.setdefault(table, {})
                for name, declared in column_types(connection, table).items():
                    columns.setdefault(name, declared)
    if wanted is not None:
        wanted = list(wanted)
        if missing := [table for table in wanted if table not in found]:
            raise FarmMergeError(
                f"no input has a table {', '.join(missing)}; there are {', '.join(found)}"
            )
        found = {table: found[table] for table in wanted}
    return {table: tuple(columns.items()) for table, columns in found.items()}


def _with_text(
    columns: dict[str, tuple[tuple[str, str], ...]], as_text: Iterable[str]
) -> dict[str, tuple[tuple[str, str], ...]]:
    chosen = set(as_text)
    known = {f"{table}.{name}" for table, found in columns.items() for name, _ in found}
    if unknown := chosen - known:
        raise FarmMergeError(f"no column {', '.join(sorted(unknown))} is exported")
    return {
        table: tuple(
            (name, "TEXT" if f"{table}.{name}" in chosen else declared) for name, declared in found
        )
        for table, found in columns.items()
    }


def _jobs(
    sources: dict[Path, tuple[str, ...]],
    columns: dict[str, tuple[tuple[str, str], ...]],
    folder: Path,
    format: Format,  # noqa: A002
    compression: Compression,
    steps: range | None,
) -> Iterator[_Job]:
    suffix = "" if compression == "none" or format == "parquet" else f".{compression}"
    for table, found in columns.items():
        has_simulation = "simulation_id" in dict(found)
        if format == "parquet" and table not in METADATA_TABLES and has_simulation:
            for path, ids in sources.items():
                for each in ids:
                    part = folder / table / f"simulation_id={quote(each, safe='')}"
                    part.mkdir(parents=True)
                    yield _Job(
                        ((path, (each,)),), table, found, steps, part / "part-0.parquet",
                        format, compression, partition=True,
                    )  # fmt: skip
            continue
        path = folder / f"{quote(table, safe=' ')}.{format}{suffix}"
        if format == "parquet":
            path = folder / table / "part-0.parquet"
            path.parent.mkdir(parents=True)
        everything = tuple((each, ids if has_simulation else None) for each, ids in sources.items())
        yield _Job(everything, table, found, steps, path, format, compression, partition=False)


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
    columns = [each for each in job.columns if not (job.partition and each[0] == "simulation_id")]
    batches = _batches(job, [name for name, _ in columns])
    if job.format == "parquet":
        return _write_parquet(job, columns, batches)
    with _text(job.path, job.compression) as file:
        return _write_text(job, [name for name, _ in columns], batches, file)


def _batches(job: _Job, columns: Sequence[str]) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows, some thousand at a time; metadata that several inputs have comes once."""
    seen: set[object] | None = (
        set() if len(job.sources) > 1 and job.table == "experiments" else None
    )
    for path, ids in job.sources:
        with reading(path) as connection:
            there = list(column_types(connection, job.table))
            if not there:
                continue
            chosen = ", ".join(quoted(each) if each in there else "NULL" for each in columns)
            where, values = selection(there, ids, job.steps)
            cursor = connection.execute(f"SELECT {chosen} FROM {quoted(job.table)}{where}", values)
            while batch := cursor.fetchmany(_BATCH_ROWS):
                if seen is not None:
                    batch = [row for row in batch if row[0] not in seen]
                    seen.update(row[0] for row in batch)
                yield batch


@contextmanager
def _text(path: Path, compression: Compression) -> Iterator[IO[str]]:
    if compression == "gz":
        with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
            yield file
    elif compression == "zst":
        import zstandard

        with zstandard.open(path, "wt", encoding="utf-8", newline="") as file:
            yield file
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            yield file


def _write_text(
    job: _Job, columns: list[str], batches: Iterator[list[tuple[Any, ...]]], file: IO[str]
) -> int:
    rows = 0
    if job.format == "csv":
        writer = csv.writer(file)
        writer.writerow(columns)
        for batch in batches:
            holds_bytes = any(bytes in set(map(type, row)) for row in batch)
            writer.writerows((tuple(map(_plain, row)) for row in batch) if holds_bytes else batch)
            rows += len(batch)
        return rows
    names = [json.dumps(name) for name in columns]
    start, between, end = ("[\n", ",\n", "\n]\n") if job.format == "json" else ("", "", "")
    file.write(start)
    for batch in batches:
        for row in batch:
            pairs = (f"{name}: {_json(value)}" for name, value in zip(names, row, strict=True))
            file.write(f"{between if rows else ''}{{{', '.join(pairs)}}}")
            file.write("" if between else "\n")
            rows += 1
    file.write(end)
    return rows


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


def _json(value: object) -> str:
    if isinstance(value, bytes):
        return json.dumps(value.hex())
    if isinstance(value, float) and math.isinf(value):
        # JSON has no infinity; every reader takes a number that is too large for it.
        return "1e999" if value > 0 else "-1e999"
    return json.dumps(value, ensure_ascii=False)


def _write_parquet(
    job: _Job, columns: list[tuple[str, str]], batches: Iterator[list[tuple[Any, ...]]]
) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, _arrow_type(declared)) for name, declared in columns])
    rows = 0
    with closing(pq.ParquetWriter(job.path, schema, compression="zstd", version="2.6")) as writer:
        # Row groups of some size read fast; batches are small, so that memory stays flat.
        groups = iter(lambda: list(islice(batches, _ROW_GROUP_ROWS // _BATCH_ROWS)), [])
        for group in groups:
            arrays = [_arrow_batch(job, schema, batch) for batch in group]
            table = pa.Table.from_batches(arrays, schema)
            writer.write_table(table, row_group_size=_ROW_GROUP_ROWS)
            rows += table.num_rows
    return rows


def _arrow_type(declared: str) -> pa.DataType:
    """Return the Arrow type of a declared type; what is declared as nothing becomes text."""
    import pyarrow as pa

    name = declared.upper()
    if "BOOL" in name:
        return pa.bool_()
    if "DATE" in name or "TIME" in name:
        return pa.timestamp("us")
    if "BLOB" in name:
        return pa.binary()
    if "INT" in name:
        return pa.int64()
    if name == "JSON":  # to SQLite a number, by the rules of affinity; to everybody a text
        return pa.string()
    return pa.float64() if affinity(declared) in {"REAL", "NUMERIC"} else pa.string()


def _arrow_batch(job: _Job, schema: pa.Schema, batch: list[tuple[Any, ...]]) -> pa.RecordBatch:
    import pyarrow as pa

    values = zip(*batch, strict=True) if batch else [()] * len(schema)
    arrays = []
    for field, column in zip(schema, values, strict=True):
        try:
            arrays.append(pa.array(_converted(field.type, column), field.type))
        except (pa.ArrowException, ValueError, TypeError, KeyError, OverflowError) as exc:
            where = ", ".join(str(path) for path, _ in job.sources)
            raise FarmMergeError(
                f"{where}: table {job.table}, column {field.name}: a value is not of the declared"
                f" type, which is {field.type} in Parquet ({exc}). Export it as text, with"
                f" --as-text {job.table}.{field.name}"
            ) from exc
    return pa.record_batch(arrays, schema=schema)


def _converted(kind: pa.DataType, column: Sequence[Any]) -> Sequence[Any]:
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return [None if each is None else {0: False, 1: True}[each] for each in column]
    if pa.types.is_timestamp(kind):
        return [None if each is None else datetime.fromisoformat(each) for each in column]
    if pa.types.is_string(kind):
        return [str(each) if isinstance(each, int | float) else each for each in column]
    return column
