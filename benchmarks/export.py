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

from data import make_shards
from merge import KEPT, SIZES, keep, made, peak_of
from peers import sqlite_scanner

from farm_merge.schema import METADATA_TABLES
from farm_merge.sqlite import column_types, sqlite3, table_names


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
RIVALS = {"parquet": "duckdb_parquet", "csv": "sqlite3_csv"}


def _tables(database: Path) -> dict[str, dict[str, str]]:
    with closing(sqlite3.connect(str(database))) as connection:
        return {table: column_types(connection, table) for table in table_names(connection)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, default="S")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=Path("build/bench"))
    parser.add_argument("--keep", action="store_true", help="results go into the repository")
    parser.add_argument("contenders", nargs="*", default=list(CONTENDERS))
    arguments = parser.parse_args()
    database = made(arguments.data, make_shards(arguments.data, SIZES[arguments.size]))
    expected = rows_of(database)
    folder = arguments.data / "exported"
    runs: dict[str, list[tuple[float, float, float]]] = {}
    for number in range(arguments.rounds):
        for name in arguments.contenders:
            if name == "sqlite3_csv" and not shutil.which("sqlite3"):
                continue
            runs.setdefault(name, []).append(timed(name, database, folder, expected))
            seconds, megabytes, cpu = runs[name][-1]
            print(f"  round {number + 1}: {name:30} {seconds:8.2f} s {cpu:8.2f} s CPU"
                  f" {megabytes:7.0f} MB", flush=True)  # fmt: skip
    folder = KEPT if arguments.keep else arguments.data / "results"
    report(runs, folder, arguments.size, sum(expected.values()))


def timed(
    name: str, database: Path, folder: Path, expected: dict[str, int]
) -> tuple[float, float, float]:
    """Return seconds, peak MB of all processes together, and seconds of CPU of an export."""
    shutil.rmtree(folder, ignore_errors=True)
    os.sync()
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    process = get_context("fork").Process(target=CONTENDERS[name], args=(database, folder))
    process.start()
    peak = peak_of(process, itself=True)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert process.exitcode == 0, f"{name} failed"
    found = exported(folder, expected)
    assert found == expected, f"{name}: {found} instead of {expected}"
    shutil.rmtree(folder)
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


def report(
    runs: dict[str, list[tuple[float, float, float]]], results: Path, size: str, rows: int
) -> None:
    lines = ["| contender | CPU s (range) | x the rival | seconds (range) | peak MB |",
             "|---|---|---|---|---|"]  # fmt: skip
    cpus = {name: statistics.median(cpu for *_, cpu in found) for name, found in runs.items()}
    for name, found in runs.items():
        rival = cpus.get(RIVALS["csv" if "csv" in name else "parquet"])
        seconds, megabytes, cpu = (sorted(column) for column in zip(*found, strict=True))
        lines.append(
            f"| {name} | {cpus[name]:.2f} ({cpu[0]:.2f}-{cpu[-1]:.2f})"
            f" | {f'{cpus[name] / rival:.2f}' if rival else ''}"
            f" | {statistics.median(seconds):.2f} ({seconds[0]:.2f}-{seconds[-1]:.2f})"
            f" | {megabytes[-1]:.0f} |"
        )
    text = f"export {size}: {rows:,} rows\n\n" + "\n".join(lines) + "\n"
    keep(runs, results, f"export {size}", text)


if __name__ == "__main__":
    main()
