"""CSV: rows as `csv.writer` writes them, most of them by a faster way.

`csv.writer` looks at every character of every text. JSON comes from Rust, and is the same but for
its punctuation where no text has a comma, a quote or a line end, which two counts can tell.
"""

from __future__ import annotations

import csv
import re
from typing import IO, TYPE_CHECKING, Any

from pydantic_core import to_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Row = Sequence[Any]

__all__ = ["NullWordError", "write_csv"]

_ROW_END, _LINE_END = b"],[", "\r\n"

_SPECIAL = frozenset('",\r\n')

_EXPONENT = re.compile(rb"e[-+]?[0-9]+(?:[\],]|$)")


class NullWordError(Exception):
    """A text is what NULL is called in CSV.

    Attributes:
        column: The name of the column.
    """

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


class _Texts(list[str]):
    """A file that keeps what `csv.writer` writes: a text a row."""

    def write(self, text: str) -> None:
        self.append(text)


def write_csv(
    file: IO[str], names: Sequence[str], batches: Iterable[Sequence[Row]], null: str
) -> int:
    """Write a head and rows; return the number of rows.

    Raises:
        NullWordError: If a text is what NULL is called.
    """
    rows = 0
    csv.writer(file).writerow(names)
    for batch in batches:
        file.write(_text(names, batch, null))
        rows += len(batch)
    return rows


def _text(names: Sequence[str], batch: Sequence[Row], null: str) -> str:
    """Return rows as CSV."""
    # An empty line would be no row, a NULL in front has no comma before it, and a word for it
    # could need quotes.
    if len(names) == 1 or None in [row[0] for row in batch] or not _SPECIAL.isdisjoint(null):
        return "".join(_written(names, batch, null))
    json = to_json(batch, bytes_mode="hex", inf_nan_mode="constants")[2:-2]
    are_numbers_plain = _has_plain_numbers(json)
    if are_numbers_plain and _has_plain_texts(json, len(batch) * len(names) - 1, null):
        return _unwrapped(json, null)
    lines = json.split(_ROW_END)
    if len(lines) != len(batch):  # a text has what ends a row
        return "".join(_written(names, batch, null))
    commas = len(names) - 1
    others = [
        place
        for place, line in enumerate(lines)
        if not _has_plain_texts(line, commas, null)
        or not (are_numbers_plain or _has_plain_numbers(line))
    ]
    for place in others:
        lines[place] = b""
    texts = _unwrapped(_ROW_END.join(lines), null).split(_LINE_END)
    written = _written(names, [batch[place] for place in others], null)
    for place, text in zip(others, written, strict=True):
        texts[place] = text.removesuffix(_LINE_END)
    return _LINE_END.join(texts)


def _has_plain_texts(json: bytes, commas: int, null: str) -> bool:
    """Return whether no text is NULL's, nor has a comma, a quote, or what JSON escapes."""
    if json.count(b",") != commas or b"\\" in json:
        return False
    return not (null and f'"{null}"'.encode() in json)


def _has_plain_numbers(json: bytes) -> bool:
    """Return whether no number can be in a form that `repr` would not give it."""
    return not (b"0.0000" in json or (b"I" in json and b"Inf" in json) or _EXPONENT.search(json))


def _unwrapped(json: bytes, null: str) -> str:
    """Return CSV for JSON whose texts are all plain."""
    lines = json.replace(_ROW_END, _LINE_END.encode()).replace(b",null", b"," + null.encode())
    return lines.replace(b'"', b"").decode() + _LINE_END


def _written(names: Sequence[str], rows: Iterable[Row], null: str) -> list[str]:
    """Return rows as `csv.writer` writes them, each with its line end.

    Raises:
        NullWordError: If a text is the word for NULL.
    """
    texts = _Texts()
    csv.writer(texts).writerows(_fields(names, row, null) for row in rows)
    return texts


def _fields(names: Sequence[str], row: Row, null: str) -> Sequence[object]:
    if null and null in row:
        raise NullWordError(names[row.index(null)])
    if not null and bytes not in map(type, row):
        return row
    return [
        (null or None) if value is None else value.hex() if isinstance(value, bytes) else value
        for value in row
    ]
