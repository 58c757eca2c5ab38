"""The command that simulates a sweep and merges its shards."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from farm_merge.cli import options
from farm_merge.cli.merge import print_merge
from farm_merge.cli.show import SOME_LEFT_OUT, exit_on_error, merge_bar, print_table, sweep_bar

__all__ = ["COMMANDS"]


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
@options.on_conflict
def sweep(sweep_file: Path, output: Path, shards: Path, **chosen: Any) -> None:
    """Simulate every run of a sweep in parallel, merge the shards, and show what came out.

    Runs that are there already, with the same parameters, are not run again.
    """
    from farm_merge.sweep import load_sweep, run_sweep, summarize

    with exit_on_error():
        plan = load_sweep(sweep_file)
        with sweep_bar() as runs, merge_bar(hidden=False) as merged:
            report = run_sweep(plan, shards, output, progress=runs, merge_progress=merged, **chosen)
        for failure in report.failed:
            click.echo(f"failed: {failure}", err=True)
        if summary := summarize(output, plan):
            print_table(list(summary[0]), summary)
        print_merge(report.merge)
    sys.exit(SOME_LEFT_OUT if report.failed else 0)


COMMANDS = (sweep,)
