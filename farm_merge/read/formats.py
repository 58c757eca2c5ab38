"""Formats: rows become CSV, JSON, JSON lines or Parquet, some thousand at a time."""

from __future__ import annotations

import gzip
import json
import math
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import chain, islice
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

from farm_merge.errors import require_choice
from farm_merge.extras import missing_extra
from farm_merge.merge.tables.definition import affinity
from farm_merge.read.csv_rows import NullWordError, write_csv

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa

    Batches = Iterable[Sequence[tuple[Any, ...]]]
    Columns = Sequence[tuple[str, str]]

__all__ = [
    "BATCH_ROWS",
    "ColumnTypeError",
    "Compression",
    "Format",
    "NullWordError",
    "require_format",
    "write_rows",
]

Format = Literal["csv", "json", "jsonl", "parquet"]
Compression = Literal["none", "gz", "zst"]

BATCH_ROWS = 500
"""Rows that are in memory as objects of Python at once; what is made of few is still in the
processor's cache when it is needed."""

_ROW_GROUP_ROWS = 50_000


class ColumnTypeError(Exception):
    """A value is not of the type that its column has in Parquet.

    Attributes:
        column: The name of the column.
        reason: What the type is, and what is wrong with the value.
    """

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(column, reason)
        self.column = column
        self.reason = reason


def require_format(format: Format, compression: Compression) -> None:  # noqa: A002
    """Refuse what cannot be written.

    Raises:
        InvalidOptionError: If there is no such format or compression.
        FarmMergeError: If it needs a package that is not installed.
    """
    require_choice("format", format, get_args(Format))
    require_choice("compression", compression, get_args(Compression))
    try:
        if format == "parquet":
            import pyarrow.parquet  # noqa: F401
        elif compression == "zst":
            import zstandard  # noqa: F401
    except ImportError as exc:
        raise missing_extra(f"{format} needs the package {exc.name}", "parquet") from exc


def write_rows(
    path: Path,
    format: Format,  # noqa: A002
    compression: Compression,
    columns: Columns,
    batches: Batches,
    null: str = "",
) -> int:
    """Write rows into a new file.

    Args:
        path: The file.
        format: Its format.
        compression: How text is compressed; Parquet always is, with Zstandard.
        columns: The names of the columns and their declared types, which Parquet takes over.
        batches: The rows.
        null: What NULL is in CSV.

    Returns:
        The number of rows.

    Raises:
        ColumnTypeError: If a value is not of its column's declared type, in Parquet.
        NullWordError: If a text is what NULL is called, in CSV.
    """
    if format == "parquet":
        return _write_parquet(path, columns, batches)
    names = [name for name, _ in columns]
    with _text(path, compression) as file:
        if format == "csv":
            return write_csv(file, names, batches, null)
        return _write_json(file, names, batches, is_array=format == "json")


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


def _write_json(
    file: IO[str],
    names: list[str],
    batches: Batches,
    *,
    is_array: bool,
) -> int:
    rows = 0
    keys = [json.dumps(name) for name in names]
    start, between, after, end = ("[\n", ",\n", "", "\n]\n") if is_array else ("", "", "\n", "")
    file.write(start)
    for batch in batches:
        for row in batch:
            pairs = (f"{key}: {_json(value)}" for key, value in zip(keys, row, strict=True))
            file.write(f"{between if rows else ''}{{{', '.join(pairs)}}}{after}")
            rows += 1
    file.write(end)
    return rows


def _json(value: object) -> str:
    if isinstance(value, bytes):
        return json.dumps(value.hex())
    if isinstance(value, float) and math.isinf(value):
        # JSON has no infinity; every reader takes a number that is too large for it.
        return "1e999" if value > 0 else "-1e999"
    return json.dumps(value, ensure_ascii=False)


def _write_parquet(
    path: Path,
    columns: Columns,
    batches: Batches,
) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(name, _arrow_type(declared)) for name, declared in columns])
    # Numbers seldom repeat, so that a dictionary of them costs time and saves nothing.
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    rows = 0
    batches = iter(batches)
    with (
        path.open("wb") as file,  # Arrow opens no path that is not UTF-8
        closing(
            pq.ParquetWriter(file, schema, compression="zstd", version="2.6", use_dictionary=texts)
        ) as writer,
    ):
        # Row groups of some size read fast; batches are small, so that memory stays flat.
        while group := list(islice(batches, _ROW_GROUP_ROWS // BATCH_ROWS)):
            arrays = [_arrow_batch(schema, batch) for batch in group]
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


def _arrow_batch(schema: pa.Schema, batch: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
    import pyarrow as pa

    values = list(chain.from_iterable(batch))
    arrays = []
    for place, field in enumerate(schema):
        try:
            arrays.append(_arrow_array(values[place :: len(schema)], field.type))
        except (pa.ArrowException, ValueError, TypeError, KeyError, OverflowError) as exc:
            raise ColumnTypeError(field.name, f"{field.type} in Parquet ({exc})") from exc
    return pa.record_batch(arrays, schema=schema)


def _arrow_array(column: list[Any], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        column = [None if value is None else {0: False, 1: True}[value] for value in column]
    elif pa.types.is_timestamp(kind):
        column = [None if value is None else datetime.fromisoformat(value) for value in column]
    elif pa.types.is_integer(kind) and float in set(map(type, column)):
        # Of what Python has, Arrow takes 1.5 as 1; of its own it refuses that.
        return pa.array(column, pa.float64()).cast(kind)
    try:
        return pa.array(column, kind)
    except pa.ArrowTypeError:
        if not pa.types.is_string(kind):
            raise
        # Few texts are numbers, so that is asked when Arrow refuses one.
        return pa.array([str(v) if isinstance(v, (int, float)) else v for v in column], kind)
