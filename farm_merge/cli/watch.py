"""The command that merges shards as they appear."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import click

from farm_merge.cli import options
from farm_merge.cli.interrupt import on_signal
from farm_merge.cli.merge import print_merges, show_plan
from farm_merge.cli.show import SOME_LEFT_OUT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from farm_merge.merge import MergeReport

__all__ = ["COMMANDS"]


@click.command()
@options.paths
@options.output("The experiment database: made if it is new, extended if it exists.")
@options.experiment_id
@options.on_conflict
@options.settle(2.0)
@click.option(
    "--interval",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two looks.",
)
@click.option(
    "--until",
    type=click.IntRange(1),
    metavar="N",
    help="End as soon as the database has so many simulations.",
)
@options.dry_run
@options.form
def watch(paths: tuple[str, ...], *, output: Path, dry_run: bool, form: str, **chosen: Any) -> None:
    """Merge shards as they appear, from simulations that something else has started.

    PATHS are files, folders and patterns, which may match nothing yet. A file is merged when it
    has settled. Ctrl-C or SIGTERM ends the watch after the merge that goes on; started again, it
    goes on where it was. With --dry-run, it looks once.
    """
    from farm_merge.sweep.watch import watch_shards

    if dry_run:
        planning = {name: chosen[name] for name in ("on_conflict", "settle")}
        show_plan(paths, output, form, on_bad_shard="skip", **planning)
    stop = threading.Event()
    on_signal((signal.SIGINT, signal.SIGTERM), lambda _: stop.set())
    left_out: set[Path] = set()

    def reports() -> Iterator[MergeReport]:
        for report in watch_shards(paths, output, stop=stop, **chosen):
            left_out.update(left.path for left in report.left_out)
            left_out.difference_update(report.in_output)
            yield report

    print_merges(reports(), form)
    sys.exit(SOME_LEFT_OUT if left_out else 0)


COMMANDS = (watch,)
