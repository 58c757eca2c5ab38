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
from farm_merge.cli_reading import COMMANDS
from farm_merge.console import (
    NOTHING_DONE,
    bar,
    database_argument,
    json_option,
    print_table,
    told_errors,
)
from farm_merge.errors import ShardError, for_command_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from click import Group as DefaultGroup
    from tqdm import tqdm

    from farm_merge.merge import MergeReport, Progress
    from farm_merge.sweep import SweepReport
else:
    from click_default_group import DefaultGroup

__all__ = ["main"]

_SOME_LEFT_OUT = 3
_PLANNING = ("simulation_id", "parameters_from_name", "sidecars", "join", "schema",
             "include_running", "settle", "equal_files", "on_conflict", "on_bad_shard",
             "on_duplicate_row", "on_orphan_rows", "jobs")  # fmt: skip
"""The options of a merge that decide about its plan."""


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
    farm-merge inspect FILES            say what files are
    farm-merge verify exp.db shards/    check it, against the files it came from
    farm-merge list|info|compare exp.db show what is in there
    farm-merge report exp.db            make a page of it
    farm-merge export exp.db -o DIR     take data out: CSV, JSON, Parquet
    farm-merge sql exp.db "SELECT ..."  ask it anything

    A folder or file named like a command is reached as ./NAME.
    """


_on_conflict = click.option(
    "--on-conflict",
    type=click.Choice(["error", "skip", "replace"]),
    default="error",
    show_default=True,
    help="What to do where one simulation_id stands for different data.",
)


_paths = click.argument("paths", nargs=-1, required=True, metavar="PATHS...")
_simulation_id = click.option(
    "--simulation-id",
    metavar="TEMPLATE",
    help="What to call runs whose files do not tell it: '{parent}_{stem}'. By default the file's"
    " stem, and as many folders as tell them apart.",
)
_on_duplicate_row = click.option(
    "--on-duplicate-row",
    type=click.Choice(["error", "first", "last"]),
    default="error",
    show_default=True,
    help="Which of several rows with one key is carried, where an old file has such.",
)


@main.command()
@_paths
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
@_simulation_id
@click.option("--parameters-from-name", metavar="REGEX", help="Find parameters in paths.")
@click.option(
    "--sidecar", "sidecars", multiple=True, metavar="NAME", help="Parameters beside a run."
)
@click.option("--join", is_flag=True, help="Make one simulation of files of one name.")
@click.option("--as", "schema", type=click.Choice(["foreign", "agentfarm"]), help="What files are.")
@click.option(
    "--include-running",
    is_flag=True,
    help="Also merge runs that have not ended, as far as they are committed.",
)
@click.option("--settle", type=float, default=60.0, show_default=True, metavar="SECONDS")
@click.option("--equal-files", type=click.Choice(["separate", "fold", "error"]))
@click.option("--on-orphan-rows", type=click.Choice(["keep", "skip", "error"]), default="keep")
@_on_conflict
@click.option(
    "--on-bad-shard",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="What to do about inputs that cannot be merged.",
)
@_on_duplicate_row
@click.option(
    "--verify",
    type=click.Choice(["none", "counts", "content"]),
    default="counts",
    show_default=True,
    help="What is compared with the inputs before it is kept.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "attach", "graft"]),
    default="auto",
    show_default=True,
    help="How a new output is written: row by row (attach), page by page (graft), or as it suits.",
)
@click.option("-j", "--jobs", type=click.IntRange(1), help="Processes; one a core by default.")
@click.option(
    "--archive",
    type=click.Path(file_okay=False, path_type=Path),
    help="Move inputs to this folder once they are merged and verified.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Show the whole plan; write nothing.")
@click.option("-v", "--verbose", is_flag=True, help="Say what happens to each simulation, and how.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole plan or report as JSON.")
def merge(
    paths: tuple[str, ...],
    *,
    dry_run: bool,
    verbose: bool,
    quiet: bool,
    as_json: bool,
    output: Path,
    **options: Any,
) -> None:
    """Merge shards and legacy files into an experiment database.

    PATHS are files, folders (searched for *.db, *.sqlite, *.sqlite3), patterns, or - to read
    paths from standard input, one a line or separated by NUL. They are only read. Merging the
    same files again changes nothing.

    \b
    Exit codes:
      0    all merged, or merged already
      1    nothing merged, the output untouched
      2    wrong usage
      3    merged, some inputs left out
      130  interrupted
    """
    from farm_merge.merge import describe_plan, describe_report, merge_shards, plan_merge

    if options["archive"] and options["verify"] == "none":
        raise click.UsageError("--archive moves only what is verified: not with --verify none")
    found = _with_stdin(paths)
    with told_errors(), _merge_bar(hidden=quiet or as_json, lines=verbose) as progress:
        if dry_run:
            planning = {name: options[name] for name in _PLANNING}
            plan = plan_merge(found, output, progress=progress, **planning)
        else:
            report = merge_shards(found, output, progress=progress, **options)
    if dry_run:
        described = describe_plan(plan)
        if as_json:
            click.echo(json.dumps(described, indent=2))
        elif not quiet:
            _print_plan(described)
        sys.exit(_exit_code(plan.left_out, writes=bool(plan.to_write)))
    if as_json:
        click.echo(json.dumps(describe_report(report), indent=2))
    elif not quiet:
        _print_merge(report, verbose=verbose)
    writes = any(each.action.writes for each in report.simulations)
    sys.exit(_exit_code(report.left_out, writes=writes))


@main.command()
@_paths
@_on_duplicate_row
@json_option
def inspect(paths: tuple[str, ...], *, on_duplicate_row: Any, as_json: bool) -> None:
    """Say what files are: schema, simulations, rows by table, status, size, health, fingerprint.

    \b
    Exit codes:
      0    all can be merged
      1    none can be merged
      3    some cannot
    """
    from farm_merge.merge import describe_input, find_inputs, inspect_shard

    described: list[dict[str, Any]] = []
    with told_errors():
        for path in find_inputs(_with_stdin(paths)).files:
            try:
                described.append(
                    describe_input(inspect_shard(path, on_duplicate_row=on_duplicate_row))
                )
            except ShardError as exc:
                described.append({"path": str(path), "problem": exc.reason})
            if not as_json:
                _print_inspection(described[-1])
    if as_json:
        click.echo(json.dumps(described, indent=2))
    bad = sum("problem" in each for each in described)
    if bad or not described:
        sys.exit(_SOME_LEFT_OUT if bad < len(described) else NOTHING_DONE)


@main.command()
@database_argument
@click.argument("shards", nargs=-1)
@_simulation_id
@_on_duplicate_row
@json_option
def verify(
    database: Path,
    shards: tuple[str, ...],
    *,
    simulation_id: str | None,
    on_duplicate_row: Any,
    as_json: bool,
) -> None:
    """Check that an experiment database holds what was merged into it.

    Counts the rows of every simulation and table against the ledger, and lets SQLite check the
    file and its references. With SHARDS, also compares every value of theirs with the database.

    \b
    Exit codes:
      0    all is as it was merged
      1    something is not, or the database cannot be read
    """
    from farm_merge.merge import audit

    with told_errors(), bar("files") as progress:
        report = audit(
            database,
            _with_stdin(shards),
            simulation_id=simulation_id,
            on_duplicate_row=on_duplicate_row,
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps(asdict(report), default=str, indent=2))
    else:
        for problem in report.problems:
            click.echo(f"problem: {problem}", err=True)
        for note in report.notes:
            click.echo(f"note: {note}", err=True)
        click.echo(
            f"{database}: {report.simulations:,} simulations, {report.counted:,} counted against"
            f" the ledger, {report.compared:,} compared with their files:"
            f" {f'{len(report.problems):,} problems' if report.problems else 'all as merged'}"
        )
    sys.exit(NOTHING_DONE if report.problems else 0)


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

    with told_errors():
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


def _exit_code(left_out: Sequence[object], *, writes: bool) -> int:
    if not left_out:
        return 0
    return _SOME_LEFT_OUT if writes else NOTHING_DONE


@contextmanager
def _merge_bar(*, hidden: bool, lines: bool = False) -> Iterator[Callable[[Progress], None]]:
    """Yield a callback that draws one bar: over the files inspected, then over the rows copied.

    Args:
        hidden: Whether nothing is drawn.
        lines: Whether a line is printed for each simulation as it is merged.
    """

    def tell(event: Progress, write: Callable[[str], None]) -> None:
        if event.phase == "wait":
            click.echo(f"Waiting: {event.message}", err=True)
        elif lines and event.message and not hidden:
            write(event.message)

    if hidden or not sys.stderr.isatty():
        yield lambda event: tell(event, click.echo)
        return
    # A tenth of a small merge's time, so it is imported where a bar is seen.
    from tqdm import tqdm

    # A thread that watches the bar would keep the merge from forking its workers.
    tqdm.monitor_interval = 0
    with tqdm(unit=" files", leave=False) as bar:

        def show(event: Progress) -> None:
            tell(event, tqdm.write)
            if event.phase not in {"wait", "plan"}:
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
        where = _where(left.path, left.simulation_id)
        click.echo(f"left out: {where}: {left.explained(for_command_line)}", err=True)
    for note in (*report.notes, *(report.details if verbose else ())):
        click.echo(f"note: {note}", err=True)
    for before, after in report.archived if verbose else ():
        click.echo(f"moved: {before} -> {after}")
    counts = ", ".join(f"{number:,} {action}" for action, number in report.counts.items())
    click.echo(
        f"{report.output}: {counts or 'nothing merged'}; {report.rows:,} rows in"
        f" {report.seconds:.2f} s ({report.rows_per_second:,.0f} rows/s)"
    )


def _print_plan(plan: dict[str, Any]) -> None:
    for left in plan["left_out"]:
        where = _where(left["path"], left["simulation_id"])
        click.echo(f"left out: {where}: {left['reason']}")
    for each in plan["simulations"]:
        tables = ", ".join(f"{table} {rows:,}" for table, rows in each["tables"].items())
        where = _where(each["path"], each["simulation_id"])
        click.echo(f"{each['action']}: {where} ({each['reason']}; {each['schema']}): {tables}")
    for mapping in plan["mappings"]:
        click.echo(f"rewritten: {mapping['files']:,} files like {mapping['first']}")
        for table in mapping["tables"]:
            click.echo(f"  {table['from']} -> {table['to']}: {', '.join(table['columns'])}")
    for what in ("tables", "columns", "indexes"):
        if added := plan[f"added_{what}"]:
            click.echo(f"added {what}: {', '.join(added)}")
    for note in (*plan["notes"], *plan["details"]):
        click.echo(f"note: {note}")
    click.echo(
        f"{plan['output']}: would {'grow by' if plan['exists'] else 'get'} {plan['rows']:,} rows;"
        f" at most {plan['bytes_needed']:,} bytes needed, {plan['bytes_free']:,} free."
        " Nothing was written"
    )


def _print_inspection(found: dict[str, Any]) -> None:
    if "problem" in found:
        click.echo(f"{found['path']}: cannot be merged: {found['problem']}")
        return
    click.echo(
        f"{found['path']}: {found['schema']}, {found['size_bytes']:,} bytes, health"
        f" {found['health']}, fingerprint {found['fingerprint']}"
    )
    for each in found["simulations"]:
        tables = ", ".join(f"{table} {rows:,}" for table, rows in each["tables"].items())
        name = each["simulation_id"] or "(named by its path)"
        click.echo(f"  {name}, status {each['status'] or 'unknown'}: {tables or 'no rows'}")
    for note in (*found["notes"], *found["details"]):
        click.echo(f"  note: {note}")


def _where(path: Path | str, simulation_id: str | None) -> str:
    return f"{path} [{simulation_id}]" if simulation_id else str(path)


def _print_sweep(report: SweepReport, summary: list[dict[str, Any]]) -> None:
    for failure in report.failed:
        click.echo(f"failed: {failure}", err=True)
    if summary:
        print_table(list(summary[0]), summary)
    _print_merge(report.merge, verbose=False)


for _command in COMMANDS:
    main.add_command(_command)
