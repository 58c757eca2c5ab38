"""The command that merges shards as they appear."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import click

from farm_merge.cli import options
from farm_merge.cli.interrupt import on_signal
from farm_merge.cli.merge import print_merge
from farm_merge.cli.show import SOME_LEFT_OUT

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["COMMANDS"]


@click.command()
@options.paths
@click.option(
    "-o", "--output", required=True, type=options.new_file, help="The experiment database."
)
@click.option("--experiment-id", help="Register all simulations under this experiment.")
@options.on_conflict
@click.option(
    "--settle",
    type=click.FloatRange(0),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="For how long a file must not have changed.",
)
@click.option(
    "--interval",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time between two looks.",
)
@click.option("--until", type=click.IntRange(1), metavar="N", help="End with so many simulations.")
def watch(paths: tuple[str, ...], output: Path, **chosen: Any) -> None:
    """Merge shards as they appear, from simulations that something else has started.

    PATHS are files, folders and patterns, which may match nothing yet. A file is merged when it
    has settled. Ctrl-C or SIGTERM ends the watch after the merge that goes on; started again, it
    goes on where it was.
    """
    from farm_merge.sweep.watch import watch_shards

    stop = threading.Event()
    on_signal((signal.SIGINT, signal.SIGTERM), lambda _: stop.set())
    left_out: set[Path] = set()
    for report in watch_shards(paths, output, stop=stop, **chosen):
        left_out |= {left.path for left in report.left_out}
        left_out -= set(report.in_output)
        print_merge(report)
    sys.exit(SOME_LEFT_OUT if left_out else 0)


COMMANDS = (watch,)
