"""The command that makes a page."""

from __future__ import annotations

from pathlib import Path

import click

from farm_merge.cli import options
from farm_merge.cli.show import say

__all__ = ["COMMANDS"]


@click.command()
@options.database
@click.option(
    "-o",
    "--output",
    type=options.new_file,
    default=Path("report.html"),
    show_default=True,
    help="The page; an older one is replaced.",
)
@click.option(
    "--plots",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write every chart there, as PNG and SVG.",
)
@options.where
@options.metrics
@options.dry_run
def report(
    database: Path,
    *,
    output: Path,
    plots: Path | None,
    where: tuple[str, ...],
    metrics: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Make one page that shows an experiment; it needs no network, and can be mailed."""
    from farm_merge.read.listing import list_simulations
    from farm_merge.read.report import write_report

    if dry_run:
        simulations = list_simulations(database, where)
        over = ", in place of the one that is there" if output.exists() else ""
        say(f"{output}: would be made of {len(simulations):,} simulations{over}")
        return
    charts = write_report(database, output, plots=plots, where=where, metrics=metrics)
    say(f"{output}: {charts} charts, {output.stat().st_size / 1e6:.1f} MB")


COMMANDS = (report,)
