"""The command that merges."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from farm_merge.cli import options
from farm_merge.cli.show import (
    NOTHING_DONE,
    SOME_LEFT_OUT,
    echo,
    merge_bar,
    print_json,
)
from farm_merge.errors import for_command_line

if TYPE_CHECKING:
    from farm_merge.merge import MergeReport

__all__ = ["COMMANDS", "print_merge"]

_PLANNING = ("simulation_id", "parameters_from_name", "sidecars", "join", "schema",
             "include_running", "settle", "equal_files", "on_conflict", "on_bad_shard",
             "on_duplicate_row", "on_orphan_rows", "jobs")  # fmt: skip
"""The options of a merge that decide about its plan."""

_FUTURE = {
    "merged": "to merge",
    "replaced": "to replace",
    "joined": "to join",
    "skipped": "to skip",
    "left out": "to leave out",
}


class _Grouped(click.Command):
    """A command whose many options are listed by the question that they answer."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, each under its question."""
        chosen = (param for param in self.get_params(ctx) if isinstance(param, click.Option))
        records = {param.name: record for param in chosen if (record := param.get_help_record(ctx))}
        for question, names in _QUESTIONS.items():
            with formatter.section(question):
                formatter.write_dl([records.pop(name) for name in names if name in records])
        with formatter.section("What is shown"):
            formatter.write_dl(list(records.values()))


_QUESTIONS = {
    "Which runs": ("include_running", "settle", "schema", "join"),
    "What they are called, and belong to": (
        "simulation_id", "parameters_from_name", "sidecars", "experiment_id", "name",
        "description"),
    "When inputs disagree, or are damaged": (
        "on_conflict", "on_bad_shard", "on_duplicate_row", "on_orphan_rows", "equal_files"),
    "How it is written": ("output", "verify", "engine", "jobs", "archive"),
}  # fmt: skip


@click.command(cls=_Grouped)
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
@options.sidecars
@options.join
@options.schema
@click.option(
    "--include-running",
    is_flag=True,
    help="Also merge runs that seem to be running still, as far as they got.",
)
@click.option(
    "--settle",
    type=float,
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="A run whose status is running counts as ended when it wrote nothing for so long.",
)
@options.equal_files
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
    help="What is compared with the inputs before anything is kept.",
)
@click.option(
    "--engine",
    type=click.Choice(["auto", "attach", "graft"]),
    default="auto",
    show_default=True,
    help="How the output is written: row by row (attach), page by page (graft), or as it suits.",
)
@click.option("-j", "--jobs", type=click.IntRange(1), help="Processes; one a core by default.")
@click.option(
    "--archive",
    type=click.Path(file_okay=False, path_type=Path),
    help="Move inputs to this folder once they are merged and verified.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Show the whole plan; write nothing.")
@click.option("-v", "--verbose", is_flag=True, help="List what happens to each simulation.")
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
      3    merged, or merged already, but for some inputs
      130  interrupted
    """
    from farm_merge.merge import describe_plan, describe_report, merge_shards, plan_merge

    if chosen["archive"] and chosen["verify"] == "none":
        raise click.UsageError("--archive moves only what is verified: not with --verify none")
    words = options.with_stdin(paths)
    with merge_bar(hidden=quiet or as_json, lines=verbose) as progress:
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
        sys.exit(_exit_code(described["files"]))
    if as_json:
        print_json(describe_report(report, for_command_line))
    elif not quiet:
        print_merge(report, verbose=verbose)
    sys.exit(_exit_code(report.files))


def print_merge(report: MergeReport, *, verbose: bool = False) -> None:
    """Print what a merge did, and what became of every file that was found."""
    for left_out in report.left_out:
        where = _where(left_out.path, left_out.simulation_id)
        echo(f"left out: {where}: {left_out.explained(for_command_line)}", err=True)
    for note in (*report.notes, *(report.details if verbose else ())):
        echo(f"note: {for_command_line(note)}", err=True)
    for before, after in report.archived if verbose else ():
        echo(f"moved: {before} -> {after}")
    if report.unfinished:
        echo(f"note: merged with the status running: {_number(report.unfinished, 'run')}", err=True)
    counts = ", ".join(f"{number:,} {action}" for action, number in report.counts.items())
    echo(
        f"{report.output}: {counts or 'nothing merged'}; {report.rows:,} rows in"
        f" {report.seconds:.2f} s ({report.rows_per_second:,.0f} rows/s)"
    )
    echo(_account(report.files))


def _print_plan(plan: dict[str, Any]) -> None:
    for left_out in plan["left_out"]:
        where = _where(left_out["path"], left_out["simulation_id"])
        echo(f"to leave out: {where}: {left_out['reason']}")
    for outcome in plan["simulations"]:
        tables = ", ".join(f"{table} {rows:,}" for table, rows in outcome["tables"].items())
        where = _where(outcome["path"], outcome["simulation_id"])
        action = _FUTURE.get(outcome["action"], outcome["action"])
        echo(f"{action}: {where} ({outcome['reason']}; {outcome['schema']}): {tables}")
    for mapping in plan["mappings"]:
        echo(f"to rewrite: {_number(mapping['files'], 'file')} like {mapping['first']}")
        for table in mapping["tables"]:
            echo(f"  {table['from']} -> {table['to']}: {', '.join(table['columns'])}")
    for what in ("tables", "columns", "indexes"):
        if added := plan[f"added_{what}"]:
            echo(f"to add: {what} {', '.join(added)}")
    for note in (*plan["notes"], *plan["details"]):
        echo(f"note: {note}")
    echo(
        f"{plan['output']}: would {'grow by' if plan['exists'] else 'get'} {plan['rows']:,} rows;"
        f" at most {plan['bytes_needed']:,} bytes needed, {plan['bytes_free']:,} free."
        " Nothing was written"
    )
    echo(_account({_FUTURE.get(what, what): number for what, number in plan["files"].items()}))


def _account(files: dict[str, int]) -> str:
    """Return what becomes of all files that were found, which adds up."""
    parts = ", ".join(f"{number:,} {what}" for what, number in files.items() if number)
    return f"{_number(sum(files.values()), 'file')} found: {parts}"


def _number(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _where(path: Path | str, simulation_id: str | None) -> str:
    return f"{path} [{simulation_id}]" if simulation_id else str(path)


def _exit_code(files: dict[str, int]) -> int:
    if not files["left out"]:
        return 0
    return SOME_LEFT_OUT if files["merged"] or files["already there"] else NOTHING_DONE


COMMANDS = (merge,)
