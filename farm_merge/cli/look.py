"""The commands that look: list, info, inspect, verify, compare and sql."""

from __future__ import annotations

import json
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from farm_merge.cli import options
from farm_merge.cli.show import (
    DIFFERENT,
    NOTHING_DONE,
    SOME_LEFT_OUT,
    draws_bars,
    echo,
    note,
    print_frame,
    print_json,
    print_rows,
    print_table,
    say,
)
from farm_merge.errors import ShardError, for_command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

__all__ = ["COMMANDS"]

_INSPECTED = ("path", "schema", "simulation_id", "status", "rows", "problem")
"""What a row of an inspection shows of a simulation."""

_MOST_RESULTS = 8
_FEW_RESULTS = ("steps", "final_total_agents", "mean_total_agents", "final_total_resources",
                "agents_born", "agents_died", "actions", "mean_reward")  # fmt: skip
"""Results that are shown first of those that fit a screen."""


@click.command("list")
@options.database
@options.simulations
@options.where
@options.form
def list_(
    database: Path, *, simulations: tuple[str, ...], where: tuple[str, ...], form: str
) -> None:
    """Show the simulations of an experiment database: id, status, steps, agents, parameters.

    Of the parameters, the table shows those in which simulations differ; the other forms have all
    of them. A run that has ended without saying how is closed.
    """
    from farm_merge.read.listing import differing_parameters, list_simulations, shortened

    found = list_simulations(database, where, simulations=simulations)
    options.note_if_none(found, database, where)
    if form == "json":
        print_json(found)
        return
    if form == "table":
        for row, parameters in zip(found, differing_parameters(found), strict=True):
            pairs = (f"{name}={value}" for name, value in parameters.items())
            row["parameters"] = shortened(", ".join(pairs))
    elif form != "jsonl":
        found = [{**row, "parameters": json.dumps(row["parameters"])} for row in found]
    filled = ("steps", "agents", "parameters")
    shown = [name for name in filled if form != "table" or any(row[name] for row in found)]
    columns = ["simulation_id", "status", *shown]
    print_rows(columns, ([row[name] for name in columns] for row in found), form)


@click.command()
@options.database
@options.form
def info(database: Path, *, form: str) -> None:
    """Show how large a database is, what is in it, where that came from, and its health.

    The exit code is 4 if SQLite finds damage.
    """
    from farm_merge.read.listing import describe_database

    facts = describe_database(database)
    if form == "json":
        print_json(facts)
    elif form == "table":
        _print_info(facts)
    else:
        rows = ([name, *table.values()] for name, table in facts["tables"].items())
        print_rows(["table", "rows", "size_bytes"], rows, form)
    sys.exit(DIFFERENT if facts["problems"] else 0)


@click.command()
@options.paths
@options.on_duplicate_row
@options.form
def inspect(paths: tuple[str, ...], *, on_duplicate_row: Any, form: str) -> None:
    """Show what files are: schema, simulations, rows by table, status, size, health, fingerprint.

    The exit code is 3 if some of the files could not be merged, and 1 if none could.
    """
    described: list[dict[str, Any]] = []
    for source in _inspected(paths, on_duplicate_row):
        described.append(source)
        if form == "table":
            _print_inspection(source)
    if form == "json":
        print_json(described)
    elif form != "table":
        rows = (row for source in described for row in _inspection_rows(source))
        print_rows(_INSPECTED, rows, form)
    bad = sum("problem" in source for source in described)
    if bad:
        sys.exit(SOME_LEFT_OUT if bad < len(described) else NOTHING_DONE)


def _inspected(paths: tuple[str, ...], on_duplicate_row: Any) -> Iterator[dict[str, Any]]:
    """Yield what is known of each file, or why it cannot be merged."""
    from farm_merge.merge import describe_input, find_inputs, inspect_shard, require_some

    found = find_inputs(options.with_stdin(paths))
    require_some(found)
    for path in found.files:
        try:
            yield describe_input(inspect_shard(path, on_duplicate_row=on_duplicate_row))
        except ShardError as exc:
            yield _problem(path, exc)
    for path, error in found.others.items():
        yield _problem(path, error)


