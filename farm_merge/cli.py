"""The command `farm-merge`: it parses, calls the library, prints what came back, and exits.

Exit codes: 0 all merged or already merged; 1 nothing merged, the output untouched; 2 usage;
3 merged, some inputs left out; 130 interrupted.
"""

from __future__ import annotations

import difflib
import glob
import json
import os
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

import click

from farm_merge import __version__
from farm_merge.errors import FarmMergeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from click import Group as DefaultGroup
    from tqdm import tqdm

    from farm_merge.merge import MergeReport, Progress
    from farm_merge.sweep import SweepReport
else:
    from click_default_group import DefaultGroup

__all__ = ["main"]

_NOTHING_MERGED = 1
_SOME_LEFT_OUT = 3
_INTERRUPTED = 130


class FirstWord(DefaultGroup):
    """Merging is the default command, but a mistyped command must not become a merge."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Report a first word that is neither a command nor a path, with suggestions."""
        word = args[0]
        if not (word in self.commands or word.startswith("-") or _is_path(word)):
            close = difflib.get_close_matches(word, self.commands)
            hint = f" Did you mean {' or '.join(close)}?" if close else ""
            raise click.UsageError(f"{word!r} is neither a command nor an existing path.{hint}")
        return super().resolve_command(ctx, args)


def _is_path(word: str) -> bool:
    return os.path.lexists(word) or glob.has_magic(word)


@contextmanager
def _told_errors() -> Iterator[None]:
    """Turn what a user can put right into a message and an exit code."""
    try:
        yield
    except FarmMergeError as exc:
        click.echo(f"Error: {exc}", err=True)
        sys.exit(_NOTHING_MERGED)
    except KeyboardInterrupt:
        click.echo("Interrupted; the same command again finishes the job.", err=True)
        sys.exit(_INTERRUPTED)


@click.group(
    cls=FirstWord,
    default="merge",
    default_if_no_args=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="farm-merge")
def main() -> None:
    """Merge the SQLite shards of parallel simulations into one experiment database.

    \b
    farm-merge shards/*.db -o exp.db    merge files, folders or patterns
    farm-merge sweep SWEEP.toml         simulate in parallel, then merge
    farm-merge list exp.db              show what is in there

    A folder or file named like a command is reached as ./NAME.
    """


_on_conflict = click.option(
    "--on-conflict",
    type=click.Choice(["error", "skip", "replace"]),
    default="error",
    show_default=True,
    help="What to do where one simulation_id stands for different data.",
)


