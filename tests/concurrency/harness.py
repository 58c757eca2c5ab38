"""Everything at once into one experiment database, again and again, and a count of the rows.

    python -m tests.concurrency.harness [--rounds 20]

Each round, 8 loggers, 8 persists, 3 merges of the same shards and a sweep begin at the same moment
and make one database, or extend it, while two readers look. A reader never sees a part of a
simulation, and in the end every row is there that each alone would have written.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge import ExperimentDatabase, InMemorySimulationDatabase
from farm_merge.merge import audit, merge_shards
from farm_merge.read.open import reading
from farm_merge.schema import DATA_TABLES
from farm_merge.sqlite import connect, file_uri
from farm_merge.sweep import Sweep, run_sweep
from tests import trust
from tests.conftest import content, query, write_shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOGGERS, PERSISTS, MERGES, READERS = 8, 8, 3, 2
_STEPS, _AGENTS, _SHARDS = 12, 5, 6

Counts = dict[str, Counter[str]]


def log(folder: Path, number: int) -> None:
    with ExperimentDatabase(folder / "exp.db", "together") as experiment:
        for name in (f"logged-{number}-1", f"logged-{number}-2"):
            run = experiment.create_simulation_context(name, {"number": number})
            _write(run)
            experiment.update_simulation_status(name, "completed")


def persist(folder: Path, number: int) -> None:
    for name in (f"persisted-{number}-1", f"persisted-{number}-2"):
        with InMemorySimulationDatabase(simulation_id=name) as memory:
            _write(memory)
            memory.persist_to_disk(folder / "exp.db", show_progress=False)


def merge(folder: Path, _: int) -> None:
    for _again in range(2):
        merge_shards([folder / "in"], folder / "exp.db", experiment_id="together")


def sweep(folder: Path, _: int) -> None:
    design = Sweep(experiment_id="together", steps=2, repetitions=4, config={"population": 6})
    with ThreadPoolExecutor(1) as pool:
        report = run_sweep(design, folder / "swept", folder / "exp.db", executor=pool)
    assert not report.failed


WRITERS: tuple[tuple[Callable[[Path, int], None], int], ...] = (
    (log, LOGGERS), (persist, PERSISTS), (merge, MERGES), (sweep, 1),
)  # fmt: skip


def _write(run: Any) -> None:
    for agent in range(_AGENTS):
        run.logger.log_agent(f"a{agent}", 0, "x", (0.0, 0.0), 1.0, 1.0)
    for step in range(_STEPS):
        states = [(f"a{agent}", 1.0, 2.0, 3.0, 4.0, 5.0, 0, False, 0.1, step)
                  for agent in range(_AGENTS)]  # fmt: skip
        run.logger.log_step(step, states, [("r", 1.0, 2.0, 3.0)], {"total_agents": _AGENTS})
        if step % 3 == 2:
            run.flush_all_buffers()


def read(folder: Path, wanted: Counts, stop: int) -> int:
    """Look until a pipe is closed; return how often a database was there.

    Raises:
        AssertionError: If a part of a simulation is seen that was to come whole, or has ended.
    """
    os.set_blocking(stop, False)
    looks = 0
    while not _is_closed(stop):
        if not (folder / "exp.db").exists():
            continue
        with reading(folder / "exp.db") as connection:
            connection.execute("BEGIN")
            statuses = dict(connection.execute("SELECT simulation_id, status FROM simulations"))
            found = counts(connection)
        looks += 1
        for name in {*statuses, *found}:
            if not (name.startswith("logged") and statuses[name] == "running"):
                assert found[name] == wanted[name], (name, statuses.get(name), found[name])
    return looks


def counts(connection: Any) -> Counts:
    """Return the rows of every simulation by table."""
    found: Counts = {}
    for table in DATA_TABLES:
        rows = connection.execute(f"SELECT simulation_id, count(*) FROM {table} GROUP BY 1")
        for name, number in rows:
            found.setdefault(name, Counter())[table] = number
    return found


def _is_closed(pipe: int) -> bool:
    try:
        return os.read(pipe, 1) == b""
    except BlockingIOError:
        return False


class Round:
    """One folder, and what each would write there alone."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._alone = folder, folder / "alone"
        for place in (folder, self._alone):
            for number in range(_SHARDS):
                write_shard(place / "in" / f"s{number}.db", f"s{number}", steps=9)
        _require_ended([fork(self._do_alone)])
        self._rows = _rows(self._alone / "exp.db")
        with closing(connect(file_uri(self._alone / "exp.db", mode="ro"))) as connection:
            self._wanted = counts(connection)

    def run(self) -> Iterator[str]:
        """Let all begin at once; yield what is wrong."""
        gate, opens = os.pipe()
        stop, stops = os.pipe()
        for inherited in (opens, stops):
            os.set_inheritable(inherited, False)
        writers = [
            fork(lambda act=act, number=number: self._begin(act, number, gate, (opens, stops)))
            for act, many in WRITERS
            for number in range(many)
        ]
        readers = [fork(lambda: self._read(stop, (opens, stops))) for _ in range(READERS)]
        os.close(opens)
        yield from _ended(writers)
        os.close(stops)
        yield from _ended(readers)
        os.close(gate)
        os.close(stop)
        yield from self._differences()

    def _do_alone(self) -> None:
        for act, many in WRITERS:
            for number in range(many):
                act(self._alone, number)

    def _begin(
        self, act: Callable[[Path, int], None], number: int, gate: int, others: tuple[int, ...]
    ) -> None:
        for descriptor in others:
            os.close(descriptor)
        os.read(gate, 1)
        act(self._folder, number)

    def _read(self, stop: int, others: tuple[int, ...]) -> None:
        for descriptor in others:
            os.close(descriptor)
        assert read(self._folder, self._wanted, stop), "never saw it"

    def _differences(self) -> Iterator[str]:
        output = self._folder / "exp.db"
        verdict = query(output, "PRAGMA integrity_check")
        if verdict != [("ok",)]:
            yield f"integrity_check: {verdict}"
        with closing(connect(file_uri(output, mode="ro"))) as connection:
            found = counts(connection)
        for name in sorted({*found, *self._wanted}):
            if found.get(name) != self._wanted.get(name):
                yield f"{name}: {found.get(name)} rows instead of {self._wanted.get(name)}"
        rows = _rows(output)
        yield from (f"{table} differs" for table in rows if rows[table] != self._rows[table])
        yield from audit(output, [self._folder / "in", self._folder / "swept"]).problems
        names = {path.name for path in self._folder.iterdir()} - {"alone", "in", "swept", "exp.db"}
        yield from (f"{name} is left" for name in sorted(names))