def _inspection_rows(source: dict[str, Any]) -> Iterator[list[Any]]:
    if "problem" in source:
        yield [source["path"], None, None, None, None, source["problem"]]
        return
    for run in source["simulations"]:
        run_of_it = [run[name] for name in ("simulation_id", "status", "rows")]
        yield [source["path"], source["schema"], *run_of_it, None]


@click.command()
@options.database
@click.argument("shards", nargs=-1, metavar="[PATHS]...", type=click.Path())
@options.simulation_id
@options.parameters_from_name
@options.sidecars
@options.join
@options.schema
@options.equal_files
@options.on_duplicate_row
@options.on_orphan_rows
@options.jobs
@options.form
def verify(database: Path, shards: tuple[str, ...], *, form: str, **chosen: Any) -> None:
    """Check that an experiment database holds what was merged into it.

    Counts the rows of every simulation and table against the ledger, and lets SQLite check the
    file and its references. With PATHS, also compares every value of theirs with the database;
    options that decided about their merge have to be given again.
    """
    from farm_merge.merge import audit

    paths = options.with_stdin(shards) if shards else None
    report = audit(database, paths, progress=draws_bars(), **chosen)
    if form == "json":
        print_json(asdict(report))
    elif form != "table":
        print_rows(["problem"], ([problem] for problem in report.problems), form)
    else:
        for problem in report.problems:
            echo(f"problem: {problem}", err=True)
        for text in report.notes:
            note(text)
        say(
            f"{database}: {report.simulations:,} simulations, {report.counted:,} counted against"
            f" the ledger, {report.compared:,} compared with their files:"
            f" {f'{len(report.problems):,} problems' if report.problems else 'all as merged'}"
        )
    sys.exit(DIFFERENT if report.problems else 0)


@click.command()
@options.database
@click.argument("pair", nargs=-1, metavar="[FIRST SECOND]")
@options.simulations
@options.where
@click.option(
    "--grouped", is_flag=True, help="Over repetitions: n, mean, standard deviation, interval."
)
@options.groups
@options.interval
@options.metrics
@options.form
def compare(
    database: Path,
    pair: tuple[str, ...],
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
        unfinished,
    )

    if len(pair) not in {0, 2}:
        raise click.UsageError("Name two simulations to see them side by side, or none for all.")
    if pair and (simulations or where or grouped or by or metrics):
        raise click.UsageError(
            "Options that choose and group are for all simulations, not for two."
        )
    if pair:
        frame = compare_two(database, *pair)
    elif grouped or by:
        frame = compare_simulations(database, where, simulations=simulations, metrics=metrics)
        if failed := len(frame) - len(ended_well(frame)):
            note(f"{failed:,} runs failed and are in no group")
        if (others := unfinished(frame)).size:
            found = ", ".join(f"{number:,} {it}" for it, number in Counter(others).items())
            note(f"in groups, but not completed: {found} (--where status=completed omits them)")
        shown = _differing(frame) if form == "table" and not metrics else frame
        frame = group_repetitions(shown, by or None, interval=interval)
    else:
        frame = compare_simulations(database, where, simulations=simulations, metrics=metrics)
        if form == "table":
            frame = _fitting(frame, None if metrics else _MOST_RESULTS)
        frame = frame.reset_index()
    options.note_if_none(frame, database, where)
    print_frame(frame, form)


