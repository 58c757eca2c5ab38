"""The command that makes a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from farm_merge.cli import options
from farm_merge.cli.show import draws_bars, say

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
    help="Also write every chart there, as PNG, SVG and CSV.",
)
@options.where
@options.metrics
@options.groups
@options.interval
@click.option("--title", help="Of the page. By default the name of the experiment.")
@click.option(
    "--template",
    type=options.existing_file,
    help='A Jinja2 template for the page; it may extend "page.html".',
)
@click.option(
    "--digest/--no-digest",
    default=True,
    show_default=True,
    help="Give the digest of the data, for which all of them are read.",
)
@options.dry_run
def report(database: Path, *, output: Path, dry_run: bool, **chosen: Any) -> None:
    """Make one page that shows an experiment; it needs no network, and can be mailed."""
    from farm_merge.read.listing import list_simulations
    from farm_merge.report import write_report

    if dry_run:
        simulations = list_simulations(database, chosen["where"])
        over = ", in place of the one that is there" if output.exists() else ""
        say(f"{output}: would be made of {len(simulations):,} simulations{over}")
        return
    charts = write_report(database, output, progress=draws_bars(), **chosen)
    say(f"{output}: {charts} charts, {output.stat().st_size / 1e6:.1f} MB")


COMMANDS = (report,)
