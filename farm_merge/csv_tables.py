"""CSV files become tables of a SQLite file, or rows, without a value that is not what was written.

A column is of numbers only if every one of its values is a number that is written as SQLite would
write it: `007` stays text. What is empty is NULL. In rows, which become parameters, a column of
`true` and `false` alone, in any case, is of these.
"""

from __future__ import annotations

import csv
import math
from contextlib import closing
from typing import TYPE_CHECKING, TypeAlias

from farm_merge.errors import FarmMergeError
from farm_merge.sqlite import connect, file_uri, make_disposable, quoted, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from farm_merge.sqlite import sqlite3

    _Kind: TypeAlias = tuple[str, Callable[[str], object]]

__all__ = ["database_of_csv", "rows_of_csv"]

_LARGEST = 2**63


def database_of_csv(files: Iterable[Path], database: Path) -> None:
    """Make a SQLite file with a table of each CSV file, called as the file is.

    Args:
        files: CSV files in UTF-8, with the names of the columns in the first line.
        database: The file to be made.

    Raises:
        FarmMergeError: If a line has another number of fields than the first.
    """
    with closing(connect(file_uri(database))) as connection:
        make_disposable(connection)
        with transaction(connection):
            for file in files:
                _load(connection, file)


def rows_of_csv(file: Path, texts: Collection[str] = ()) -> list[dict[str, object]]:
    """Return the rows of a CSV file.

    Args:
        file: The file, in UTF-8, with the names of the columns in the first line.
        texts: Columns whose values are names, and stay as they are written.

    Raises:
        FarmMergeError: If a line has another number of fields than the first, or two columns have
            the same name.
    """
    names, kinds = _columns(file, ("BOOLEAN", _boolean))
    if len(set(names)) < len(names):
        raise FarmMergeError("has two columns of the same name", path=file)
    converters = [
        str if name in texts else convert for name, (_, convert) in zip(names, kinds, strict=True)
    ]
    return [dict(zip(names, _values(converters, row), strict=True)) for row in _rows(file)]


def _load(connection: sqlite3.Connection, file: Path) -> None:
    names, kinds = _columns(file)
    if not names:
        return
    columns = ", ".join(
        f"{quoted(name)} {declared}" for name, (declared, _) in zip(names, kinds, strict=True)
    )
    table = quoted(file.stem)
    connection.execute(f"CREATE TABLE {table} ({columns})")
    converters = [convert for _, convert in kinds]
    connection.executemany(
        f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})",
        (_values(converters, row) for row in _rows(file)),
    )


def _values(converters: Sequence[Callable[[str], object]], row: Sequence[str]) -> list[object]:
    return [
        None if text == "" else convert(text) for convert, text in zip(converters, row, strict=True)
    ]


def _columns(file: Path, *more: _Kind) -> tuple[list[str], list[_Kind]]:
    """Return the names of the columns, and what each holds: the first kind that fits all of it."""
    with file.open(newline="", encoding="utf-8-sig") as lines:
        _, names = next(_numbered(file, lines), (0, []))
    kinds: list[_Kind] = [*more, ("INTEGER", _integer), ("REAL", _real), ("TEXT", str)]
    possible = [kinds.copy() for _ in names]
    for row in _rows(file):
        for column, text in zip(possible, row, strict=True):
            if text and len(column) > 1:
                column[:] = [kind for kind in column if _fits(kind[1], text)]
    return names, [column[0] for column in possible]


def _rows(file: Path) -> Iterator[Sequence[str]]:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        reader = _numbered(file, lines)
        _, first = next(reader, (0, []))
        for number, row in reader:
            if not row:
                continue  # an empty line
            if len(row) != len(first):
                reason = f"line {number} has {len(row)} fields, not {len(first)}"
                raise FarmMergeError(reason, path=file)
            yield row


def _numbered(file: Path, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield rows with the number of their last line."""
    reader = csv.reader(lines, strict=True)
    try:
        for row in reader:
            yield reader.line_num, row
    except csv.Error as exc:
        raise FarmMergeError(f"line {reader.line_num}: {exc}", path=file) from exc


def _fits(convert: Callable[[str], object], text: str) -> bool:
    try:
        convert(text)
    except (KeyError, ValueError):
        return False
    return True


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


def _integer(text: str) -> int:
    value = int(text)
    if str(value) != text or not -_LARGEST <= value < _LARGEST:
        raise ValueError(text)
    return value


def _real(text: str) -> float:
    value = float(text)
    digits = text.lstrip("+-")
    is_padded = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    if not math.isfinite(value) or is_padded or "_" in text or text != text.strip():
        raise ValueError(text)
    if digits.isdigit() and abs(value) >= 2**53:
        raise ValueError(text)  # an integer that no float holds
    return value
