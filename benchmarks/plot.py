"""The last results as pictures: seconds by rows, and memory by contender.

Run: python benchmarks/plot.py [FOLDER]; those in the repository by default.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

ROWS = {"S": 1_898_880, "L": 18_988_800}


def main(results: Path) -> None:
    figure, (times, memory) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    found: dict[str, list[tuple[int, float, float]]] = {}
    for size, rows in ROWS.items():
        path = results / f"today-{size}.json"
        for name, runs in json.loads(path.read_text()).items() if path.exists() else ():
            seconds = statistics.median(run[0] for run in runs)
            found.setdefault(name, []).append((rows, seconds, max(run[1] for run in runs)))
    for name, points in found.items():
        rows, seconds, megabytes = zip(*points, strict=True)
        style = {"linewidth": 3} if name.startswith("farm_merge") else {}
        times.loglog(rows, seconds, "o-", label=name, **style)
        memory.semilogx(rows, megabytes, "o-", label=name, **style)
    times.set(xlabel="rows", ylabel="seconds", title="Time of the whole process")
    memory.set(xlabel="rows", ylabel="MB", title="Peak memory", ylim=(0, None))
    times.legend(fontsize="small")
    figure.savefig(results / "today.svg")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).parent / "results")
