"""CSV files become tables of a SQLite file, without a value that is not what was written.

A column is of numbers only if every one of its values is a number that is written as SQLite would
write it: `007` stays text. What is empty is NULL.
"""

from __future__ import annotations

import csv
import math
from contextlib import closing
from typing import TYPE_CHECKING

from farm_merge.errors import FarmMergeError
from farm_merge.sqlite import connect, file_uri, make_disposable, quoted, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from farm_merge.sqlite import sqlite3

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


def rows_of_csv(file: Path) -> list[dict[str, object]]:
    """Return the rows of a CSV file, with the values that a table of it would have.

    Raises:
        FarmMergeError: If a line has another number of fields than the first.
    """
    names, kinds = _columns(file)
    converters = [convert for _, convert in kinds]
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


def _columns(file: Path) -> tuple[list[str], list[tuple[str, Callable[[str], object]]]]:
    """Return the names of the columns, and what each holds."""
    with file.open(newline="", encoding="utf-8-sig") as lines:
        names = next(csv.reader(lines), [])
    possible: list[list[tuple[str, Callable[[str], object]]]] = [
        [("INTEGER", _integer), ("REAL", _real), ("TEXT", str)] for _ in names
    ]
    for row in _rows(file):
        for column, text in zip(possible, row, strict=True):
            if text and len(column) > 1:
                column[:] = [kind for kind in column if _fits(kind[1], text)]
    return names, [column[0] for column in possible]


def _rows(file: Path) -> Iterator[Sequence[str]]:
    with file.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.reader(lines)
        width = len(next(reader, ()))
        for row in reader:
            if not row:
                continue  # an empty line
            if len(row) != width:
                raise FarmMergeError(
                    f"line {reader.line_num} has {len(row)} fields, not {width}", path=file
                )
            yield row


def _fits(convert: Callable[[str], object], text: str) -> bool:
    try:
        convert(text)
    except ValueError:
        return False
    return True


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
