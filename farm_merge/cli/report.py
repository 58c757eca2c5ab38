"""The command that makes a page."""

from __future__ import annotations

from pathlib import Path

import click

from farm_merge.cli import options

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
def report(
    database: Path,
    *,
    output: Path,
    plots: Path | None,
    where: tuple[str, ...],
    metrics: tuple[str, ...],
) -> None:
    """Make one page that shows an experiment; it needs no network, and can be mailed."""
    from farm_merge.read.report import write_report

    charts = write_report(database, output, plots=plots, where=where, metrics=metrics)
    click.echo(f"{output}: {charts} charts, {output.stat().st_size / 1e6:.1f} MB")


COMMANDS = (report,)
