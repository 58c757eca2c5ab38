"""The command that makes of an experiment what archives take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from farm_merge.cli import options
from farm_merge.cli.show import draws_bars, say

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["COMMANDS"]


@click.command()
@options.database
@options.new_folder
@click.option(
    "--about",
    required=True,
    type=options.existing_file,
    help="Who made it and under which licence: TOML with `license`, `authors` (each with `name`,"
    " `orcid`, `affiliation`), and perhaps `title`, `description`, `keywords`, `code`, `doi`; or a"
    " CITATION.cff.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["sqlite", "parquet"]),
    default="sqlite",
    show_default=True,
    help="The data: the database, compressed with Zstandard; or all tables as Parquet.",
)
@options.dry_run
def publish(database: Path, *, folder: Path, about: Path, form: Any, dry_run: bool) -> None:
    """Make a folder to be archived and cited: data, report, digests, and an RO-Crate."""
    from farm_merge.crate import publish_database

    published = publish_database(
        database, folder, about, format=form, dry_run=dry_run, progress=draws_bars()
    )
    files = ", ".join(published.files)
    if dry_run:
        say(f"{folder}: would hold {published.simulations:,} simulations in {files}")
        return
    size = published.size_bytes / 1e6
    say(f"{folder}: {published.simulations:,} simulations in {files}; {size:.1f} MB")


COMMANDS = (publish,)
