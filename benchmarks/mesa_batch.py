"""Memory and time of a Mesa batch: `mesa.batch_run` beside `farm_merge.mesa.batch_run`.

Each runs in a process of its own. Shown are the CPU time of all its processes, and the most memory
that the main one had, and the largest of its workers.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

PARAMETERS = {"n": [50], "width": [10], "height": [10]}


def measure(kind: str, runs: int, steps: int, processes: int) -> None:
    """Run one of the two, and print what it took."""
    warnings.simplefilter("ignore")
    from mesa.examples import BoltzmannWealth

    options = {"max_steps": steps, "data_collection_period": 1, "display_progress": False}
    parameters = {**PARAMETERS, "seed": range(runs)}
    if kind == "mesa":
        from mesa import batch_run

        rows = len(batch_run(BoltzmannWealth, parameters, processes, **options))
    else:
        from farm_merge.mesa import batch_run

        with TemporaryDirectory() as folder:
            batch = batch_run(
                BoltzmannWealth, parameters, processes, output=Path(folder) / "exp.db", **options
            )
            rows = sum(1 for _ in batch.rows())
    own, workers = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    took = {
        "rows": rows,
        "cpu": sum(it.ru_utime + it.ru_stime for it in (own, workers)),
        "own_mb": own.ru_maxrss / 1024,
        "worker_mb": workers.ru_maxrss / 1024,
    }
    print(json.dumps(took))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[250, 500, 1000])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", choices=["mesa", "farm-merge"])
    given = parser.parse_args()
    if given.only:
        measure(given.only, given.runs[0], given.steps, given.processes)
        return
    print("| runs | | rows | seconds of CPU | MB | MB of a worker |\n|---|---|---|---|---|---|")
    for runs in given.runs:
        for kind in ("mesa", "farm-merge"):
            words = ["--only", kind, "--runs", runs, "--steps", given.steps]
            words += ["--processes", given.processes]
            command = [sys.executable, __file__, *map(str, words)]
            took = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
            print(
                f"| {runs:,} | {kind} | {took['rows']:,} | {took['cpu']:.0f}"
                f" | {took['own_mb']:,.0f} | {took['worker_mb']:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
