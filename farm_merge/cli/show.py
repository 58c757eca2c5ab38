"""Show: exit codes, what an error becomes, bars over long work, and rows as tables."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import signal
import sys
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any, Never

import click

from farm_merge.errors import FarmMergeError, for_command_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pandas as pd
    from tqdm import tqdm

    from farm_merge.merge import Progress
    from farm_merge.progress import ReportCount

__all__ = [
    "NOTHING_DONE",
    "SOME_LEFT_OUT",
    "bar",
    "echo",
    "exit_on_error",
    "merge_bar",
    "print_frame",
    "print_json",
    "print_rows",
    "print_table",
    "sweep_bar",
]

NOTHING_DONE = 1
SOME_LEFT_OUT = 3
_SIGNALLED = 128
_MACHINE_CODES = frozenset((3, 5, 6, 7, 8, 10, 13, 14))
"""PERM, BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL and CANTOPEN (https://sqlite.org/rescode.html)"""


def echo(message: str, *, err: bool = False) -> None:
    """Print a line, in the bytes of its file names; where nobody reads any more, go on in silence.

    A merge is not abandoned because its output was piped into `head`.
    """
    try:
        click.echo(os.fsencode(message), err=err)
    except BrokenPipeError:
        stream = sys.stderr if err else sys.stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn what a user can put right, and what a machine can cause, into words and an exit code."""
    try:
        yield
    except FarmMergeError as exc:
        echo(f"Error: {exc.message(for_command_line)}", err=True)
        sys.exit(NOTHING_DONE)
    except BrokenPipeError:
        raise  # whoever read the output has seen enough; click knows what to do
    except Exception as exc:
        if (reason := _of_the_machine(exc)) is None:
            raise
        echo(f"Error: {reason}", err=True)
        sys.exit(NOTHING_DONE)
    except KeyboardInterrupt as exc:
        number = next(iter(exc.args), signal.SIGINT)
        word = "Interrupted" if number == signal.SIGINT else "Terminated"
        click.echo(f"{word}; the same command again finishes the job.", err=True)
        sys.exit(_SIGNALLED + number)


def _of_the_machine(error: Exception) -> str | None:
    """Return what the machine refused; None for an error of ours."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _MACHINE_CODES:
        return f"SQLite cannot read or write a database ({error})"
    is_for_threads = isinstance(error, RuntimeError) and "new thread" in str(error)
    return f"no more threads ({error})" if is_for_threads else None


@contextmanager
def bar(unit: str) -> Iterator[ReportCount]:
    """Yield a callback that draws a bar over so many of so many."""
    from tqdm import tqdm

    with tqdm(
        unit=unit if unit == "B" else f" {unit}", unit_scale=unit == "B", leave=False, disable=None
    ) as progress_bar:

        def show(done: int, total: int) -> None:
            progress_bar.total = total
            progress_bar.update(done - progress_bar.n)

        yield show


@contextmanager
def merge_bar(*, hidden: bool, lines: bool = False) -> Iterator[Callable[[Progress], None]]:
    """Yield a callback that draws one bar: over the files inspected, then over the rows copied.

    Args:
        hidden: Whether nothing is drawn.
        lines: Whether a line is printed for each simulation as it is merged.
    """

    def write_message(event: Progress, write: Callable[[str], None]) -> None:
        if event.phase == "wait":
            echo(f"Waiting: {event.message}", err=True)
        elif lines and event.message and not hidden:
            write(event.message)

    if hidden or not sys.stderr.isatty():
        yield lambda event: write_message(event, echo)
        return
    # A tenth of a small merge's time, so it is imported where a bar is seen.
    from tqdm import tqdm

    # A thread that watches the bar would keep the merge from forking its workers.
    tqdm.monitor_interval = 0
    with tqdm(unit=" files", leave=False) as progress_bar:

        def write(message: str) -> None:
            with tqdm.external_write_mode():
                echo(message)

        def show(event: Progress) -> None:
            write_message(event, write)
            if event.phase not in {"wait", "plan"}:
                _advance(progress_bar, event)

        yield show


def _advance(progress_bar: tqdm[Never], event: Progress) -> None:
    if event.phase == "copy" and progress_bar.unit != " rows":
        progress_bar.unit, progress_bar.unit_scale = " rows", True
        progress_bar.reset()
    progress_bar.total = event.total
    progress_bar.set_description(event.phase, refresh=False)
    progress_bar.update(event.done - progress_bar.n)


@contextmanager
def sweep_bar() -> Iterator[Callable[..., None]]:
    """Yield a callback that draws a bar over the runs of a sweep, those that failed among them."""
    from tqdm import tqdm

    with tqdm(unit=" runs", desc="simulate", disable=None) as progress_bar:

        def show(done: int, failed: int, total: int, *_: object) -> None:
            progress_bar.total = total
            progress_bar.set_postfix(failed=failed, refresh=False)
            progress_bar.update(done + failed - progress_bar.n)

        yield show


def print_json(value: object) -> None:
    """Print plain data as JSON."""
    click.echo(json.dumps(value, default=str, indent=2))


def print_frame(frame: pd.DataFrame, form: str) -> None:
    """Print a pandas frame as `print_rows` prints rows."""
    rows = frame.itertuples(index=False, name=None)
    print_rows([str(name) for name in frame.columns], rows, form)


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
