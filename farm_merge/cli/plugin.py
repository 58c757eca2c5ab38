"""Plugin: `sqlite-utils merge-shards exp.db shards/*.db` is `farm-merge shards/*.db -o exp.db`.

sqlite-utils finds it by its entry point (https://sqlite-utils.datasette.io/en/stable/plugins.html).
"""

from __future__ import annotations

from typing import Any

import click
from sqlite_utils import hookimpl

from farm_merge.cli import options
from farm_merge.cli.merge import COMMANDS
from farm_merge.cli.show import exit_on_error

__all__ = ["register_commands"]


@hookimpl
def register_commands(cli: click.Group) -> None:
    """Give `sqlite-utils` the command.

    Args:
        cli: Its group of commands.
    """
    (merge,) = COMMANDS
    output = click.Argument(["output"], type=options.new_file, metavar="DATABASE")

    def merge_shards(**chosen: Any) -> None:
        with exit_on_error():
            click.get_current_context().invoke(merge, **chosen)

    cli.add_command(
        type(merge)(
            "merge-shards",
            callback=merge_shards,
            params=[output, *(param for param in merge.params if param.name != "output")],
            help=merge.help,
            short_help="Merge shards and other runs into one experiment database",
        )
    )
