"""The command that merges."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from farm_merge.cli import options
from farm_merge.cli.show import NOTHING_DONE, SOME_LEFT_OUT, exit_on_error, merge_bar, print_json
from farm_merge.errors import for_command_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm_merge.merge import MergeReport

__all__ = ["COMMANDS", "print_merge"]

_PLANNING = ("simulation_id", "parameters_from_name", "sidecars", "join", "schema",
             "include_running", "settle", "equal_files", "on_conflict", "on_bad_shard",
             "on_duplicate_row", "on_orphan_rows", "jobs")  # fmt: skip
"""The options of a merge that decide about its plan."""


@click.command()
@options.paths
@click.option(
    "-o",
    "--output",
    required=True,
    type=options.new_file,
    help="The experiment database: made if it is new, extended if it exists.",
)
@click.option("--experiment-id", help="Register all simulations under this experiment.")
@click.option("--name", help="Name of the experiment, if it is new.")
@click.option("--description", help="Description of the experiment, if it is new.")
@options.simulation_id
@options.parameters_from_name
@click.option(
    "--sidecar", "sidecars", multiple=True, metavar="NAME", help="Parameters beside a run."
)
@click.option("--join", is_flag=True, help="Make one simulation of files of one name.")
@options.schema
@click.option(
    "--include-running",
    is_flag=True,
    help="Also merge runs that have not ended, as far as they are committed.",
)
@click.option(
    "--settle",
    type=float,
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a run whose status is running must have written nothing, to count as ended.",
)
@click.option(
    "--equal-files",
    type=click.Choice(["separate", "fold", "error"]),
    help="What files with equal bytes are: separate runs, copies of one, or an error.",
)
@options.on_orphan_rows
@options.on_conflict
@click.option(
    "--on-bad-shard",
    type=click.Choice(["stop", "skip"]),
    default="stop",
    show_default=True,
    help="What to do about inputs that cannot be merged.",
)
@options.on_duplicate_row
@click.option(
    "--verify",
    type=click.Choice(["none", "counts", "content"]),
    default="counts",
    show_default=True,
    help="How thoroughly to verify before publishing.",
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
@click.option("-v", "--verbose", is_flag=True, help="List what happens to each simulation, how.")
@click.option("-q", "--quiet", is_flag=True, help="Print nothing but errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole plan or report as JSON.")
def merge(
    paths: tuple[str, ...],
    *,
    dry_run: bool,
    verbose: bool,
    quiet: bool,
    as_json: bool,
    output: Path,
    **chosen: Any,
) -> None:
    """Merge shards and legacy files into an experiment database.

    PATHS are files, folders (searched for SQLite databases, whatever they are called), patterns,
    or - to read paths from standard input, one a line or separated by NUL. They are only read.
    Merging the same files again changes nothing.

    \b
    Exit codes:
      0    all merged, or merged already
      1    nothing merged, the output untouched
      2    wrong usage
      3    merged, some inputs left out
      130  interrupted
    """
    from farm_merge.merge import describe_plan, describe_report, merge_shards, plan_merge

    if chosen["archive"] and chosen["verify"] == "none":
        raise click.UsageError("--archive moves only what is verified: not with --verify none")
    words = options.with_stdin(paths)
    with exit_on_error(), merge_bar(hidden=quiet or as_json, lines=verbose) as progress:
        if dry_run:
            planning = {name: chosen[name] for name in _PLANNING}
            plan = plan_merge(words, output, progress=progress, **planning)
        else:
            report = merge_shards(words, output, progress=progress, **chosen)
    if dry_run:
        described = describe_plan(plan, for_command_line)
        if as_json:
            print_json(described)
        elif not quiet:
            _print_plan(described)
        sys.exit(_exit_code(plan.left_out, writes=bool(plan.to_write)))
    if as_json:
        print_json(describe_report(report, for_command_line))
    elif not quiet:
        print_merge(report, verbose=verbose)
    writes = any(outcome.action.writes for outcome in report.simulations)
    sys.exit(_exit_code(report.left_out, writes=writes))


def print_merge(report: MergeReport, *, verbose: bool = False) -> None:
    """Print what a merge did, and what it left out."""
    for left_out in report.left_out:
        where = _where(left_out.path, left_out.simulation_id)
        click.echo(f"left out: {where}: {left_out.explained(for_command_line)}", err=True)
    for note in (*report.notes, *(report.details if verbose else ())):
        click.echo(f"note: {for_command_line(note)}", err=True)
    for before, after in report.archived if verbose else ():
        click.echo(f"moved: {before} -> {after}")
    counts = ", ".join(f"{number:,} {action}" for action, number in report.counts.items())
    click.echo(
        f"{report.output}: {counts or 'nothing merged'}; {report.rows:,} rows in"
        f" {report.seconds:.2f} s ({report.rows_per_second:,.0f} rows/s)"
    )


def _print_plan(plan: dict[str, Any]) -> None:
    for left_out in plan["left_out"]:
        where = _where(left_out["path"], left_out["simulation_id"])
        click.echo(f"left out: {where}: {left_out['reason']}")
    for outcome in plan["simulations"]:
        tables = ", ".join(f"{table} {rows:,}" for table, rows in outcome["tables"].items())
        where = _where(outcome["path"], outcome["simulation_id"])
        click.echo(
            f"{outcome['action']}: {where} ({outcome['reason']}; {outcome['schema']}): {tables}"
        )
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


def _where(path: Path | str, simulation_id: str | None) -> str:
    return f"{path} [{simulation_id}]" if simulation_id else str(path)


def _exit_code(left_out: Sequence[object], *, writes: bool) -> int:
    if not left_out:
        return 0
    return SOME_LEFT_OUT if writes else NOTHING_DONE


COMMANDS = (merge,)
