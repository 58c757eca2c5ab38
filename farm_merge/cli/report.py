"""The command that makes a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from farm_merge.cli import options
from farm_merge.cli.show import draws_bars, print_done

__all__ = ["COMMANDS"]


@click.command()
@options.database
@click.option(
    "-o",
    "--output",
    type=options.new_file,
    default=Path("report.html"),
    show_default=True,
    help="The page; an older one is replaced, and nothing else.",
)
@click.option(
    "--plots",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write every chart there, as PNG, SVG and CSV.",
)
@options.simulations
@options.where
@options.metrics
@options.groups
@options.interval
@click.option("--title", help="The title of the page. By default, the name of the experiment.")
@click.option(
    "--template",
    type=options.existing_file,
    help='A Jinja2 template for the page; it may extend "page.html".',
)
@click.option(
    "--digest", is_flag=True, help="Compute the digest of the data, for which all of them are read."
)
@options.dry_run
@options.form
def report(database: Path, *, output: Path, dry_run: bool, form: str, **chosen: Any) -> None:
    """Make one page that shows an experiment; it needs no network, and can be mailed."""
    from farm_merge.read.listing import list_simulations
    from farm_merge.report import write_report

    if dry_run:
        chosen_ones = chosen["simulations"]
        number = len(list_simulations(database, chosen["where"], simulations=chosen_ones))
        over = ", in place of the one that is there" if output.exists() else ""
        said = f"{output}: would be made of {number:,} simulations{over}"
        print_done(said, form, path=output, simulations=number)
        return
    charts = write_report(database, output, progress=draws_bars(), **chosen)
    size = output.stat().st_size
    said = f"{output}: {charts} chart{'s' * (charts != 1)}, {size / 1e6:.1f} MB"
    print_done(said, form, path=output, charts=charts, bytes=size)


COMMANDS = (report,)