@click.command()
@options.database
@click.argument("statement", default="-")
@click.option(
    "--file",
    "script",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Read the statement from this file.",
)
@click.option(
    "-p",
    "--parameter",
    "parameters",
    multiple=True,
    metavar="NAME=VALUE",
    help="The value of :NAME in the statement; repeatable.",
)
@options.form
def sql(
    database: Path,
    statement: str,
    *,
    script: Path | None,
    parameters: tuple[str, ...],
    form: str,
) -> None:
    """Run one SQL statement that reads; nothing that it does can change the file.

    STATEMENT is SQL, or - to read it from standard input, as it is without one.
    """
    from farm_merge.read.open import query

    if script is not None and statement != "-":
        raise click.UsageError("The statement is given, or read from --file; not both.")
    if script is not None:
        statement = script.read_text(encoding="utf-8")
    elif statement == "-":
        if sys.stdin.isatty():
            raise click.UsageError("Which statement? Give it in quotes, by --file, or on stdin.")
        statement = sys.stdin.read()
    with query(database, statement, dict(map(_assigned, parameters))) as (columns, rows):
        print_rows(columns, rows, form)


def _assigned(pair: str) -> tuple[str, object]:
    """Return the name and the value of `NAME=VALUE`, a number if it is written as one."""
    name, equals, text = pair.partition("=")
    if not equals:
        raise click.UsageError(f"--parameter takes NAME=VALUE, not {pair!r}.")
    for number in (int, float):
        with suppress(ValueError):
            if str(number(text)) == text and text not in {"inf", "-inf", "nan"}:
                return name, number(text)
    return name, text


def _print_info(facts: dict[str, Any]) -> None:
    echo(f"{facts['path']}: {facts['size_bytes']:,} bytes, {facts['free_bytes']:,} of them free")
    rows = [
        {"table": name, "rows": f"{table['rows']:,}", "bytes": _bytes(table["size_bytes"])}
        for name, table in facts["tables"].items()
        if table["rows"]
    ]
    print_table(["table", "rows", "bytes"], rows)
    if empty := [name for name, table in facts["tables"].items() if not table["rows"]]:
        echo(f"empty: {', '.join(empty)}")
    for experiment_id, experiment in facts["experiments"].items():
        name = "" if experiment["name"] == experiment_id else f" ({experiment['name']})"
        echo(f"experiment {experiment_id}{name}: {experiment['simulations']:,} simulations")
    echo(f"simulations: {_counts(facts['statuses'], '{1:,} {0}') or 'none'}")
    ledger = facts["ledger"]
    if ledger["files"]:
        echo(
            f"ledger: {ledger['files']:,} files, merged from {ledger['first_merged']} to"
            f" {ledger['last_merged']} UTC"
        )
    for what in ("schemas", "versions", "choices"):
        if found := ledger[what]:
            echo(f"  {what}: {_counts(found, '{0} ({1:,})')}")
    for problem in facts["problems"]:
        echo(f"problem: {problem}")
    if not facts["problems"]:
        echo("health: quick_check ok, all references resolve")


def _counts(numbers: dict[str, int], worded: str) -> str:
    return ", ".join(worded.format(name, number) for name, number in numbers.items())


def _bytes(size: int | None) -> str:
    return "" if size is None else f"{size:,}"


def _problem(path: Path, error: ShardError) -> dict[str, Any]:
    words = filter(None, (error.reason, for_command_line(error.remedy)))
    return {"path": str(path), "problem": "; ".join(words)}


def _print_inspection(source: dict[str, Any]) -> None:
    if "problem" in source:
        echo(f"{source['path']}: cannot be merged: {source['problem']}")
        return
    echo(
        f"{source['path']}: {source['schema']}, {source['size_bytes']:,} bytes, health"
        f" {source['health']}, fingerprint {source['fingerprint']}"
    )
    for simulation in source["simulations"]:
        tables = ", ".join(f"{table} {rows:,}" for table, rows in simulation["tables"].items())
        name = simulation["simulation_id"] or "(named by its path)"
        echo(f"  {name}, status {simulation['status'] or 'unknown'}: {tables or 'no rows'}")
    for text in (*source["notes"], *source["details"]):
        echo(f"  note: {text}")


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
