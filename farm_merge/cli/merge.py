"""The command that merges."""

from __future__ import annotations

import os
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Never

import click

from farm_merge.cli import options
from farm_merge.cli.show import (
    NOTHING_DONE,
    SOME_LEFT_OUT,
    drawing,
    is_verbose,
    merge_events,
    note,
    print_json,
    print_rows,
    say,
)
from farm_merge.errors import for_command_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from farm_merge.merge import MergeReport

__all__ = ["COMMANDS", "print_merge", "print_merges", "show_plan"]

_PLANNING = ("simulation_id", "parameters_from_name", "sidecars", "join", "schema",
             "include_running", "settle", "equal_files", "on_conflict", "on_bad_shard",
             "on_duplicate_row", "on_orphan_rows", "jobs", "archive")  # fmt: skip
"""The options of a merge that decide about its plan."""

_FUTURE = {
    "merged": "would be merged",
    "replaced": "would be replaced",
    "joined": "would be joined",
    "skipped": "would be skipped",
    "left out": "would be left out",
}

_COLUMNS = ("simulation_id", "path", "schema", "action", "reason", "rows")
"""What a row of a plan or report shows of a simulation."""


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
@options.output("The experiment database: made if it is new, extended if it exists.")
@options.experiment_id
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
@options.settle(60.0)
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
@options.jobs
@click.option(
    "--archive",
    type=click.Path(file_okay=False, path_type=Path),
    help="Move inputs to this folder once they are merged and verified.",
)
@options.dry_run
@options.form
def merge(paths: tuple[str, ...], *, dry_run: bool, form: str, output: Path, **chosen: Any) -> None:
    """Merge shards and legacy files into an experiment database.

    PATHS are files, folders (searched for SQLite databases, whatever they are called), patterns,
    or - to read paths from standard input, one a line or separated by NUL. They are only read.
    Merging the same files again changes nothing.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # its threads start slowly, for nothing
    from farm_merge.merge import describe_report, merge_shards

    if chosen["archive"] and chosen["verify"] == "none":
        raise click.UsageError("--archive moves only what is verified: not with --verify none")
    if dry_run:
        planning = {name: chosen[name] for name in _PLANNING}
        show_plan(options.with_stdin(paths), output, form, **planning)
    with drawing() as bar:
        report = merge_shards(
            options.with_stdin(paths), output, progress=merge_events(bar), **chosen
        )
    if form == "table":
        print_merge(report)
    else:
        _print_described(describe_report(report, for_command_line), form)
    sys.exit(_exit_code(report.files))


def show_plan(paths: Iterable[str], output: Path, form: str, **chosen: Any) -> Never:
    """Print what a merge would do, and exit with what it would exit with.

    Args:
        paths: Files, folders and patterns.
        output: The experiment database.
        form: How it is printed.
        **chosen: Options of the merge that decide about its plan.
    """
    from farm_merge.merge import describe_plan, plan_merge

    with drawing() as bar:
        plan = plan_merge(paths, output, progress=merge_events(bar), **chosen)
    described = describe_plan(plan, for_command_line)
    if form == "table":
        _print_plan(described)
    else:
        _print_described(described, form)
    sys.exit(_exit_code(described["files"]))


def _print_described(described: dict[str, Any], form: str) -> None:
    """Print a plan or report for programs: all of it as JSON, or a row for each simulation."""
    if form == "json":
        print_json(described)
    else:
        print_rows(_COLUMNS, _rows(described), form)


def _rows(described: dict[str, Any]) -> Iterator[list[Any]]:
    """Yield what became of each simulation, and of each input that was left out."""
    for simulation in described["simulations"]:
        yield [simulation[name] for name in _COLUMNS]
    for left_out in described["left_out"]:
        yield [{**left_out, "action": "left out"}.get(name) for name in _COLUMNS]


def print_merges(reports: Iterable[MergeReport], form: str) -> None:
    """Print what one merge after another did, as each is done."""
    from farm_merge.merge import describe_report

    if form == "table":
        for report in reports:
            print_merge(report)
        return
    described = (describe_report(report, for_command_line) for report in reports)
    print_rows(_COLUMNS, chain.from_iterable(map(_rows, described)), form)


def print_merge(report: MergeReport) -> None:
    """Print what a merge did, and what became of every file that was found."""
    for left_out in report.left_out:
        where = _where(left_out.path, left_out.simulation_id)
        note(f"{where}: {left_out.explained(for_command_line)}", "left out")
    for text in (*report.notes, *(report.details if is_verbose() else ())):
        note(text)
    for before, after in report.archived if is_verbose() else ():
        say(f"moved: {before} -> {after}")
    if report.unfinished:
        note(f"merged with the status running: {_number(report.unfinished, 'run')}")
    counts = ", ".join(f"{number:,} {action}" for action, number in report.counts.items())
    written = ""
    if report.rows:
        rate = f" ({report.rows_per_second:,.0f} rows/s)" if report.seconds else ""
        written = f"; {_number(report.rows, 'row')} in {report.seconds:.2f} s{rate}"
    say(f"{report.output}: {counts or 'nothing merged'}{written}")
    say(_account(report.files))


def _print_plan(plan: dict[str, Any]) -> None:
    for left_out in plan["left_out"]:
        where = _where(left_out["path"], left_out["simulation_id"])
        say(f"would be left out: {where}: {left_out['reason']}")
    for outcome in plan["simulations"]:
        tables = ", ".join(f"{table} {rows:,}" for table, rows in outcome["tables"].items())
        where = _where(outcome["path"], outcome["simulation_id"])
        action = _FUTURE.get(outcome["action"], outcome["action"])
        say(f"{action}: {where} ({outcome['reason']}; {outcome['schema']}): {tables}")
    for mapping in plan["mappings"]:
        say(f"would be rewritten: {_number(mapping['files'], 'file')} like {mapping['first']}")
        for table in mapping["tables"]:
            say(f"  {table['from']} -> {table['to']}: {', '.join(table['columns'])}")
    for what in ("tables", "columns", "indexes"):
        if added := plan[f"added_{what}"]:
            say(f"would be added: {what} {', '.join(added)}")
    for text in (*plan["notes"], *plan["details"]):
        say(f"note: {text}")
    say(
        f"{plan['output']}: would {'grow by' if plan['exists'] else 'get'} {plan['rows']:,} rows;"
        f" at most {plan['bytes_needed']:,} bytes needed, {plan['bytes_free']:,} free."
        " Nothing was written"
    )
    say(_account({_FUTURE.get(what, what): number for what, number in plan["files"].items()}))


def _account(files: dict[str, int]) -> str:
    """Return what becomes of all files that were found, which adds up."""
    parts = ", ".join(f"{number:,} {what}" for what, number in files.items() if number)
    found = f"{_number(sum(files.values()), 'file')} found"
    return f"{found}: {parts}" if parts else found


def _number(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _where(path: Path | str, simulation_id: str | None) -> str:
    return f"{path} [{simulation_id}]" if simulation_id else str(path)


def _exit_code(files: dict[str, int]) -> int:
    if not files["left out"]:
        return 0
    return SOME_LEFT_OUT if files["merged"] or files["already there"] else NOTHING_DONE


COMMANDS = (merge,)
