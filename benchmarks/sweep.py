"""What a sweep costs beside the simulations, and what it saves.

Run: python benchmarks/sweep.py [--runs 1000] [--simulations 200] [--processes 8 16]. It prints, as
JSON: milliseconds a run that does nothing, beside a bare ProcessPoolExecutor; how much of the merge
is hidden behind the simulations; and for processes that log into shards, which are then merged,
beside as many that log into one database: rows a second, CPU, and what became of the rows, with a
commit for each full buffer (20,000 rows), and with one a step, as for whoever wants to look while
simulations run.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from farm_merge import ExperimentDatabase, SimulationDatabase, merge_shards
from farm_merge.config import DatabaseConfig
from farm_merge.sqlite import connect, file_uri
from farm_merge.sweep import Sweep, run_sweep

RUNS, STEPS, AGENTS = 4, 100, 50
WORKERS = 2


def idle(*_):
    """Simulate nothing."""


def overhead(folder, runs):
    design = Sweep.model_validate(
        {"experiment_id": "idle", "simulation": "sweep:idle", "grid": {"n": list(range(runs))}},
        context={"folder": Path(__file__).parent},
    )
    started = time.perf_counter()
    report = run_sweep(design, folder / "idle", folder / "idle.db", jobs=WORKERS)
    swept = time.perf_counter() - started
    assert len(report.completed) == runs
    started = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, mp_context=context) as pool:
        list(pool.map(idle, range(runs)))
    bare = time.perf_counter() - started
    return {"runs": runs, "sweep ms/run": 1000 * swept / runs, "bare ms/run": 1000 * bare / runs}


def hidden(folder, simulations):
    design = Sweep.model_validate(
        {
            "experiment_id": "hidden",
            "steps": 100,
            "repetitions": simulations // 4,
            "grid": {"population": [20, 40], "learning_rate": [0.1, 0.5]},
        }
    )
    last = 0.0

    def note(*_):
        nonlocal last
        last = time.perf_counter()

    started = time.perf_counter()
    report = run_sweep(design, folder / "s", folder / "s.db", jobs=WORKERS, progress=note)
    ended = time.perf_counter()
    afterwards = merge_shards([folder / "s"], folder / "afterwards.db")
    return {
        "simulations": len(report.completed),
        "rows": report.merge.rows,
        "sweep s": ended - started,
        "merge s, while runs went on": report.hidden_seconds,
        "s after the last run": ended - last,
        "merge s, of the same shards afterwards": afterwards.seconds,
    }


def log(database, each_step):
    for step in range(STEPS):
        for number in range(AGENTS):
            agent = f"agent_{number}"
            database.logger.log_agent_action(step, agent, "move", reward=step * 0.1)
            database.logger.log_health_incident(step, agent, 5.0, 4.0, "hunger")
        if each_step:
            database.flush_all_buffers()


def into_shards(folder, number, settings, each_step):
    for run in range(RUNS):
        with SimulationDatabase(folder / f"{number}_{run}.db", settings=settings) as database:
            log(database, each_step)


def into_one(folder, number, settings, each_step):
    with ExperimentDatabase(folder / "one.db", "one", settings=settings) as experiment:
        for run in range(RUNS):
            context = experiment.create_simulation_context(f"{number}_{run}")
            log(context, each_step)
            context.close()


AS_IS = DatabaseConfig()
AS_SQLITE_IS = DatabaseConfig(journal_mode="DELETE", synchronous="FULL", busy_timeout_ms=5000)
"""What a program gets that opens a database with Python's `sqlite3` and sets nothing."""

WAYS = {
    "shards and merge, a commit a buffer": (into_shards, AS_IS, False),
    "one database, a commit a buffer": (into_one, AS_IS, False),
    "shards and merge, a commit a step": (into_shards, AS_IS, True),
    "one database, a commit a step": (into_one, AS_IS, True),
    "shards and merge, a commit a step, SQLite's defaults": (into_shards, AS_SQLITE_IS, True),
    "one database, a commit a step, SQLite's defaults": (into_one, AS_SQLITE_IS, True),
}


def throughput(folder, way, processes):
    write, settings, each_step = WAYS[way]
    folder.mkdir()
    context = multiprocessing.get_context("spawn")
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    merging = 0.0
    writers = [
        context.Process(target=write, args=(folder, number, settings, each_step))
        for number in range(processes)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    output = folder / "one.db"
    if write is into_shards:
        merging = time.process_time()
        merge_shards([folder], output)
        merging = time.process_time() - merging
    seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    rows = sum(
        connect(file_uri(output)).execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("agent_actions", "health_incidents")
    )
    return {
        "rows/s": round(rows / seconds),
        "seconds": round(seconds, 2),
        "CPU seconds": round(
            merging + after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2
        ),
        "processes that failed": sum(writer.exitcode != 0 for writer in writers),
        "rows lost": 2 * processes * RUNS * STEPS * AGENTS - rows,
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--simulations", type=int, default=200)
    parser.add_argument("--processes", type=int, nargs="*", default=[8, 16])
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = {
            **({"overhead": overhead(folder, chosen.runs)} if chosen.runs else {}),
            **({"hidden": hidden(folder, chosen.simulations)} if chosen.simulations else {}),
        }
        for processes in chosen.processes:
            results[f"{processes} processes"] = {
                way: throughput(folder / f"{processes} {way}", way, processes) for way in WAYS
            }
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
