"""The command that simulates a sweep and merges its shards."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from farm_merge.cli import options
from farm_merge.cli.merge import print_merge
from farm_merge.cli.show import SOME_LEFT_OUT, merge_bar, print_table, sweep_bar

if TYPE_CHECKING:
    from farm_merge.sweep import Engine, Outlook, SweepReport

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
@click.option(
    "-o",
    "--output",
    type=options.new_file,
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
    help="What spreads the runs.",
)
@click.option("--scheduler", metavar="ADDRESS", help="Of a Dask cluster that is there.")
@options.on_conflict
@options.dry_run
def sweep(
    sweep_file: Path,
    *,
    output: Path,
    shards: Path,
    fail_fast: bool,
    engine_name: Engine,
    scheduler: str | None,
    dry_run: bool,
    **chosen: Any,
) -> None:
    """Simulate every run of a sweep in parallel, merge the shards, and show what came out.

    Runs that are there already, with the same parameters, are not run again. Those that failed
    are recorded in the database, and tried again by the same command.

    \b
    Exit codes:
      0    all runs are there, and merged
      1    nothing was run, or the merge was not possible
      2    wrong usage
      3    some runs failed
      130  interrupted
    """
    from farm_merge.sweep import engine, load_sweep, plan_sweep, run_sweep, summarize

    if fail_fast:
        chosen["max_failures"] = 1
    plan = load_sweep(sweep_file)
    if dry_run:
        _print_outlook(plan_sweep(plan, shards, output, workers=chosen["workers"]))
        return
    with (
        engine(engine_name, workers=chosen["workers"], scheduler=scheduler) as executor,
        sweep_bar() as runs,
        merge_bar(hidden=False) as merged,
    ):
        report = run_sweep(
            plan,
            shards,
            output,
            executor=executor,
            progress=runs,
            merge_progress=merged,
            **chosen,
        )
    if summary := summarize(output, plan):
        print_table(list(summary[0]), summary[:_MOST_SHOWN])
    if len(summary) > _MOST_SHOWN:
        click.echo(f"… and {len(summary) - _MOST_SHOWN:,} other parameter sets")
    for note in report.notes:
        click.echo(f"note: {note}", err=True)
    _print_failures(report)
    print_merge(report.merge)
    sys.exit(SOME_LEFT_OUT if report.failed else 0)


def _print_outlook(outlook: Outlook) -> None:
    """Print what would be run, and how long that takes."""
    for note in outlook.notes:
        click.echo(f"note: {note}", err=True)
    rows = [
        {"run": run.simulation_id, "seed": run.seed, **run.parameters}
        for run in outlook.due[:_MOST_SHOWN]
    ]
    if rows:
        print_table(list(rows[0]), rows)
    if len(outlook.due) > _MOST_SHOWN:
        click.echo(f"… and {len(outlook.due) - _MOST_SHOWN:,} others")
    judged = f", judged by {outlook.judged:,} runs"
    time = "an unknown time" if outlook.seconds is None else f"about {outlook.seconds:,.0f} s"
    size = "" if outlook.bytes is None else f"; all shards about {outlook.bytes:,} bytes"
    click.echo(
        f"{len(outlook.due):,} of {len(outlook.runs):,} runs would be simulated, in {time}"
        f"{size}{judged if outlook.judged else ''}. Nothing was run"
    )


def _print_failures(report: SweepReport) -> None:
    """Print the runs that failed as a table, and how many were not tried."""
    rows = [
        {
            "failed": failure.run.simulation_id,
            "stage": failure.stage,
            "seconds": failure.seconds,
            "attempts": failure.attempts,
            "reason": failure.reason.partition("\n")[0],
        }
        for failure in report.failed[:_MOST_SHOWN]
    ]
    if rows:
        print_table(list(rows[0]), rows)
    if len(report.failed) > _MOST_SHOWN:
        click.echo(f"… and {len(report.failed) - _MOST_SHOWN:,} others that failed")
    if report.not_run:
        click.echo(f"{report.not_run:,} runs were not run", err=True)


COMMANDS = (sweep,)
