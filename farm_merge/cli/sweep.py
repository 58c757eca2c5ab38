"""The command that simulates a sweep and merges its shards."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from farm_merge.cli import options
from farm_merge.cli.merge import print_merge
from farm_merge.cli.show import (
    SOME_LEFT_OUT,
    drawing,
    merge_events,
    note,
    print_json,
    print_rows,
    print_table,
    say,
)
from farm_merge.errors import for_command_line
from farm_merge.progress import show_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm_merge.sweep import Engine, Failure, Outlook, SweepReport

__all__ = ["COMMANDS"]

_MOST_SHOWN = 50


def _part(_context: click.Context, _option: click.Parameter, text: str | None) -> Any:
    """Return K and N of `K/N`."""
    if text is None:
        return None
    part, slash, parts = text.partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise click.BadParameter(f"{text!r} is not K/N, with K from 1 to N")
    return int(part), int(parts)


@click.command()
@click.argument("sweep_file", type=options.existing_file)
@options.output(
    "The experiment database: made if it is new, extended if it exists.", default=Path("exp.db")
)
@click.option(
    "--shards",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("shards"),
    show_default=True,
    help="The folder for the shards.",
)
@options.jobs
@click.option("--timeout", type=float, metavar="SECONDS", help="How long a run may take.")
@click.option("--retries", type=click.IntRange(0), help="How often a failed run is tried again.")
@click.option("--max-failures", type=click.IntRange(1), help="Stop when so many runs have failed.")
@click.option("--fail-fast", is_flag=True, help="Stop when one run has failed.")
@click.option(
    "--task", callback=_part, metavar="K/N", help="Only the Kth of N parts of the design."
)
@click.option("--keep-partial", is_flag=True, help="Keep the rows of runs that fail.")
@click.option(
    "--executor",
    "engine_name",
    type=click.Choice(["processes", "threads", "dask", "mpi"]),
    default="processes",
    show_default=True,
    help="What carries out runs in parallel.",
)
@options.scheduler
@options.on_conflict
@options.dry_run
@options.form
def sweep(
    sweep_file: Path,
    *,
    output: Path,
    shards: Path,
    fail_fast: bool,
    engine_name: Engine,
    scheduler: str | None,
    jobs: int | None,
    dry_run: bool,
    form: str,
    **chosen: Any,
) -> None:
    """Simulate every run of a sweep in parallel, merge the shards, and show what came out.

    Runs that are there already, with the same parameters, are not run again. Those that failed
    are recorded in the database, and tried again by the same command.
    """
    from farm_merge.sweep import engine, load_sweep, plan_sweep, run_sweep, summarize

    if fail_fast:
        chosen["max_failures"] = 1
    plan = load_sweep(sweep_file)
    if dry_run:
        _print_outlook(plan_sweep(plan, shards, output, jobs=jobs), form)
        return
    with (
        engine(engine_name, jobs=jobs, scheduler=scheduler) as executor,
        drawing() as bar,
    ):
        report = run_sweep(
            plan,
            shards,
            output,
            executor=executor,
            jobs=jobs,
            progress=partial(show_runs, bar) if bar else None,
            merge_progress=merge_events(bar),
            **chosen,
        )
    summary = summarize(output, plan)
    if form == "table":
        _print_some(summary, "other parameter sets")
        for text in report.notes:
            note(text)
        _print_failures(report)
        print_merge(report.merge)
    elif form == "json":
        print_json(_described(report, summary))
    else:
        columns = list(dict.fromkeys(name for row in summary for name in row))
        print_rows(columns, ([row.get(name) for name in columns] for row in summary), form)
    sys.exit(SOME_LEFT_OUT if report.failed else 0)


def _described(report: SweepReport, summary: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a sweep did as plain data."""
    from farm_merge.merge import describe_report

    return {
        "completed": [run.simulation_id for run in report.completed],
        "present": [run.simulation_id for run in report.present],
        "failed": [_failure(it) for it in report.failed],
        "not_run": report.not_run,
        "notes": report.notes,
        "summary": summary,
        "merge": describe_report(report.merge, for_command_line),
    }


def _print_some(rows: Sequence[dict[str, Any]], others: str) -> None:
    """Print the first of some rows, and how many others there are."""
    if rows:
        print_table(list(rows[0]), rows[:_MOST_SHOWN])
    if len(rows) > _MOST_SHOWN:
        say(f"… and {len(rows) - _MOST_SHOWN:,} {others}")


def _print_outlook(outlook: Outlook, form: str) -> None:
    """Print what would be run, and how long that takes."""
    for text in outlook.notes:
        note(text)
    rows = [{"run": run.simulation_id, "seed": run.seed, **run.parameters} for run in outlook.due]
    if form != "table":
        columns = list(rows[0]) if rows else ["run", "seed"]
        print_rows(columns, (list(row.values()) for row in rows), form)
        return
    _print_some(rows, "others")
    say(f"{outlook.summary}. Nothing was run")


def _print_failures(report: SweepReport) -> None:
    """Print the runs that failed as a table, and how many were not tried."""
    _print_some([_failure(it) for it in report.failed], "others that failed")
    if report.not_run:
        note(f"{report.not_run:,} runs were not run")


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "failed": failure.run.simulation_id,
        "stage": failure.stage,
        "seconds": failure.seconds,
        "attempts": failure.attempts,
        "reason": failure.reason.partition("\n")[0],
    }


COMMANDS = (sweep,)
