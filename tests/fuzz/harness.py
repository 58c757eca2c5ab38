"""Mutates real files, merges each between two good ones, and lets SQLite judge.

    python -m tests.fuzz.harness [--count 20000] [--first 0] [--jobs 2] [--keep FOLDER]

The good ones are always merged and whole. The mutant is either left out with a reason, or what is
published has `integrity_check` ok and exactly the rows that SQLite's own scan of the mutant gives, by
simulation; of a legacy file, page by page and row by row gives the same. A number names a mutant:
its base, its mutations and its way are made of it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

from farm_merge.errors import FarmMergeError
from farm_merge.merge import merge_shards
from farm_merge.merge.write import load, write
from farm_merge.schema import DATA_TABLES
from farm_merge.sqlite import file_uri, sqlite3
from tests import trust
from tests.conftest import query, vacuumed, write_shard
from tests.fuzz.mutations import mutate
from tests.merge.eras import write_era
from tests.merge.pages.raw import Raw

ROOT = Path(__file__).parents[2]
PAGE_SIZES = (512, 1024, 4096, 65536)
ERAS = (1, 3, 5, 8)
WAYS = {"graft": "graft", "large": "graft", "pack": "auto", "attach": "attach", "append": "graft"}
"""By pages; so, as files too large for the memory; as small files, several at once; by rows; and by
pages into an output with one of the good ones: each with the engine that takes it."""
_IN_A_PROCESS = 50

Rows = dict[str, Any]


def make_bases(folder: Path) -> list[Path]:
    """Write the files that are mutated, and two that are not."""
    bases = []
    for size in PAGE_SIZES:
        path = write_shard(folder / f"shard-{size}.db", "m", steps=60 if size < 4096 else 300)
        query(
            path,
            "UPDATE agents SET action_weights = hex(zeroblob(3000)) WHERE agent_id > 'agent_0'",
        )
        query(path, "DELETE FROM agent_actions WHERE action_id % 5 = 0")
        bases.append(vacuumed(path, f"PRAGMA page_size = {size}"))
        query(path, "DELETE FROM resource_states WHERE id > 20")  # leaves free pages
    bases += [write_era(folder / f"era-{era}.db", era) for era in ERAS]
    for name in ("a", "z"):
        write_shard(folder / "good" / f"{name}.db", name, steps=20)
    return bases


def run(number: int, bases: list[Path], folder: Path) -> tuple[str, list[str]]:
    """Merge a mutant; return what became of it, and what is wrong."""
    randomly = random.Random(number)
    base = bases[number % len(bases)]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    raw = Raw(base)
    mutate(raw, randomly)
    mutant = raw.save(folder / "mutant.db")
    good = [base.parent / "good" / f"{name}.db" for name in ("a", "z")]
    is_legacy = base.name.startswith("era")
    ways = list(WAYS) if is_legacy else [randomly.choice(list(WAYS))]
    found, results = "", []
    wrong: list[str] = []
    for way in ways:
        output = folder / f"{way}.db"
        inputs, options = [*good, mutant], {"engine": WAYS[way], "jobs": 1, "experiment_id": "e"}
        whole = 0 if way == "large" else load._WHOLE_BYTES
        try:
            if way == "append":
                merge_shards([inputs.pop(0)], output, **options)
            with (
                patch.object(load, "_WHOLE_BYTES", whole),
                patch.object(write, "_LITTLE_BYTES", 0),
            ):
                report = merge_shards(
                    inputs, output, on_bad_shard="skip", on_conflict="skip", include_running=True,
                    **options,
                )  # fmt: skip
        except FarmMergeError as exc:
            return "stopped", [f"{way}: the whole merge stops: {exc}"]
        except BaseException:  # noqa: BLE001  (it is what is looked for)
            return "raised", [f"{way}: {traceback.format_exc()[-600:]}"]
        left = [out.reason for out in report.left_out if out.path == mutant]
        found = "left out" if left else "merged"
        wrong += [f"{way}: {problem}" for problem in judge(output, mutant, good, is_legacy, left)]
        results.append(content_of(output))
    if any(result != results[0] for result in results):
        wrong.append("page by page and row by row differ")
    if raw.data != bytearray(mutant.read_bytes()):
        wrong.append("the mutant was changed")
    return found, wrong


def judge(output: Path, mutant: Path, good: list[Path], is_legacy: bool, left: list[str]) -> Any:
    """Yield what is wrong with an output."""
    verdict = query(output, "PRAGMA integrity_check(2)")
    if verdict != [("ok",)]:
        yield f"integrity_check: {verdict}"
        return
    rows = content_of(output)
    for path in good:
        if rows.get(path.stem) != content_of(path)[path.stem]:
            yield f"{path.name} is not as it was"
    others = rows.keys() - {path.stem for path in good}
    if left and not all(left):
        yield "left out without a reason"
    if not left and not others:
        yield "neither merged nor left out"
    if is_legacy or not others:
        return
    try:
        scanned = content_of(mutant, others)
    except sqlite3.Error as exc:
        yield f"merged, though a scan of it says {exc}"
        return
    for simulation_id in others:
        if rows[simulation_id] != scanned.get(simulation_id, {}):
            yield f"simulation {simulation_id!r} has other rows than a scan of its file gives"


def content_of(path: Path, wanted: Any = None) -> dict[str, Rows]:
    """Return the rows of data tables by simulation and table, as a scan finds them.

    Args:
        path: A database.
        wanted: The simulations; None for all.
    """
    found: dict[str, Rows] = {}
    uri = file_uri(path, mode="ro", immutable=1)
    with closing(sqlite3.connect(uri, uri=True)) as connection:
        connection.text_factory = lambda text: ("text", bytes(text))
        tables = [name.decode() for ((_, name),) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0"
        )]  # fmt: skip
        for table in tables:
            columns = sorted(
                name.decode() for _, (_, name), *_, hidden in connection.execute(
                    f'PRAGMA table_xinfo("{table}")'
                ) if not hidden
            )  # fmt: skip
            is_ours = table.lower() in DATA_TABLES  # tables that are not may get other names
            if "simulation_id" not in columns or not (is_ours or wanted is None) or table in (
                "simulations", "merged_shards"
            ):  # fmt: skip
                continue
            names = ", ".join(f'"{name}"' for name in columns)
            place = columns.index("simulation_id")
            for row in connection.execute(f'SELECT {names} FROM "{table}" NOT INDEXED'):
                named = row[place]
                simulation_id = (
                    named[1].decode(errors="replace") if isinstance(named, tuple) else named
                )
                if wanted is None or simulation_id in wanted:
                    cells = tuple(zip(columns, row, strict=True))
                    present = tuple(cell for cell in cells if cell[1] is not None)
                    tables_of = found.setdefault(simulation_id, {})
                    name = table.lower().removesuffix("_foreign")  # with another key than today's
                    tables_of.setdefault(name, Counter())[present] += 1
    return found


def run_some(numbers: range, folder: Path) -> None:
    """Run mutants, some in one process, which may crash; print what was found."""
    bases = make_bases(folder / "bases")
    for first in range(0, len(numbers), _IN_A_PROCESS):
        some = list(numbers[first : first + _IN_A_PROCESS])
        while some:
            some = _in_a_process(some, bases, folder / "run")


def _in_a_process(numbers: list[int], bases: list[Path], folder: Path) -> list[int]:
    """Run mutants in a forked process; return those that were not, since it crashed."""
    ours, theirs = os.pipe()
    process = os.fork()
    if not process:
        os.close(ours)
        for number in numbers:
            found, wrong = run(number, bases, folder)
            os.write(theirs, f"{json.dumps([number, found, wrong])}\n".encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        lines = pipe.read().splitlines()
    _, status = os.waitpid(process, 0)
    for line in lines:
        sys.stdout.write(f"{line}\n")
    rest = numbers[len(lines) :]
    if rest:
        crash = [rest[0], "crashed", [f"the process ends with {os.waitstatus_to_exitcode(status)}"]]
        sys.stdout.write(f"{json.dumps(crash)}\n")
    sys.stdout.flush()
    return rest[1:]


def run_all(first: int, count: int, jobs: int) -> list[tuple[int, str, list[str]]]:
    """Run mutants in several processes; return what became of each, and what is wrong."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        parts = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.harness", "--part",
                 str(Path(name, str(part))), str(first + part), str(first + count), str(jobs)],
                cwd=ROOT, stdout=subprocess.PIPE, text=True,
            )
            for part in range(jobs)
        ]  # fmt: skip
        with ThreadPoolExecutor(jobs) as readers:  # who is not read from waits
            texts = list(readers.map(lambda part: part.communicate()[0], parts))
    found = [tuple(json.loads(line)) for text in texts for line in text.splitlines()]
    if len(found) != count:
        raise RuntimeError(f"{len(found)} of {count} mutants were run")
    return found  # type: ignore[return-value]