def _rows(path: Path) -> dict[str, Any]:
    return {table: rows for table, rows in content(path).items() if table != "simulation_config"}


def fork(act: Callable[[], None]) -> int:
    """Run a function in a process of its own."""
    process = os.fork()
    if process:
        return process
    try:
        act()
    except BaseException:  # noqa: BLE001  (it is what is looked for)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _ended(processes: list[int]) -> Iterator[str]:
    for process in processes:
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if code:
            yield f"a process ended with {code}"


def _require_ended(processes: list[int]) -> None:
    assert not [*_ended(processes)]


def run_all(rounds: int) -> dict[str, Any]:
    """Run rounds; return how many rows were written, and what was wrong."""
    problems: list[str] = []
    rows = 0
    for number in range(rounds):
        with tempfile.TemporaryDirectory(prefix="concurrency-") as name:
            one = Round(Path(name))
            found = [*one.run()]
            rows += sum(query(Path(name) / "exp.db", f"SELECT count(*) FROM {table}")[0][0]
                        for table in DATA_TABLES)  # fmt: skip
        problems += [f"round {number + 1}: {problem}" for problem in found]
        sys.stderr.write(f"round {number + 1}: {len(found)} violations\n")
    return {"rounds": rounds, "rows": rows, "violations": problems}


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--keep-figures", action="store_true", help="in docs/trust/")
    options = parser.parse_args()
    found = run_all(options.rounds)
    sys.stdout.write(f"{json.dumps(found)}\n")
    if options.keep_figures:
        violations = len(found["violations"])
        trust.keep("concurrency", options.rounds, rows=found["rows"], violations=violations)
    sys.exit(bool(found["violations"]))


if __name__ == "__main__":
    _main()
