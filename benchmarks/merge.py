"""farm-merge beside its peers, on the same files, in turns: `make bench`, or

    python benchmarks/merge.py [--kind KIND] [--size S|L] [--rounds N] [WHO ...]

KIND is what is merged, into what: see `KINDS`. Every contender is a process of its own, timed
whole; its peak memory is what the kernel reports, and of farm-merge, which works in several
processes, that of all together, sampled in a run that is not timed. What it wrote is counted, and
what it appended is compared row by row. Medians and ranges go to the screen and to a folder.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import time
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from data import make_shards
from peers import CONTENDERS, EVERYBODY, TABLES, missing

from farm_merge.sqlite import sqlite3

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SIZES = {"S": 40, "L": 400}
SCRIPTS = ("cp", "farm_merge", "farm_merge_unverified", "attach_plain", "attach_tuned")


class Kind(NamedTuple):
    """What is merged.

    Attributes:
        shape: How large a shard is.
        shards: How many come, by size.
        held: How many are in the output, by size; none if it is new.
        contenders: Who takes part if nobody is named.
    """

    shape: str = "usual"
    shards: Mapping[str, int] = MappingProxyType(SIZES)
    held: Mapping[str, int] | None = None
    contenders: Sequence[str] = SCRIPTS


KINDS = {
    "today": Kind(contenders=(*CONTENDERS,)),
    "legacy": Kind(contenders=(*SCRIPTS, "attach_agentfarm")),
    "append": Kind(
        shards={"S": 40, "L": 1},
        held={"S": 100, "L": 400},
        contenders=(*SCRIPTS, "farm_merge_attach"),
    ),
    "small": Kind("small", {"S": 2_000, "L": 10_000}),
    "large": Kind("large", {"S": 1, "L": 1}),
    "little": Kind("little", {"S": 1, "L": 1}),
}
"""Files of today's schema, and of AgentFarm's, into a new output; files into one that is there;
files of two hundred rows, one of half a gigabyte, and one of a quarter of a megabyte."""

SLOW = {"pandas", "sqlite_utils", "dump", "duckdb"}
"""Run once at L: they take minutes, and their spread decides nothing."""

SAMPLE_SECONDS = 0.005

KEPT = Path(__file__).parent / "results"
"""Results that are in the repository: of a full run on an idle machine."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, default="S")
    parser.add_argument("--kind", choices=KINDS, default="today")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=Path("build/bench"))
    parser.add_argument("--keep", action="store_true", help="results go into the repository")
    parser.add_argument("contenders", nargs="*")
    arguments = parser.parse_args()
    kind, size = KINDS[arguments.kind], arguments.size
    held = kind.held[size] if kind.held else 0
    shards = make_shards(arguments.data, held + kind.shards[size], kind.shape)
    base = made(arguments.data, shards[:held]) if held else None
    shards = shards[held:]
    if arguments.kind == "legacy":
        shards = [shard.parent.parent / "legacy" / shard.name for shard in shards]
    shards = select(arguments.data, shards, size, arguments.kind)
    expected = count(shards)
    size_bytes = sum(shard.stat().st_size for shard in shards)
    rows = sum(expected.values())
    print(
        f"{arguments.kind} {size}: {len(shards)} files, {rows:,} rows, {size_bytes / 1e6:,.0f} MB"
    )
    if base:
        before = rows_of(base)
        expected = {table: rows + before[table] for table, rows in expected.items()}
    runs = race(arguments.contenders or kind.contenders, arguments, shards, base, expected)
    folder = KEPT if arguments.keep else arguments.data / "results"
    report(runs, folder, f"{arguments.kind} {size}", rows, size_bytes)


Run = tuple[float, float, float]
"""Seconds, peak MB, and seconds of CPU."""

Runs = dict[str, list[Run]]
"""Of each contender what each round took."""


def race(
    contenders: list[str],
    arguments: argparse.Namespace,
    shards: list[Path],
    base: Path | None,
    expected: dict[str, int],
) -> Runs:
    """Let contenders run in turns."""
    runs: Runs = {}
    together: dict[str, float] = {}
    for number in range(arguments.rounds):
        for contender in contenders:
            if reason := missing(contender):
                if number == 0:
                    print(f"left out: {contender}: {reason}")
                continue
            if number and contender in SLOW and arguments.size == "L":
                continue
            output = arguments.data / "out.db"
            if contender.startswith("farm_merge") and contender not in together:
                together[contender] = sampled(contender, shards, output, base)
            seconds, megabytes, cpu = timed(
                contender, shards, output, expected, base, compare=bool(base) and number == 0
            )
            megabytes = together.get(contender, megabytes)
            runs.setdefault(contender, []).append((seconds, megabytes, cpu))
            print(f"  round {number + 1}: {contender:22} {seconds:8.2f} s {cpu:8.2f} s CPU"
                  f" {megabytes:7.0f} MB", flush=True)  # fmt: skip
    return runs


