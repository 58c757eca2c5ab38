"""The command that takes data out."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from farm_merge.cli import options
from farm_merge.cli.show import draws_bars, is_verbose, say
from farm_merge.errors import FarmMergeError
from farm_merge.extras import missing_extra

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from pathlib import Path

__all__ = ["COMMANDS"]


@click.command()
@click.argument("databases", nargs=-1, required=True, type=options.existing_file)
@options.new_folder
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json", "jsonl", "parquet"]),
    default="csv",
    show_default=True,
    help="What the files are.",
)
@click.option(
    "--compress",
    type=click.Choice(["none", "gz", "zst"]),
    default="none",
    show_default=True,
    help="How text is compressed; Parquet always is.",
)
@click.option(
    "--table", "tables", multiple=True, metavar="TABLE", help="Only this table; repeatable."
)
@options.simulations
@options.where
@click.option("--steps", metavar="FIRST:END", help="Only these steps; END is not among them.")
@click.option(
    "--as-text",
    multiple=True,
    metavar="TABLE.COLUMN",
    help="Make this column text in Parquet, since not all of its values are of one type.",
)
@click.option("--null", default="", metavar="TEXT", help="What NULL is in CSV, such as '\\N'.")
@options.jobs
@options.scheduler
@options.dry_run
def export(
    databases: tuple[Path, ...],
    *,
    folder: Path,
    form: Any,
    compress: Any,
    tables: tuple[str, ...],
    simulations: tuple[str, ...],
    where: tuple[str, ...],
    steps: str | None,
    as_text: tuple[str, ...],
    null: str,
    jobs: int | None,
    scheduler: str | None,
    dry_run: bool,
) -> None:
    """Write tables as CSV, JSON, JSON lines, or as a Parquet dataset.

    DATABASES are experiment databases, or shards straight from their runs.
    """
    from farm_merge.read.export import export_tables

    chosen = _steps(steps)
    with ExitStack() as stack:
        exported = export_tables(
            databases,
            folder,
            form,
            tables=tables or None,
            simulations=simulations or None,
            where=where,
            steps=chosen,
            as_text=as_text,
            compression=compress,
            null=null,
            jobs=jobs,
            dry_run=dry_run,
            executor=_cluster(scheduler, stack) if scheduler else None,
            progress=draws_bars(),
        )
    rows = sum(exported.rows.values())
    for table, number in exported.rows.items() if dry_run or is_verbose() else ():
        say(f"{'would write' if dry_run else 'wrote'} {table}: {number:,} rows")
    would = "would get " if dry_run else ""
    say(
        f"{folder}: {would}{rows:,} rows of {len(exported.rows)} tables in {exported.files:,} files"
    )


def _steps(text: str | None) -> range | None:
    if text is None:
        return None
    first, colon, end = text.partition(":")
    try:
        if not colon:
            return range(int(first), int(first) + 1)
        return range(int(first or 0), int(end) if end else 2**63 - 1)
    except ValueError:
        raise click.UsageError(f"--steps takes FIRST:END, not {text!r}.") from None


def _cluster(scheduler: str, stack: ExitStack) -> Executor:
    """Return what hands work to a Dask cluster, until the stack unwinds."""
    try:
        from distributed import Client
    except ImportError as exc:
        raise missing_extra("a cluster needs Dask", "dask") from exc
    make_client: Any = Client
    try:
        client = stack.enter_context(make_client(scheduler, timeout="10s"))
    except OSError as exc:
        raise FarmMergeError(f"{scheduler}: no Dask scheduler answers there ({exc})") from exc
    executor: Executor = client.get_executor()
    return executor


COMMANDS = (export,)
