"""Show: what is said and to whom, exit codes, what an error becomes, and rows in their forms."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import signal
import sys
import time
from contextlib import contextmanager, nullcontext
from itertools import chain
from typing import TYPE_CHECKING, Any, NoReturn

import click

from farm_merge.cli.interrupt import waiting_signal
from farm_merge.errors import FarmMergeError, for_command_line
from farm_merge.progress import Bar, is_watched, show_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pandas as pd

    from farm_merge.merge import Progress

__all__ = [
    "DIFFERENT",
    "EXIT_CODES",
    "NOTHING_DONE",
    "SOME_LEFT_OUT",
    "be_quiet",
    "be_verbose",
    "drawing",
    "draws_bars",
    "echo",
    "exit_on_error",
    "is_verbose",
    "merge_events",
    "note",
    "print_done",
    "print_frame",
    "print_json",
    "print_rows",
    "print_table",
    "say",
]

NOTHING_DONE = 1
SOME_LEFT_OUT = 3
DIFFERENT = 4
_SIGNALLED = 128
_MACHINE_CODES = frozenset((3, 5, 6, 7, 8, 10, 13, 14))
"""PERM, BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL and CANTOPEN (https://sqlite.org/rescode.html)"""

EXIT_CODES = {
    0: "all is done, or was done before",
    NOTHING_DONE: "nothing is done, for the reason that is printed",
    2: "wrong usage",
    SOME_LEFT_OUT: "done, but for some inputs or runs",
    DIFFERENT: "a check found a difference or damage",
    _SIGNALLED + signal.SIGINT: "interrupted",
    _SIGNALLED + signal.SIGTERM: "terminated",
}
"""What every command exits with."""

_QUIET, _VERBOSE = f"{__name__}.quiet", f"{__name__}.verbose"


def be_quiet(ctx: click.Context) -> None:
    """Print only errors, and the data that was asked for."""
    ctx.meta[_QUIET] = True


def be_verbose(ctx: click.Context) -> None:
    """Print more, and at the end how long it took, and with which versions."""
    ctx.meta[_VERBOSE] = True
    started = time.perf_counter()

    def took() -> None:
        from farm_merge import __version__
        from farm_merge.sqlite import sqlite3

        seconds = time.perf_counter() - started
        echo(
            f"{seconds:.2f} s, farm-merge {__version__}, SQLite {sqlite3.sqlite_version}", err=True
        )

    ctx.find_root().call_on_close(took)


def _is_set(key: str) -> bool:
    ctx = click.get_current_context(silent=True)
    return ctx is not None and bool(ctx.meta.get(key))


def is_verbose() -> bool:
    """Return whether more is to be printed."""
    return _is_set(_VERBOSE)


def draws_bars() -> bool:
    """Return whether progress is drawn: somebody is looking, and wants to see it."""
    return is_watched() and not _is_set(_QUIET)


def say(message: str) -> None:
    """Print what was done, for people; a quiet command does not."""
    if not _is_set(_QUIET):
        echo(message)


def note(message: str, kind: str = "note") -> None:
    """Print what a reader should know beside the result; a quiet command does not."""
    if not _is_set(_QUIET):
        echo(f"{kind}: {for_command_line(message)}", err=True)


def echo(message: str, *, err: bool = False) -> None:
    """Print a line, in the bytes of its file names; where nobody reads any more, go on in silence.

    A merge is not abandoned because its output was piped into `head`.
    """
    try:
        click.echo(_in_bytes(message), err=err)
    except BrokenPipeError:
        stream = sys.stderr if err else sys.stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _in_bytes(message: str) -> bytes:
    try:
        return os.fsencode(message)
    except UnicodeEncodeError:  # it has a character that an old locale does not know
        return message.encode(sys.getfilesystemencoding(), "backslashreplace")


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Turn what a user can put right, and what a machine can cause, into words and an exit code."""
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read the output has seen enough; click knows what to do
    except KeyboardInterrupt as exc:
        _exit_by_signal(next(iter(exc.args), signal.SIGINT))
    except Exception as exc:
        # A signal to all processes of a job ends those that work for this one, which is an error.
        if number := waiting_signal():
            _exit_by_signal(number)
        if (reason := _in_words(exc)) is None:
            raise
        echo(f"Error: {reason}", err=True)
        sys.exit(NOTHING_DONE)


def _exit_by_signal(number: int) -> NoReturn:
    word = "Interrupted" if number == signal.SIGINT else "Terminated"
    click.echo(f"{word}; the same command again finishes the job.", err=True)
    sys.exit(_SIGNALLED + number)


def _in_words(error: Exception) -> str | None:
    """Return what is to be put right, or what the machine refused; None for an error of ours."""
    if isinstance(error, FarmMergeError):
        return error.message(for_command_line)
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
def drawing() -> Iterator[Bar | None]:
    """Yield what draws a bar, if somebody wants to see one."""
    if not draws_bars():
        yield None
        return
    with Bar() as bar:
        yield bar


def merge_events(bar: Bar | None) -> Callable[[Progress], None]:
    """Return what is called with each event of a merge: it draws, and prints what has to be told.

    Args:
        bar: What is drawn; None for nothing.
    """

    def write(message: str, *, err: bool = False) -> None:
        with bar.away() if bar else nullcontext():
            echo(message, err=err)

    def show(event: Progress) -> None:
        if event.phase == "wait":
            write(f"Waiting: {event.message}", err=True)
        elif event.message and is_verbose() and not _is_set(_QUIET):
            write(event.message)
        if bar is not None:
            show_event(bar, event)

    return show


def print_json(value: object) -> None:
    """Print plain data as JSON."""
    click.echo(json.dumps(value, default=str, indent=2))


def print_done(message: str, form: str, **facts: object) -> None:
    """Print what was done: a sentence for people, its facts for programs."""
    if form == "table":
        say(message)
    elif form == "json":
        print_json(facts)
    else:
        print_rows(list(facts), [list(facts.values())], form)


def print_frame(frame: pd.DataFrame, form: str) -> None:
    """Print a pandas frame as `print_rows` prints rows."""
    rows = frame.itertuples(index=False, name=None)
    print_rows([str(name) for name in frame.columns], rows, form)


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[Any]], form: str) -> None:
    """Print rows in one of the forms that `--format` offers; all but a table as they come."""
    match form:
        case "json":
            _print_array(columns, rows)
        case "jsonl":
            for row in rows:
                click.echo(json.dumps(_object(columns, row), default=str))
        case "csv":
            for row in chain((columns,), rows):
                line = io.StringIO()
                csv.writer(line, lineterminator="\n").writerow(map(_plain, row))
                # For programs: in UTF-8 whatever the locale, since what it lacks would be lost.
                click.echo(line.getvalue().encode(errors="surrogateescape"), nl=False)
        case "md":
            for row in chain((columns, ["---"] * len(columns)), rows):
                cells = (_cell(value).replace("|", "\\|").replace("\n", " ") for value in row)
                click.echo(f"| {' | '.join(cells)} |")
        case _:
            print_table(columns, (dict(zip(columns, row, strict=True)) for row in rows))


def _print_array(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    start = "[\n"
    for row in rows:
        click.echo(f"{start}{json.dumps(_object(columns, row), default=str)}", nl=False)
        start = ",\n"
    click.echo("[]" if start == "[\n" else "\n]")


def _object(columns: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(columns, map(_jsonable, row), strict=True))


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