def made(data: Path, shards: list[Path]) -> Path:
    """Return a database of some shards, which is made once."""
    base = data / f"base-{len(shards)}.db"
    if not base.exists():
        CONTENDERS["farm_merge"](select(data, shards, f"base-{len(shards)}", "today"), base)
    return base


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


def require_rows_of(shards: list[Path], output: Path) -> None:
    """Compare all rows of shards with those of their simulations in an output."""
    with closing(sqlite3.connect(str(output))) as connection:
        for shard in shards:
            connection.execute("ATTACH DATABASE ? AS shard", (str(shard),))
            (name,) = connection.execute("SELECT simulation_id FROM shard.simulations").fetchone()
            for table in TABLES[1:]:
                ask = f"SELECT * FROM {{}}.{table} WHERE simulation_id = ? ORDER BY 1, 2, 3"
                mine, theirs = (
                    connection.execute(ask.format(it), (name,)) for it in ("main", "shard")
                )
                assert all(pair[0] == pair[1] for pair in zip_longest(mine, theirs)), (name, table)
            connection.execute("DETACH DATABASE shard")


def timed(
    contender: str,
    shards: list[Path],
    output: Path,
    expected: dict[str, int],
    base: Path | None,
    *,
    compare: bool,
) -> tuple[float, float, float]:
    """Return seconds, peak MB and seconds of CPU of a contender in a process of its own."""
    process = prepared(contender, shards, output, base)
    started = time.perf_counter()
    process.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    assert status == 0, f"{contender} failed"
    if contender != "cp":
        found = rows_of(output)
        assert found == expected, f"{contender}: {found} instead of {expected}"
        if compare:
            require_rows_of(shards, output)
    output.unlink()
    return seconds, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def sampled(contender: str, shards: list[Path], output: Path, base: Path | None) -> float:
    """Return the peak memory in MB of a contender and its children: what they share counts once."""
    process = prepared(contender, shards, output, base)
    process.start()
    peak = peak_of(process, itself=False)
    output.unlink()
    return peak


def peak_of(process: multiprocessing.Process, *, itself: bool) -> float:
    """Return the peak memory in MB of what a process starts, and of itself, when it has ended."""
    peak, first = 0, [process.pid] if itself else []
    while process.exitcode is None:
        together = [*first, *descendants(process.pid)]
        peak = max(peak, sum(map(proportional_kilobytes, together)))
        process.join(SAMPLE_SECONDS)
    return peak / 1024


def prepared(
    contender: str, shards: list[Path], output: Path, base: Path | None
) -> multiprocessing.Process:
    """Take away what the last one left, and return the process that is to run."""
    output.unlink(missing_ok=True)
    if base:
        shutil.copyfile(base, output)
    for suffix in ("-journal", "-wal", "-shm"):
        output.with_name(output.name + suffix).unlink(missing_ok=True)
    os.sync()
    return multiprocessing.get_context("fork").Process(
        target=EVERYBODY[contender], args=(shards, output)
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


def report(runs: Runs, folder: Path, name: str, rows: int, size_bytes: int) -> None:
    """Print a table, and write it and what it is made of into a folder."""
    lines = ["| contender | seconds (range) | x cp | farm-merge is faster by | rows/s | peak MB"
             " | CPU s (range) |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    median = {name: statistics.median(s for s, *_ in found) for name, found in runs.items()}
    ours = median.get("farm_merge", 0)
    for contender, found in runs.items():
        seconds, cpu = [s for s, *_ in found], sorted(c for *_, c in found)
        lines.append(
            f"| {contender} | {median[contender]:.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
            f" | {median[contender] / median['cp']:.2f} | {median[contender] / ours:.2f}"
            f" | {rows / median[contender]:,.0f} | {max(m for _, m, _ in found):.0f}"
            f" | {statistics.median(cpu):.2f} ({cpu[0]:.2f}-{cpu[-1]:.2f}) |"
            if "cp" in median and ours
            else f"| {contender} | {median[contender]:.2f} | | | | | {statistics.median(cpu):.2f} |"
        )
    text = f"{name}: {rows:,} rows, {size_bytes / 1e6:,.0f} MB\n\n" + "\n".join(lines) + "\n"
    keep(runs, folder, name, text)


def keep(runs: Runs, folder: Path, name: str, text: str) -> None:
    """Print a table, and write it and what it is made of into a folder."""
    print(text)
    folder.mkdir(exist_ok=True)
    stem = name.replace(" ", "-")
    (folder / f"{stem}.md").write_text(text)
    (folder / f"{stem}.json").write_text(json.dumps(runs, indent=1))


if __name__ == "__main__":
    main()
