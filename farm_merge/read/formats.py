"""Formats: rows become CSV, JSON, JSON lines or Parquet, some thousand at a time."""

from __future__ import annotations

import csv
import gzip
import json
import math
from contextlib import closing, contextmanager
from datetime import datetime
from itertools import islice
from typing import IO, TYPE_CHECKING, Any, Literal, get_args

from farm_merge.errors import require_choice
from farm_merge.extras import missing_extra
from farm_merge.merge.tables.definition import affinity

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

BATCH_ROWS = 20_000
"""Rows that are in memory at once."""

_ROW_GROUP_ROWS = 200_000


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


class NullWordError(Exception):
    """A text is what NULL is called in CSV.

    Attributes:
        column: The name of the column.
    """

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


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
            return _write_csv(file, names, batches, null)
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


def _write_csv(file: IO[str], names: list[str], batches: Batches, null: str) -> int:
    rows = 0
    writer = csv.writer(file)
    writer.writerow(names)
    for batch in batches:
        if null:
            writer.writerows(_with_null(names, row, null) for row in batch)
        else:
            holds_bytes = any(bytes in set(map(type, row)) for row in batch)
            writer.writerows((tuple(map(_plain, row)) for row in batch) if holds_bytes else batch)
        rows += len(batch)
    return rows


def _with_null(names: list[str], row: Sequence[Any], null: str) -> list[object]:
    """Return a row with a word for NULL.

    Raises:
        NullWordError: If a text is that word.
    """
    if null in row:
        raise NullWordError(names[row.index(null)])
    return [null if value is None else _plain(value) for value in row]


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


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
    rows = 0
    batches = iter(batches)
    with closing(pq.ParquetWriter(path, schema, compression="zstd", version="2.6")) as writer:
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

    values = zip(*batch, strict=True) if batch else [()] * len(schema)
    arrays = []
    for field, column in zip(schema, values, strict=True):
        try:
            arrays.append(pa.array(_converted(field.type, column), field.type))
        except (pa.ArrowException, ValueError, TypeError, KeyError, OverflowError) as exc:
            raise ColumnTypeError(field.name, f"{field.type} in Parquet ({exc})") from exc
    return pa.record_batch(arrays, schema=schema)


def _converted(kind: pa.DataType, column: Sequence[Any]) -> Sequence[Any]:
    import pyarrow as pa

    if pa.types.is_boolean(kind):
        return [None if value is None else {0: False, 1: True}[value] for value in column]
    if pa.types.is_timestamp(kind):
        return [None if value is None else datetime.fromisoformat(value) for value in column]
    if pa.types.is_string(kind):
        return [str(value) if isinstance(value, int | float) else value for value in column]
    return column
