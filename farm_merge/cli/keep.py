"""The commands that keep house: describe, remove, split, vacuum, archive and restore."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from farm_merge.cli import options
from farm_merge.cli.show import draws_bars, is_verbose, print_done, print_rows, say

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
    "--key",
    default="simulation_id",
    show_default=True,
    metavar="COLUMN",
    help="The column that names the simulation there.",
)
@options.dry_run
@options.form
def describe(database: Path, *, source: Path, key: str, dry_run: bool, form: str) -> None:
    """Give simulations the parameters, seeds and statuses that a table has of them.

    Columns `seed`, `status` and `experiment_id` are these; all others are parameters.
    """
    from farm_merge.describe import describe_simulations, read_descriptions

    described = read_descriptions(source, key)
    others = describe_simulations(database, described, dry_run=dry_run)
    rows = [(name, values) for name, values in described.items()]
    if form != "table":
        print_rows(["simulation_id", "values"], rows, form)
        return
    for name, values in rows if dry_run or is_verbose() else ():
        pairs = ", ".join(f"{key}={value}" for key, value in values.items())
        say(f"{'would describe' if dry_run else 'described'} {name}: {pairs}")
    rest = f", {others:,} others {'would stay' if dry_run else 'stay'} as they are"
    say(
        f"{database}: {len(described):,} simulations {'would be ' if dry_run else ''}described"
        f"{rest if others else ''}"
    )


@click.command()
@options.database
@options.simulations
@options.where
@options.dry_run
@options.form
def remove(
    database: Path,
    *,
    simulations: tuple[str, ...],
    where: tuple[str, ...],
    dry_run: bool,
    form: str,
) -> None:
    """Remove simulations from a database, all that are chosen or none.

    Their space is used again, or given back by `farm-merge vacuum`.
    """
    from farm_merge.housekeeping import remove_simulations

    if not simulations and not where:
        raise click.UsageError("Which simulations? Name them with --simulation or --where.")
    removed = remove_simulations(
        database, simulations, where=where, dry_run=dry_run, progress=draws_bars()
    )
    options.note_if_none(removed, database, where)
    if form != "table":
        print_rows(["simulation_id", "rows"], list(removed.items()), form)
        return
    would = "would remove" if dry_run else "removed"
    for simulation_id, rows in removed.items() if dry_run or is_verbose() else ():
        say(f"{would} {simulation_id}: {rows:,} rows")
    would = "would be removed" if dry_run else "removed"
    say(f"{database}: {len(removed):,} simulations {would}, {sum(removed.values()):,} rows")


@click.command()
@options.database
@options.new_folder
@click.option(
    "--by",
    multiple=True,
    metavar="PARAMETER",
    help="Write a database for each value of this parameter, instead of one a simulation.",
)
@options.dry_run
@options.form
def split(database: Path, *, folder: Path, by: tuple[str, ...], dry_run: bool, form: str) -> None:
    """Write every simulation into a shard of its own; merging them gives the same content."""
    from farm_merge.housekeeping import split_database

    if len(by) > 1:
        raise click.UsageError("--by is taken once here.")
    files = split_database(
        database, folder, by=by[0] if by else None, dry_run=dry_run, progress=draws_bars()
    )
    if form != "table":
        rows = [(folder / name, ids) for name, ids in files.items()]
        print_rows(["path", "simulations"], rows, form)
        return
    for name, ids in files.items() if dry_run or is_verbose() else ():
        say(f"{'would write' if dry_run else 'wrote'} {folder / name}: {', '.join(ids)}")
    say(f"{folder}: {'would get' if dry_run else 'has'} {len(files):,} files")


@click.command()
@options.database
@options.dry_run
@options.form
def vacuum(database: Path, *, dry_run: bool, form: str) -> None:
    """Give back the space that removed simulations left."""
    from farm_merge.housekeeping import vacuum_database
    from farm_merge.read.listing import describe_database

    if dry_run:
        free = describe_database(database, check=False)["free_bytes"]
        say_free = f"{database}: about {free:,} bytes would be given back"
        print_done(say_free, form, path=database, free_bytes=free)
        return
    sizes = vacuum_database(database)
    print_done(
        f"{database}: {sizes.before:,} -> {sizes.after:,} bytes",
        form,
        path=database,
        bytes_before=sizes.before,
        bytes_after=sizes.after,
    )


@click.command()
@options.database
@options.output("The archive; DATABASE.zst by default.", required=False)
@click.option(
    "--level",
    type=click.IntRange(1, 22),
    default=10,
    show_default=True,
    help="A higher one makes the archive smaller, and takes longer.",
)
@options.dry_run
@options.form
def archive(database: Path, *, output: Path | None, level: int, dry_run: bool, form: str) -> None:
    """Compress a database into a file that holds its own checksum; the database stays."""
    from farm_merge.archive import archive_database

    packed = output or database.with_name(f"{database.name}.zst")
    sizes = archive_database(database, packed, level=level, dry_run=dry_run, progress=draws_bars())
    if dry_run:
        size = sizes.before
        print_done(f"{packed}: would be made of {size:,} bytes", form, path=packed, bytes=size)
        return
    print_done(
        f"{packed}: {sizes.before:,} -> {sizes.after:,} bytes, and read again",
        form,
        path=packed,
        bytes_before=sizes.before,
        bytes_after=sizes.after,
    )


@click.command()
@click.argument("archive", type=options.existing_file)
@options.output("The database; it must not be there.")
@options.dry_run
@options.form
def restore(archive: Path, *, output: Path, dry_run: bool, form: str) -> None:
    """Make a database of an archive again, if every byte of it is right.

    With --dry-run, every byte of the archive is checked.
    """
    from farm_merge.archive import restore_database

    size = restore_database(archive, output, dry_run=dry_run, progress=draws_bars())
    done = f"would get {size:,} bytes, which are" if dry_run else f"{size:,} bytes,"
    print_done(f"{output}: {done} as they were archived", form, path=output, bytes=size)


COMMANDS = (describe, remove, split, vacuum, archive, restore)
