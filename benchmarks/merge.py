"""farm-merge beside its peers, on the same files, in turns: `make bench`, or

    python benchmarks/merge.py [--size S|L] [--kind today|legacy] [--rounds N] [WHO ...]

Every contender is a process of its own, timed whole; its peak memory is what the kernel reports,
and of farm-merge, which works in several processes, that of all together, sampled in a run that is
not timed. What it wrote is counted. Medians and ranges go to the screen and to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import time
from contextlib import closing
from pathlib import Path

from data import make_shards
from peers import CONTENDERS, TABLES, missing

from farm_merge.sqlite import sqlite3

SIZES = {"S": 40, "L": 400}
SLOW = {"pandas", "sqlite_utils", "dump", "duckdb"}
"""Run once at L: they take minutes, and their spread decides nothing."""

SAMPLE_SECONDS = 0.005

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, default="S")
    parser.add_argument("--kind", choices=["today", "legacy"], default="today")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=Path("build/bench"))
    parser.add_argument("contenders", nargs="*", default=list(CONTENDERS))
    arguments = parser.parse_args()
    shards = make_shards(arguments.data, SIZES[arguments.size])
    if arguments.kind == "legacy":
        shards = [shard.parent.parent / "legacy" / shard.name for shard in shards]
    shards = select(arguments.data, shards, arguments.size, arguments.kind)
    expected = count(shards)
    size = sum(shard.stat().st_size for shard in shards)
    rows = sum(expected.values())
    print(f"{arguments.kind} {arguments.size}: {len(shards)} files, {rows:,} rows,"
          f" {size / 1e6:,.0f} MB")  # fmt: skip
    runs: dict[str, list[tuple[float, float]]] = {}
    together: dict[str, float] = {}
    for number in range(arguments.rounds):
        for contender in arguments.contenders:
            if reason := missing(contender):
                if number == 0:
                    print(f"left out: {contender}: {reason}")
                continue
            if contender in SLOW and arguments.kind == "legacy":
                continue
            if number and contender in SLOW and arguments.size == "L":
                continue
            output = arguments.data / "out.db"
            if contender.startswith("farm_merge") and contender not in together:
                together[contender] = sampled(contender, shards, output)
            seconds, megabytes = timed(contender, shards, output, expected)
            megabytes = together.get(contender, megabytes)
            runs.setdefault(contender, []).append((seconds, megabytes))
            print(f"  round {number + 1}: {contender:22} {seconds:8.2f} s {megabytes:7.0f} MB",
                  flush=True)  # fmt: skip
    report(runs, arguments.kind, arguments.size, sum(expected.values()), size)


def select(data: Path, shards: list[Path], size: str, kind: str) -> list[Path]:
    """Put links to the shards of a size into a folder of their own, for those that take folders."""
    folder = data / f"{kind}-{size}"
    folder.mkdir(exist_ok=True)
    chosen = []
    for shard in shards:
        chosen.append(folder / shard.name)
        if not chosen[-1].exists():
            os.link(shard, chosen[-1])
    return chosen


def count(shards: list[Path]) -> dict[str, int]:
    totals = dict.fromkeys(TABLES, 0)
    for shard in shards:
        for table, rows in rows_of(shard).items():
            totals[table] += rows
    return totals


def rows_of(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(str(path))) as connection:
        return {
            table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in TABLES
        }


def timed(
    contender: str, shards: list[Path], output: Path, expected: dict[str, int]
) -> tuple[float, float]:
    """Return the seconds and the peak memory in MB of a contender in a process of its own."""
    process = prepared(contender, shards, output)
    started = time.perf_counter()
    process.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    assert status == 0, f"{contender} failed"
    if contender != "cp":
        found = rows_of(output)
        assert found == expected, f"{contender}: {found} instead of {expected}"
    output.unlink()
    return seconds, usage.ru_maxrss / 1024


def sampled(contender: str, shards: list[Path], output: Path) -> float:
    """Return the peak memory in MB of a contender and its children: what they share counts once."""
    process = prepared(contender, shards, output)
    process.start()
    peak = 0
    while process.exitcode is None:
        peak = max(peak, sum(map(proportional_kilobytes, descendants(process.pid))))
        process.join(SAMPLE_SECONDS)
    output.unlink()
    return peak / 1024


def prepared(contender: str, shards: list[Path], output: Path) -> multiprocessing.Process:
    """Take away what the last one left, and return the process that is to run."""
    output.unlink(missing_ok=True)
    for suffix in ("-journal", "-wal", "-shm"):
        output.with_name(output.name + suffix).unlink(missing_ok=True)
    os.sync()
    return multiprocessing.get_context("fork").Process(
        target=CONTENDERS[contender], args=(shards, output)
    )


def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they started."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:  # it is gone
        return []
    children = list(map(int, text.split()))
    return children + [pid for child in children for pid in descendants(child)]


def proportional_kilobytes(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")), 0)


def report(
    runs: dict[str, list[tuple[float, float]]], kind: str, size: str, rows: int, size_bytes: int
) -> None:
    lines = ["| contender | seconds (range) | x cp | farm-merge is faster by | rows/s | peak MB |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    median = {name: statistics.median(s for s, _ in found) for name, found in runs.items()}
    ours = median.get("farm_merge", 0)
    for name, found in runs.items():
        seconds = [s for s, _ in found]
        lines.append(
            f"| {name} | {median[name]:.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
            f" | {median[name] / median['cp']:.2f} | {median[name] / ours:.2f}"
            f" | {rows / median[name]:,.0f} | {max(m for _, m in found):.0f} |"
            if "cp" in median and ours
            else f"| {name} | {median[name]:.2f} | | | | |"
        )
    text = f"{kind} {size}: {rows:,} rows, {size_bytes / 1e6:,.0f} MB\n\n" + "\n".join(lines) + "\n"
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{kind}-{size}.md").write_text(text)
    (RESULTS / f"{kind}-{size}.json").write_text(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