@main.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATHS...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The experiment database: made if it is new, extended if it exists.",
)
@click.option("--experiment-id", help="Register all simulations under this experiment.")
@click.option("--name", help="Name of the experiment, if it is new.")
@click.option("--description", help="Description of the experiment, if it is new.")
@click.option(
    "--include-running",
    is_flag=True,
    help="Also merge runs that have not ended, as far as they are committed.",
)
@_on_conflict
@click.option(
    "--on-bad-shard",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="What to do about inputs that cannot be merged.",
)
@click.option("-v", "--verbose", is_flag=True, help="Say what happens to each simulation.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
def merge(
    paths: tuple[str, ...],
    *,
    verbose: bool,
    quiet: bool,
    as_json: bool,
    output: Path,
    **options: Any,
) -> None:
    """Merge shards into an experiment database.

    PATHS are files, folders (searched for *.db, *.sqlite, *.sqlite3), patterns, or - to read
    paths from standard input, one a line or separated by NUL. Shards are only read. Merging the
    same shards again changes nothing.

    \b
    Exit codes:
      0    all merged, or merged already
      1    nothing merged, the output untouched
      2    wrong usage
      3    merged, some inputs left out
      130  interrupted
    """
    from farm_merge.merge import merge_shards

    with _told_errors(), _merge_bar(hidden=quiet or as_json) as progress:
        report = merge_shards(_with_stdin(paths), output, progress=progress, **options)
    if as_json:
        click.echo(json.dumps(asdict(report), default=str, indent=2))
    elif not quiet:
        _print_merge(report, verbose=verbose)
    sys.exit(_exit_code(report))


@main.command("list")
@click.argument("database", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def list_(database: Path, *, as_json: bool) -> None:
    """Show the simulations of an experiment database: id, status, steps, agents, parameters."""
    from farm_merge.listing import list_simulations

    with _told_errors():
        simulations = list_simulations(database)
    if as_json:
        click.echo(json.dumps(simulations, indent=2))
        return
    rows = [{**each, "parameters": _brief(each["parameters"])} for each in simulations]
    _print_table(["simulation_id", "status", "steps", "agents", "parameters"], rows)


@main.command()
@click.argument("sweep_file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("exp.db"),
    show_default=True,
    help="The experiment database.",
)
@click.option(
    "--shards",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("shards"),
    show_default=True,
    help="The folder for the shards.",
)
@click.option("-j", "--workers", type=click.IntRange(1), help="Processes; one a core by default.")
@_on_conflict
def sweep(sweep_file: Path, output: Path, shards: Path, **options: Any) -> None:
    """Simulate every run of a sweep in parallel, merge the shards, and show what came out.

    Runs that are there already, with the same parameters, are not run again.
    """
    from farm_merge.sweep import load_sweep, run_sweep, summarize

    with _told_errors():
        plan = load_sweep(sweep_file)
        with _sweep_bar() as runs, _merge_bar(hidden=False) as merged:
            report = run_sweep(
                plan, shards, output, progress=runs, merge_progress=merged, **options
            )
        _print_sweep(report, summarize(output, plan))
    sys.exit(_SOME_LEFT_OUT if report.failed else 0)


def _with_stdin(paths: Sequence[str]) -> Iterator[str]:
    for path in paths:
        if path == "-":
            text = sys.stdin.read()
            yield from (line for line in text.split("\0" if "\0" in text else "\n") if line)
        else:
            yield path


def _exit_code(report: MergeReport) -> int:
    if not report.left_out:
        return 0
    merged = any(each.action.writes for each in report.simulations)
    return _SOME_LEFT_OUT if merged else _NOTHING_MERGED


@contextmanager
def _merge_bar(*, hidden: bool) -> Iterator[Callable[[Progress], None]]:
    """Yield a callback that draws one bar: over the files inspected, then over the rows copied."""
    from tqdm import tqdm

    with tqdm(unit=" files", leave=False, disable=hidden or not sys.stderr.isatty()) as bar:

        def show(event: Progress) -> None:
            if event.phase == "wait":
                click.echo(f"Waiting: {event.message}", err=True)
            elif not bar.disable:
                _advance(bar, event)

        yield show


def _advance(bar: tqdm[Never], event: Progress) -> None:
    if event.phase == "copy" and bar.unit != " rows":
        bar.unit, bar.unit_scale = " rows", True
        bar.reset()
    bar.total = event.total
    bar.set_description(event.phase, refresh=False)
    bar.update(event.done - bar.n)


@contextmanager
def _sweep_bar() -> Iterator[Callable[..., None]]:
    from tqdm import tqdm

    with tqdm(unit=" runs", desc="simulate", disable=None) as bar:

        def show(done: int, failed: int, total: int, *_: object) -> None:
            bar.total = total
            bar.set_postfix(failed=failed, refresh=False)
            bar.update(done + failed - bar.n)

        yield show


def _print_merge(report: MergeReport, *, verbose: bool) -> None:
    for left in report.left_out:
        click.echo(f"left out: {_where(left.path, left.simulation_id)}: {left.reason}", err=True)
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    if verbose:
        for each in report.simulations:
            click.echo(f"{each.action}: {_where(each.path, each.simulation_id)} ({each.reason})")
    counts = ", ".join(f"{number:,} {action}" for action, number in report.counts.items())
    click.echo(
        f"{report.output}: {counts or 'nothing merged'}; {report.rows:,} rows in"
        f" {report.seconds:.2f} s ({report.rows_per_second:,.0f} rows/s)"
    )


def _where(path: Path, simulation_id: str | None) -> str:
    return f"{path} [{simulation_id}]" if simulation_id else str(path)


def _print_sweep(report: SweepReport, summary: list[dict[str, Any]]) -> None:
    for failure in report.failed:
        click.echo(f"failed: {failure}", err=True)
    if summary:
        _print_table(list(summary[0]), summary)
    _print_merge(report.merge, verbose=False)


def _brief(parameters: dict[str, Any], limit: int = 60) -> str:
    text = ", ".join(f"{name}={value}" for name, value in parameters.items())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _print_table(columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for line in [list(columns), ["-" * width for width in widths], *cells]:
        click.echo("  ".join(map(str.ljust, line, widths)).rstrip())


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
