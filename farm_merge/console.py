"""What the commands have in common: errors become messages and exit codes, rows become tables."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from farm_merge.errors import FarmMergeError, for_command_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

__all__ = [
    "INTERRUPTED",
    "NOTHING_DONE",
    "bar",
    "database_argument",
    "json_option",
    "print_rows",
    "print_table",
    "told_errors",
]

database_argument = click.argument(
    "database", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

NOTHING_DONE = 1
INTERRUPTED = 130


@contextmanager
def told_errors() -> Iterator[None]:
    """Turn what a user can put right into a message and an exit code."""
    try:
        yield
    except FarmMergeError as exc:
        click.echo(f"Error: {exc.message(for_command_line)}", err=True)
        sys.exit(NOTHING_DONE)
    except KeyboardInterrupt:
        click.echo("Interrupted; the same command again finishes the job.", err=True)
        sys.exit(INTERRUPTED)


@contextmanager
def bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback that draws a bar over so many of so many."""
    from tqdm import tqdm

    with tqdm(
        unit=unit if unit == "B" else f" {unit}", unit_scale=unit == "B", leave=False, disable=None
    ) as drawn:

        def show(done: int, total: int) -> None:
            drawn.total = total
            drawn.update(done - drawn.n)

        yield show


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]], form: str) -> None:
    """Print rows as a table, as CSV, or as a JSON array of objects."""
    if form == "json":
        start = "[\n"
        for row in rows:
            values = dict(zip(columns, map(_jsonable, row), strict=True))
            click.echo(f"{start}{json.dumps(values)}", nl=False)
            start = ",\n"
        click.echo("[]" if start == "[\n" else "\n]")
        return
    if form == "csv":
        for row in chain((columns,), rows):
            line = io.StringIO()
            csv.writer(line, lineterminator="\n").writerow(map(_plain, row))
            click.echo(line.getvalue(), nl=False)
        return
    print_table(columns, (dict(zip(columns, row, strict=True)) for row in rows))


def print_table(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Print rows in columns of equal width."""
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for line in [list(columns), ["-" * width for width in widths], *cells]:
        click.echo("  ".join(map(str.ljust, line, widths)).rstrip())


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    return "" if value is None else str(_plain(value))


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.hex()
    return "" if isinstance(value, float) and math.isnan(value) else value


def _jsonable(value: Any) -> Any:
    if hasattr(value, "item"):  # a number of NumPy's
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value.hex() if isinstance(value, bytes) else value
