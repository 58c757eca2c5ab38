"""The commands of the reading side: look, compare, take out, and keep house."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from farm_merge.console import (
    NOTHING_DONE,
    bar,
    database_argument,
    json_option,
    print_rows,
    print_table,
    told_errors,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COMMANDS"]

_where = click.option(
    "--where",
    multiple=True,
    metavar="CONDITION",
    help="Only simulations with this parameter or status: 'learning_rate>=0.1',"
    " 'status=completed'. Several: all must hold.",
)
_form = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "csv", "json"]),
    default="table",
    show_default=True,
    help="How rows are printed.",
)
_dry_run = click.option("-n", "--dry-run", is_flag=True, help="Only say what would happen.")
_new_folder = click.option(
    "-o",
    "--output",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder, new or empty.",
)


@click.command("list")
@database_argument
@_where
@json_option
def list_(database: Path, *, where: tuple[str, ...], as_json: bool) -> None:
    """Show the simulations of an experiment database: id, status, steps, agents, parameters."""
    from farm_merge.listing import list_simulations, shortened

    with told_errors():
        simulations = list_simulations(database, where)
    if as_json:
        click.echo(json.dumps(simulations, indent=2))
        return
    rows = []
    for each in simulations:
        pairs = (f"{name}={value}" for name, value in each["parameters"].items())
        rows.append({**each, "parameters": shortened(", ".join(pairs))})
    print_table(["simulation_id", "status", "steps", "agents", "parameters"], rows)


@click.command()
@database_argument
@json_option
def info(database: Path, *, as_json: bool) -> None:
    """Tell how large a database is, what is in it, where that came from, and how it is.

    \b
    Exit codes:
      0    SQLite finds it in order
      1    it does not, or the file cannot be read
    """
    from farm_merge.listing import describe_database

    with told_errors():
        told = describe_database(database)
    if as_json:
        click.echo(json.dumps(told, indent=2))
    else:
        _print_info(told)
    if told["problems"]:
        raise SystemExit(NOTHING_DONE)


@click.command()
@database_argument
@click.argument("simulations", nargs=-1, metavar="[FIRST SECOND]")
@_where
@click.option("--grouped", is_flag=True, help="Over repetitions: n, mean, std, 95 % confidence.")
@click.option("--by", multiple=True, metavar="PARAMETER", help="What makes a group; repeatable.")
@_form
def compare(
    database: Path,
    *,
    simulations: tuple[str, ...],
    where: tuple[str, ...],
    grouped: bool,
    by: tuple[str, ...],
    form: str,
) -> None:
    """Compare simulations: parameters and results, a row each, in groups, or two side by side.

    The table shows a few of the results; --format csv and json have all of them.
    """
    from farm_merge.compare import compare_simulations, compare_two, group_repetitions

    if len(simulations) not in {0, 2}:
        raise click.UsageError("Name two simulations to see them side by side, or none for all.")
    if simulations and (where or grouped or by):
        raise click.UsageError("--where, --grouped and --by are for all simulations, not for two.")
    with told_errors():
        if simulations:
            _print_frame(compare_two(database, *simulations), form)
            return
        frame = compare_simulations(database, where)
        if grouped or by:
            _print_frame(group_repetitions(frame, by or None), form)
        else:
            _print_frame(_shown(frame) if form == "table" else frame.reset_index(), form)


@click.command()
@database_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="The page; an older one is replaced.",
)
@click.option(
    "--plots",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write every chart there, as PNG and SVG.",
)
@_where
def report(database: Path, *, output: Path, plots: Path | None, where: tuple[str, ...]) -> None:
    """Make one page that shows an experiment; it needs no network, and can be mailed."""
    from farm_merge.report import write_report

    with told_errors():
        charts = write_report(database, output, plots=plots, where=where)
    click.echo(f"{output}: {charts} charts, {output.stat().st_size / 1e6:.1f} MB")


@click.command()
@click.argument(
    "databases",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@_new_folder
@click.option(
    "--format",
    "form",
    type=click.Choice(["csv", "json", "jsonl", "parquet"]),
    default="csv",
    show_default=True,
)
@click.option("--compress", type=click.Choice(["none", "gz", "zst"]), default="none", help="Text.")
@click.option("--table", "tables", multiple=True, help="Only this table; repeatable.")
@click.option("--simulation", "simulations", multiple=True, help="Only this one; repeatable.")
@click.option("--steps", metavar="FIRST:END", help="Only these steps; END is not among them.")
@click.option(
    "--as-text",
    multiple=True,
    metavar="TABLE.COLUMN",
    help="Make this column text in Parquet, since not all of its values are of one type.",
)
@click.option("-j", "--jobs", type=click.IntRange(1), default=1, show_default=True)
@click.option("--scheduler", metavar="ADDRESS", help="Let a Dask cluster do it, at tcp://….")
def export(
    databases: tuple[Path, ...],
    *,
    folder: Path,
    form: Any,
    compress: Any,
    tables: tuple[str, ...],
    simulations: tuple[str, ...],
    steps: str | None,
    as_text: tuple[str, ...],
    jobs: int,
    scheduler: str | None,
) -> None:
    """Write tables as CSV, JSON, JSON lines, or as a Parquet dataset.

    DATABASES are experiment databases, or shards straight from their runs.
    """
    from contextlib import ExitStack

    from farm_merge.export import export_tables

    chosen = _steps(steps)
    with told_errors(), ExitStack() as stack:
        executor = _dask(scheduler, stack) if scheduler else None
        exported = export_tables(
            databases,
            folder,
            form,
            tables=tables or None,
            simulations=simulations or None,
            steps=chosen,
            as_text=as_text,
            compression=compress,
            jobs=jobs,
            executor=executor,
            progress=stack.enter_context(bar("files")),
        )
    rows = sum(exported.rows.values())
    click.echo(
        f"{folder}: {rows:,} rows of {len(exported.rows)} tables in {exported.files:,} files"
    )


@click.command()
@database_argument
@click.argument("simulations", nargs=-1, metavar="SIMULATIONS...")
@_where
@_dry_run
def remove(
    database: Path, *, simulations: tuple[str, ...], where: tuple[str, ...], dry_run: bool
) -> None:
    """Remove simulations from a database, all that are named or none."""
    from farm_merge.housekeeping import remove_simulations
    from farm_merge.reading import chosen_simulations, reading

    if bool(simulations) == bool(where):
        raise click.UsageError("Name the simulations, or describe them with --where.")
    with told_errors():
        if where:
            with reading(database) as connection:
                simulations = tuple(chosen_simulations(connection, where))
        with bar("simulations") as progress:
            removed = remove_simulations(database, simulations, dry_run=dry_run, progress=progress)
    for simulation_id, rows in removed.items() if dry_run else ():
        click.echo(f"would remove {simulation_id}: {rows:,} rows")
    would = "would be removed" if dry_run else "removed"
    click.echo(f"{database}: {len(removed):,} simulations {would}, {sum(removed.values()):,} rows")


@click.command()
@database_argument
@_new_folder
@click.option("--by", metavar="PARAMETER", help="One database for each value; else a shard a run.")
@_dry_run
def split(database: Path, *, folder: Path, by: str | None, dry_run: bool) -> None:
    """Write every simulation into a shard of its own; merging them gives the same content."""
    from farm_merge.housekeeping import split_database

    with told_errors(), bar("files") as progress:
        files = split_database(database, folder, by=by, dry_run=dry_run, progress=progress)
    for name, ids in files.items() if dry_run else ():
        click.echo(f"would write {folder / name}: {', '.join(ids)}")
    would = "would get" if dry_run else "has"
    click.echo(f"{folder}: {would} {len(files):,} files")


@click.command()
@database_argument
@_dry_run
def vacuum(database: Path, *, dry_run: bool) -> None:
    """Give back the space that removed simulations left."""
    from farm_merge.housekeeping import vacuum_database
    from farm_merge.listing import describe_database

    with told_errors():
        if dry_run:
            free = describe_database(database, check=False)["free_bytes"]
            click.echo(f"{database}: about {free:,} bytes would be given back")
            return
        sizes = vacuum_database(database)
    click.echo(f"{database}: {sizes.before:,} -> {sizes.after:,} bytes")


@click.command()
@database_argument
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The archive; DATABASE.zst by default.",
)
@click.option("--level", type=click.IntRange(1, 22), default=10, show_default=True)
@_dry_run
def archive(database: Path, *, output: Path | None, level: int, dry_run: bool) -> None:
    """Compress a database into a file that says whether it is whole; the database stays."""
    from farm_merge.housekeeping import archive_database

    target = output or database.with_name(f"{database.name}.zst")
    if dry_run:
        size = database.stat().st_size
        click.echo(f"{target}: would be made of {size:,} bytes")
        return
    with told_errors(), bar("B") as progress:
        sizes = archive_database(database, target, level=level, progress=progress)
    click.echo(f"{target}: {sizes.before:,} -> {sizes.after:,} bytes, and read again")


@click.command()
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The database; it must not be there.",
)
def restore(archive: Path, *, output: Path) -> None:
    """Make a database of an archive again, if every byte of it is right."""
    from farm_merge.housekeeping import restore_database

    with told_errors(), bar("B") as progress:
        size = restore_database(archive, output, progress=progress)
    click.echo(f"{output}: {size:,} bytes, as they were archived")


@click.command()
@database_argument
@click.argument("statement")
@click.option("-p", "--parameter", multiple=True, metavar="NAME=VALUE", help="For a :NAME in it.")
@_form
def sql(database: Path, *, statement: str, parameter: tuple[str, ...], form: str) -> None:
    """Run one SQL statement that reads; nothing that it does can change the file."""
    from farm_merge.reading import query

    values = {}
    for each in parameter:
        name, equals, value = each.partition("=")
        if not equals:
            raise click.UsageError(f"--parameter takes NAME=VALUE, not {each!r}.")
        values[name] = value
    with told_errors(), query(database, statement, values) as (columns, rows):
        print_rows(columns, rows, form)


COMMANDS = (
    list_, info, compare, report, export, sql, remove, split, vacuum, archive, restore,
)  # fmt: skip


def _print_info(told: dict[str, Any]) -> None:
    click.echo(f"{told['path']}: {told['size_bytes']:,} bytes, {told['free_bytes']:,} of them free")
    rows = [
        {"table": table, "rows": f"{each['rows']:,}", "bytes": _bytes(each["size_bytes"])}
        for table, each in told["tables"].items()
    ]
    print_table(["table", "rows", "bytes"], rows)
    for experiment_id, each in told["experiments"].items():
        name = "" if each["name"] == experiment_id else f" ({each['name']})"
        click.echo(f"experiment {experiment_id}{name}: {each['simulations']:,} simulations")
    statuses = ", ".join(f"{number:,} {status}" for status, number in told["statuses"].items())
    click.echo(f"simulations: {statuses or 'none'}")
    ledger = told["ledger"]
    if ledger["files"]:
        click.echo(
            f"ledger: {ledger['files']:,} files, merged from {ledger['first_merged']} to"
            f" {ledger['last_merged']} UTC"
        )
    for what in ("schemas", "versions", "choices"):
        if found := ledger[what]:
            counted = ", ".join(f"{name} ({number:,})" for name, number in found.items())
            click.echo(f"  {what}: {counted}")
    for problem in told["problems"]:
        click.echo(f"problem: {problem}")
    if not told["problems"]:
        click.echo("health: quick_check ok, all references point at something")


def _bytes(size: int | None) -> str:
    return "" if size is None else f"{size:,}"


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what of a comparison fits a screen."""
    from farm_merge.compare import varied_parameters

    results = ("steps", "final_total_agents", "mean_total_agents", "final_total_resources",
               "agents_born", "agents_died", "actions", "mean_reward")  # fmt: skip
    columns = ["status", *varied_parameters(frame), *(each for each in results if each in frame)]
    return (
        frame[columns].rename(columns=lambda name: name.removeprefix("parameters.")).reset_index()
    )


def _print_frame(frame: pd.DataFrame, form: str) -> None:
    rows = (tuple(row) for row in frame.itertuples(index=False, name=None))
    print_rows([str(name) for name in frame.columns], rows, form)


def _steps(text: str | None) -> range | None:
    if text is None:
        return None
    first, colon, end = text.partition(":")
    try:
        return (
            range(int(first or 0), int(end) if end else 2**63 - 1)
            if colon
            else range(int(first), int(first) + 1)
        )
    except ValueError:
        raise click.UsageError(f"--steps takes FIRST:END, not {text!r}.") from None


def _dask(scheduler: str, stack: Any) -> Any:
    from farm_merge.errors import FarmMergeError

    try:
        from distributed import Client
    except ImportError as exc:
        raise FarmMergeError("a cluster needs Dask: pip install 'farm-merge[dask]'") from exc
    try:
        client: Any = Client
        client = stack.enter_context(client(scheduler, timeout="10s"))
    except OSError as exc:
        raise FarmMergeError(f"{scheduler}: no Dask scheduler answers there ({exc})") from exc
    return client.get_executor()
