"""The commands that look: list, info, inspect, verify, compare and sql."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from farm_merge.cli import options
from farm_merge.cli.show import (
    NOTHING_DONE,
    SOME_LEFT_OUT,
    bar,
    print_frame,
    print_json,
    print_rows,
    print_table,
)
from farm_merge.errors import ShardError, for_command_line

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__all__ = ["COMMANDS"]

_MOST_RESULTS = 8
_FEW_RESULTS = ("steps", "final_total_agents", "mean_total_agents", "final_total_resources",
                "agents_born", "agents_died", "actions", "mean_reward")  # fmt: skip
"""Results that are shown first of those that fit a screen."""


@click.command("list")
@options.database
@options.where
@options.as_json
def list_(database: Path, *, where: tuple[str, ...], as_json: bool) -> None:
    """Show the simulations of an experiment database: id, status, steps, agents, parameters.

    Of the parameters, the table shows those in which simulations differ; --json has all of them.
    """
    from farm_merge.read.listing import differing_parameters, list_simulations, shortened

    simulations = list_simulations(database, where)
    if as_json:
        print_json(simulations)
        return
    rows = []
    for simulation, parameters in zip(simulations, differing_parameters(simulations), strict=True):
        pairs = (f"{name}={value}" for name, value in parameters.items())
        rows.append({**simulation, "parameters": shortened(", ".join(pairs))})
    filled = ("steps", "agents", "parameters")
    shown = [name for name in filled if any(row[name] for row in rows)]
    print_table(["simulation_id", "status", *shown], rows)


@click.command()
@options.database
@options.as_json
def info(database: Path, *, as_json: bool) -> None:
    """Show how large a database is, what is in it, where that came from, and its health.

    \b
    Exit codes:
      0    SQLite finds it in order
      1    it does not, or the file cannot be read
    """
    from farm_merge.read.listing import describe_database

    facts = describe_database(database)
    if as_json:
        print_json(facts)
    else:
        _print_info(facts)
    sys.exit(NOTHING_DONE if facts["problems"] else 0)


@click.command()
@options.paths
@options.on_duplicate_row
@options.as_json
def inspect(paths: tuple[str, ...], *, on_duplicate_row: Any, as_json: bool) -> None:
    """Show what files are: schema, simulations, rows by table, status, size, health, fingerprint.

    \b
    Exit codes:
      0    all can be merged
      1    none can be merged
      3    some cannot
    """
    from farm_merge.merge import describe_input, find_inputs, inspect_shard

    described: list[dict[str, Any]] = []

    def show(source: dict[str, Any]) -> None:
        described.append(source)
        if not as_json:
            _print_inspection(source)

    found = find_inputs(options.with_stdin(paths))
    for path in found.files:
        try:
            show(describe_input(inspect_shard(path, on_duplicate_row=on_duplicate_row)))
        except ShardError as exc:
            show(_problem(path, exc))
    for path, error in found.others.items():
        show(_problem(path, error))
    if as_json:
        print_json(described)
    bad = sum("problem" in source for source in described)
    if bad or not described:
        sys.exit(SOME_LEFT_OUT if bad < len(described) else NOTHING_DONE)


@click.command()
@options.database
@click.argument("shards", nargs=-1)
@options.simulation_id
@options.parameters_from_name
@options.sidecars
@options.join
@options.schema
@options.equal_files
@options.on_duplicate_row
@options.on_orphan_rows
@options.as_json
def verify(database: Path, shards: tuple[str, ...], *, as_json: bool, **chosen: Any) -> None:
    """Check that an experiment database holds what was merged into it.

    Counts the rows of every simulation and table against the ledger, and lets SQLite check the
    file and its references. With SHARDS, also compares every value of theirs with the database;
    options that decided about their merge have to be given again.

    \b
    Exit codes:
      0    all is as it was merged
      1    something is not, or the database cannot be read
    """
    from farm_merge.merge import audit

    with bar("files") as progress:
        report = audit(database, options.with_stdin(shards), progress=progress, **chosen)
    if as_json:
        print_json(asdict(report))
    else:
        for problem in report.problems:
            click.echo(f"problem: {problem}", err=True)
        for note in report.notes:
            click.echo(f"note: {note}", err=True)
        click.echo(
            f"{database}: {report.simulations:,} simulations, {report.counted:,} counted against"
            f" the ledger, {report.compared:,} compared with their files:"
            f" {f'{len(report.problems):,} problems' if report.problems else 'all as merged'}"
        )
    sys.exit(NOTHING_DONE if report.problems else 0)


@click.command()
@options.database
@click.argument("simulations", nargs=-1, metavar="[FIRST SECOND]")
@options.where
@click.option("--grouped", is_flag=True, help="Over repetitions: n, mean, std, and an interval.")
@options.by
@options.interval
@options.metrics
@options.form
def compare(
    database: Path,
    *,
    simulations: tuple[str, ...],
    where: tuple[str, ...],
    grouped: bool,
    by: tuple[str, ...],
    interval: Any,
    metrics: tuple[str, ...],
    form: str,
) -> None:
    """Compare simulations: parameters and results, a row each, in groups, or two side by side.

    The table shows a few of the results, or those of each --metric, and none that is the same in
    all simulations; --format csv and json have all of them.
    """
    from farm_merge.read.compare import (
        compare_simulations,
        compare_two,
        ended_well,
        group_repetitions,
    )

    if len(simulations) not in {0, 2}:
        raise click.UsageError("Name two simulations to see them side by side, or none for all.")
    if simulations and (where or grouped or by or metrics):
        raise click.UsageError(
            "--where, --grouped, --by and --metric are for all simulations, not for two."
        )
    if simulations:
        frame = compare_two(database, *simulations)
    elif grouped or by:
        frame = compare_simulations(database, where, metrics=metrics)
        if failed := len(frame) - len(ended_well(frame)):
            click.echo(f"{failed:,} runs failed and are in no group", err=True)
        shown = _differing(frame) if form == "table" and not metrics else frame
        frame = group_repetitions(shown, by or None, interval=interval)
    else:
        frame = compare_simulations(database, where, metrics=metrics)
        if form == "table":
            frame = _fitting(frame, None if metrics else _MOST_RESULTS)
        frame = frame.reset_index()
    print_frame(frame, form)


@click.command()
@options.database
@click.argument("statement")
@click.option("-p", "--parameter", multiple=True, metavar="NAME=VALUE", help="For a :NAME in it.")
@options.form
def sql(database: Path, *, statement: str, parameter: tuple[str, ...], form: str) -> None:
    """Run one SQL statement that reads; nothing that it does can change the file."""
    from farm_merge.read.open import query

    values = {}
    for pair in parameter:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--parameter takes NAME=VALUE, not {pair!r}.")
        values[name] = value
    with query(database, statement, values) as (columns, rows):
        print_rows(columns, rows, form)


def _print_info(facts: dict[str, Any]) -> None:
    click.echo(
        f"{facts['path']}: {facts['size_bytes']:,} bytes, {facts['free_bytes']:,} of them free"
    )
    rows = [
        {"table": name, "rows": f"{table['rows']:,}", "bytes": _bytes(table["size_bytes"])}
        for name, table in facts["tables"].items()
        if table["rows"]
    ]
    print_table(["table", "rows", "bytes"], rows)
    if empty := [name for name, table in facts["tables"].items() if not table["rows"]]:
        click.echo(f"empty: {', '.join(empty)}")
    for experiment_id, experiment in facts["experiments"].items():
        name = "" if experiment["name"] == experiment_id else f" ({experiment['name']})"
        click.echo(f"experiment {experiment_id}{name}: {experiment['simulations']:,} simulations")
    click.echo(f"simulations: {_counts(facts['statuses'], '{1:,} {0}') or 'none'}")
    ledger = facts["ledger"]
    if ledger["files"]:
        click.echo(
            f"ledger: {ledger['files']:,} files, merged from {ledger['first_merged']} to"
            f" {ledger['last_merged']} UTC"
        )
    for what in ("schemas", "versions", "choices"):
        if found := ledger[what]:
            click.echo(f"  {what}: {_counts(found, '{0} ({1:,})')}")
    for problem in facts["problems"]:
        click.echo(f"problem: {problem}")
    if not facts["problems"]:
        click.echo("health: quick_check ok, all references resolve")


def _counts(numbers: dict[str, int], worded: str) -> str:
    return ", ".join(worded.format(name, number) for name, number in numbers.items())


def _bytes(size: int | None) -> str:
    return "" if size is None else f"{size:,}"


def _problem(path: Path, error: ShardError) -> dict[str, Any]:
    words = filter(None, (error.reason, for_command_line(error.remedy)))
    return {"path": str(path), "problem": "; ".join(words)}


def _print_inspection(source: dict[str, Any]) -> None:
    if "problem" in source:
        click.echo(f"{source['path']}: cannot be merged: {source['problem']}")
        return
    click.echo(
        f"{source['path']}: {source['schema']}, {source['size_bytes']:,} bytes, health"
        f" {source['health']}, fingerprint {source['fingerprint']}"
    )
    for simulation in source["simulations"]:
        tables = ", ".join(f"{table} {rows:,}" for table, rows in simulation["tables"].items())
        name = simulation["simulation_id"] or "(named by its path)"
        click.echo(f"  {name}, status {simulation['status'] or 'unknown'}: {tables or 'no rows'}")
    for note in (*source["notes"], *source["details"]):
        click.echo(f"  note: {note}")


def _differing(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a comparison without the results that are the same in all simulations."""
    from farm_merge.read.compare import result_columns, varied_results

    constant = {*result_columns(frame)} - {"steps", *varied_results(frame)}
    return frame.drop(columns=list(constant))


def _fitting(frame: pd.DataFrame, most: int | None) -> pd.DataFrame:
    """Return those columns of a comparison that fit a screen; no more than so many results."""
    from farm_merge.read.compare import result_columns, varied_parameters, without_prefix

    results = result_columns(frame)
    if most is not None:
        results = result_columns(_differing(frame))
        first = [name for name in _FEW_RESULTS if name in results]
        others = (name for name in results if not name.startswith(("mean_", "min_", "max_")))
        results = list(dict.fromkeys([*first, *others]))[:most]
    wanted = ("status", *varied_parameters(frame), *results)
    return without_prefix(frame[[name for name in wanted if name in frame]])


COMMANDS = (list_, info, inspect, verify, compare, sql)
