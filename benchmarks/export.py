"""Export of a merged database beside DuckDB's COPY (Parquet) and the sqlite3 shell (CSV).

Run: python benchmarks/export.py --size S --rounds 5. The contenders run in turns, each in a process
of its own; CPU is user and system time of all that it started. What they wrote is counted.
DuckDB partitions and compresses as farm-merge does. The shell writes numbers with 15 digits before
SQLite 3.53, so that it has less to do.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from contextlib import closing
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from data import make_shards
from merge import KEPT, SIZES, keep, made, peak_of
from peers import sqlite_scanner

from farm_merge.schema import METADATA_TABLES
from farm_merge.sqlite import column_types, sqlite3, table_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from merge import Run, Runs


def farm_merge_parquet(database: Path, folder: Path) -> None:
    _farm_merge(database, folder, "parquet")


def farm_merge_csv(database: Path, folder: Path) -> None:
    _farm_merge(database, folder, "csv")


def _farm_merge(database: Path, folder: Path, form: str) -> None:
    command = [sys.executable, "-m", "farm_merge", "export", database, "-o", folder, "-q"]
    subprocess.run([*map(str, command), "--format", form], check=True)


def duckdb_parquet(database: Path, folder: Path) -> None:
    connection = sqlite_scanner()
    connection.execute(f"ATTACH '{database}' AS exp (TYPE sqlite, READ_ONLY)")
    for table, columns in _tables(database).items():
        (folder / table).mkdir(parents=True)
        if "simulation_id" in columns and table not in METADATA_TABLES:
            to, options = folder / table, ", PARTITION_BY simulation_id"
        else:
            to, options = folder / table / "part-0.parquet", ""
        connection.execute(
            f"COPY (FROM exp.{table}) TO '{to}' (FORMAT parquet, COMPRESSION zstd{options})"
        )


def sqlite3_csv(database: Path, folder: Path) -> None:
    folder.mkdir()
    script = "\n".join(
        f".output '{folder / table}.csv'\nSELECT * FROM {table};" for table in _tables(database)
    )
    command = ["sqlite3", "-readonly", "-csv", "-header", str(database)]
    subprocess.run(command, input=script, text=True, check=True)


CONTENDERS = {
    contender.__name__: contender
    for contender in (
        farm_merge_parquet,
        duckdb_parquet,
        farm_merge_csv,
        sqlite3_csv,
    )
}
RIVALS = {"farm_merge_parquet": "duckdb_parquet", "farm_merge_csv": "sqlite3_csv"}


def _tables(database: Path) -> dict[str, dict[str, str]]:
    with closing(sqlite3.connect(str(database))) as connection:
        return {table: column_types(connection, table) for table in table_names(connection)}


def main() -> None:
    def export(name: str, database: Path) -> Run:
        return timed(name, database, database.with_name("exported"), rows_of(database))

    there = [name for name in CONTENDERS if name != "sqlite3_csv" or shutil.which("sqlite3")]
    compare("export", there, export, RIVALS)


def compare(
    what: str,
    contenders: Iterable[str],
    run: Callable[[str, Path], Run],
    rivals: Mapping[str, str],
) -> None:
    """Let contenders do something with a merged database in turns, as the command line says.

    Args:
        what: What they do.
        contenders: Who can take part.
        run: Lets one of them do it.
        rivals: Beside whom each is shown.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, default="S")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=Path("build/bench"))
    parser.add_argument("--keep", action="store_true", help="results go into the repository")
    parser.add_argument("contenders", nargs="*", default=list(contenders))
    arguments = parser.parse_args()
    database = made(arguments.data, make_shards(arguments.data, SIZES[arguments.size]))
    runs: Runs = {}
    for number in range(arguments.rounds):
        for name in arguments.contenders:
            runs.setdefault(name, []).append(run(name, database))
            seconds, megabytes, cpu = runs[name][-1]
            print(f"  round {number + 1}: {name:20} {seconds:8.2f} s {cpu:8.2f} s CPU"
                  f" {megabytes:7.0f} MB", flush=True)  # fmt: skip
    folder = KEPT if arguments.keep else arguments.data / "results"
    rows = sum(rows_of(database).values())
    report(runs, folder, f"{what} {arguments.size}", rows, rivals)


def timed(name: str, database: Path, folder: Path, expected: dict[str, int]) -> Run:
    """Let somebody export; see that all rows are there."""
    shutil.rmtree(folder, ignore_errors=True)
    measures = measured(CONTENDERS[name], database, folder)
    found = exported(folder, expected)
    assert found == expected, f"{name}: {found} instead of {expected}"
    shutil.rmtree(folder)
    return measures


def measured(work: Callable[..., None], *arguments: Path) -> Run:
    """Do something in a process of its own."""
    os.sync()
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = get_context("fork").Process(target=work, args=arguments)
    process.start()
    peak = peak_of(process, itself=True)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.exitcode == 0, f"{work.__name__} failed"
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, peak, cpu


def rows_of(database: Path) -> dict[str, int]:
    with closing(sqlite3.connect(str(database))) as connection:
        return {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in table_names(connection)
        }


def exported(folder: Path, tables: dict[str, int]) -> dict[str, int]:
    """Return the rows of each table that files hold."""
    import pyarrow.parquet as pq

    found = dict.fromkeys(tables, 0)
    for path in folder.rglob("*.parquet"):
        found[path.relative_to(folder).parts[0]] += pq.read_metadata(path).num_rows
    for path in folder.glob("*.csv"):
        with path.open("rb") as file:  # no text of this data has a line end
            found[path.stem] += max(0, sum(1 for _ in file) - 1)
    return found


def report(runs: Runs, results: Path, name: str, rows: int, rivals: Mapping[str, str]) -> None:
    """Print medians and ranges, beside those of rivals, and keep them."""
    names = ("contender", "seconds (range)", "x the rival", "CPU s (range)", "x the rival", "MB")
    lines = [names, ["---"] * len(names)]
    medians = {who: [*map(statistics.median, zip(*it, strict=True))] for who, it in runs.items()}
    for who, found in runs.items():
        seconds, _, cpu = (
            f"{middle:.2f} ({min(column):.2f}-{max(column):.2f})"
            for middle, column in zip(medians[who], zip(*found, strict=True), strict=True)
        )
        ratios = ["", "", ""]
        if rival := medians.get(rivals.get(who, "")):
            ratios = [f"{mine / its:.2f}" for mine, its in zip(medians[who], rival, strict=True)]
        lines.append(
            [who, seconds, ratios[0], cpu, ratios[2], f"{max(run[1] for run in found):.0f}"]
        )
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    keep(runs, results, name, f"{name}: {rows:,} rows\n\n{table}\n")


if __name__ == "__main__":
    main()
