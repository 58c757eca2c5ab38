"""The commands that keep house: describe, remove, split, vacuum, archive and restore."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from farm_merge.cli import options
from farm_merge.cli.show import bar

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["COMMANDS"]


@click.command()
@options.database
@click.option(
    "--from",
    "source",
    required=True,
    type=options.existing_file,
    help="CSV with a row a simulation, or JSON.",
)
@click.option(
    "--by",
    default="simulation_id",
    show_default=True,
    metavar="COLUMN",
    help="What names the simulation there.",
)
@options.dry_run
def describe(database: Path, *, source: Path, by: str, dry_run: bool) -> None:
    """Give simulations the parameters, seeds and statuses that a table has of them.

    Columns `seed`, `status` and `experiment_id` are these; all others are parameters.
    """
    from farm_merge.describe import describe_simulations, read_descriptions

    described = read_descriptions(source, by)
    if dry_run:
        for simulation_id, values in described.items():
            pairs = ", ".join(f"{name}={value}" for name, value in values.items())
            click.echo(f"would describe {simulation_id}: {pairs}")
        return
    others = describe_simulations(database, described)
    rest = f", {others:,} others as they were" if others else ""
    click.echo(f"{database}: {len(described):,} simulations described{rest}")


@click.command()
@options.database
@click.argument("simulations", nargs=-1, metavar="SIMULATIONS...")
@options.where
@options.dry_run
def remove(
    database: Path, *, simulations: tuple[str, ...], where: tuple[str, ...], dry_run: bool
) -> None:
    """Remove simulations from a database, all that are named or none."""
    from farm_merge.housekeeping import remove_simulations

    if bool(simulations) == bool(where):
        raise click.UsageError("Name the simulations, or describe them with --where.")
    with bar("simulations") as progress:
        removed = remove_simulations(
            database, simulations, where=where, dry_run=dry_run, progress=progress
        )
    for simulation_id, rows in removed.items() if dry_run else ():
        click.echo(f"would remove {simulation_id}: {rows:,} rows")
    would = "would be removed" if dry_run else "removed"
    click.echo(f"{database}: {len(removed):,} simulations {would}, {sum(removed.values()):,} rows")


@click.command()
@options.database
@options.new_folder
@click.option("--by", metavar="PARAMETER", help="One database for each value; else a shard a run.")
@options.dry_run
def split(database: Path, *, folder: Path, by: str | None, dry_run: bool) -> None:
    """Write every simulation into a shard of its own; merging them gives the same content."""
    from farm_merge.housekeeping import split_database

    with bar("files") as progress:
        files = split_database(database, folder, by=by, dry_run=dry_run, progress=progress)
    for name, ids in files.items() if dry_run else ():
        click.echo(f"would write {folder / name}: {', '.join(ids)}")
    would = "would get" if dry_run else "has"
    click.echo(f"{folder}: {would} {len(files):,} files")


@click.command()
@options.database
@options.dry_run
def vacuum(database: Path, *, dry_run: bool) -> None:
    """Give back the space that removed simulations left."""
    from farm_merge.housekeeping import vacuum_database
    from farm_merge.read.listing import describe_database

    if dry_run:
        free = describe_database(database, check=False)["free_bytes"]
        click.echo(f"{database}: about {free:,} bytes would be given back")
        return
    sizes = vacuum_database(database)
    click.echo(f"{database}: {sizes.before:,} -> {sizes.after:,} bytes")


@click.command()
@options.database
@click.option("-o", "--output", type=options.new_file, help="The archive; DATABASE.zst by default.")
@click.option(
    "--level",
    type=click.IntRange(1, 22),
    default=10,
    show_default=True,
    help="A higher one makes the archive smaller, and takes longer.",
)
@options.dry_run
def archive(database: Path, *, output: Path | None, level: int, dry_run: bool) -> None:
    """Compress a database into a file that holds its own checksum; the database stays."""
    from farm_merge.archive import archive_database

    packed = output or database.with_name(f"{database.name}.zst")
    if dry_run:
        click.echo(f"{packed}: would be made of {database.stat().st_size:,} bytes")
        return
    with bar("B") as progress:
        sizes = archive_database(database, packed, level=level, progress=progress)
    click.echo(f"{packed}: {sizes.before:,} -> {sizes.after:,} bytes, and read again")


@click.command()
@click.argument("archive", type=options.existing_file)
@click.option(
    "-o",
    "--output",
    required=True,
    type=options.new_file,
    help="The database; it must not be there.",
)
def restore(archive: Path, *, output: Path) -> None:
    """Make a database of an archive again, if every byte of it is right."""
    from farm_merge.archive import restore_database

    with bar("B") as progress:
        size = restore_database(archive, output, progress=progress)
    click.echo(f"{output}: {size:,} bytes, as they were archived")


COMMANDS = (describe, remove, split, vacuum, archive, restore)
