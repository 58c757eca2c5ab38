"""Notebook: what an object looks like where a notebook shows it."""

from __future__ import annotations

from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["html_table"]

_MOST_ROWS = 20


def html_table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], number: int
) -> str:
    """Return a table with a caption; of many rows the first, and how many there are besides.

    Args:
        caption: What it shows, as text.
        columns: The names of its columns.
        rows: Its rows; numbers get separators, and all else is shown as text.
        number: How many rows there are; no more of them are asked for than are shown.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in islice(rows, _MOST_ROWS))
    more = number - _MOST_ROWS
    rest = f"<p>… and {more:,} others</p>" if more > 0 else ""
    return (
        f"<p>{escape(caption)}</p><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table>{rest}"
    )


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f'<td style="text-align: right">{value:,}</td>'
    return f"<td>{escape('' if value is None else str(value))}</td>"