def _main() -> None:
    if sys.argv[1:2] == ["--part"]:
        folder, first, end, step = sys.argv[2:]
        run_some(range(int(first), int(end), int(step)), Path(folder))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help="where mutants go that something is wrong with")
    parser.add_argument("--keep-figures", action="store_true", help="in docs/trust/")
    options = parser.parse_args()
    found = run_all(options.first, options.count, options.jobs)
    bad = [(number, wrong) for number, _, wrong in found if wrong]
    for number, wrong in bad:
        sys.stdout.write(f"mutant {number}: {'; '.join(wrong)}\n")
        if options.keep:
            keep(number, options.keep)
    outcomes = Counter(outcome for _, outcome, _ in found)
    words = ", ".join(f"{number:,} {outcome}" for outcome, number in sorted(outcomes.items()))
    sys.stdout.write(f"{len(found):,} mutants: {words}; {len(bad):,} violations\n")
    if options.keep_figures:
        trust.keep(
            "fuzz", options.count, left_out=outcomes["left out"], merged=outcomes["merged"],
            violations=len(bad),
        )  # fmt: skip
    sys.exit(bool(bad))


def keep(number: int, folder: Path) -> None:
    """Write a mutant to a folder."""
    with tempfile.TemporaryDirectory() as name:
        bases = make_bases(Path(name))
        raw = Raw(bases[number % len(bases)])
        words = mutate(raw, random.Random(number))
        folder.mkdir(parents=True, exist_ok=True)
        raw.save(folder / f"{number}-{'-'.join(words)}.db")


if __name__ == "__main__":
    _main()
