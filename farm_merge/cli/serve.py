"""The command that shows a database in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from farm_merge.cli import options
from farm_merge.cli.show import print_json

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["COMMANDS"]


@click.command()
@options.database
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="The address to listen at; by default, only this machine can look.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8001,
    show_default=True,
    help="The port to listen at; 0 takes one that is free.",
)
@click.option("--metadata", is_flag=True, help="Print the metadata, for a Datasette of your own.")
def serve(database: Path, *, host: str, port: int, metadata: bool) -> None:
    """Show a database in a browser, by Datasette: filters, facets by parameter, queries.

    Ctrl-C or SIGTERM ends it.
    """
    from farm_merge.read.datasette import datasette_metadata, serve_database

    if metadata:
        print_json(datasette_metadata(database))
        return
    serve_database(database, host=host, port=port)


COMMANDS = (serve,)
