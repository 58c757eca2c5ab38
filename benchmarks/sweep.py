"""What a sweep costs beside the simulations, and what it saves.

Run: python benchmarks/sweep.py [--runs 1000] [--simulations 200]. It prints, as JSON: milliseconds
a run that does nothing, beside a bare ProcessPoolExecutor; how much of the merge is hidden behind
the simulations; and rows a second of 8 processes that log into shards, which are then merged,
beside 8 that log into one database.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from farm_merge import ExperimentDatabase, SimulationDatabase, merge_shards
from farm_merge.sweep import Sweep, run_sweep

PROCESSES = 8
STEPS, AGENTS = 400, 50
WORKERS = 2


def idle(*_):
    """Simulate nothing."""


def overhead(folder, runs):
    design = Sweep.model_validate(
        {"experiment_id": "idle", "simulation": "sweep:idle", "grid": {"n": list(range(runs))}},
        context={"folder": Path(__file__).parent},
    )
    started = time.perf_counter()
    report = run_sweep(design, folder / "idle", folder / "idle.db", workers=WORKERS)
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
    report = run_sweep(design, folder / "s", folder / "s.db", workers=WORKERS, progress=note)
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


def log(database):
    for step in range(STEPS):
        for number in range(AGENTS):
            agent = f"agent_{number}"
            database.logger.log_agent_action(step, agent, "move", reward=step * 0.1)
            database.logger.log_health_incident(step, agent, 5.0, 4.0, "hunger")


def into_shards(path, number):
    for run in range(4):
        with SimulationDatabase(path / f"{number}_{run}.db") as database:
            log(database)


def into_one(path, number):
    for run in range(4):
        with ExperimentDatabase(path / "one.db", "one") as experiment:
            context = experiment.create_simulation_context(f"{number}_{run}")
            log(context)
            context.close()


def throughput(folder, write, *, merges):
    folder.mkdir()
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=write, args=(folder, number)) for number in range(PROCESSES)
    ]
    started = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    if merges:
        merge_shards([folder], folder.with_suffix(".db"))
    return 2 * PROCESSES * 4 * STEPS * AGENTS / (time.perf_counter() - started)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--simulations", type=int, default=200)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = {
            "overhead": overhead(folder, chosen.runs),
            "hidden": hidden(folder, chosen.simulations),
            "rows/s, shards and merge": throughput(folder / "many", into_shards, merges=True),
            "rows/s, one database": throughput(folder / "one", into_one, merges=False),
        }
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
