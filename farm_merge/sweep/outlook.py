"""Outlook: what a sweep would do, and how long that takes, judged by the runs that are there."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from farm_merge.notebook import html_table
from farm_merge.publish import reading_output
from farm_merge.sqlite import connect, file_uri
from farm_merge.sweep.code import code_of
from farm_merge.sweep.places import Places
from farm_merge.sweep.resume import find_runs
from farm_merge.sweep.shelf import Shelf, simulations_in
from farm_merge.sweep.store import changes_of_design

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    from farm_merge.sqlite import sqlite3
    from farm_merge.sweep.design import Sweep
    from farm_merge.sweep.runs import Run, Runs

__all__ = ["Outlook", "plan_sweep"]

_MOST_JUDGED = 100


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a sweep would do.

    Attributes:
        runs: All runs.
        due: Those that would be simulated.
        judged: By how many runs that are there time and size are judged.
        seconds: How long the simulations would take; None if no run is there.
        bytes: How large all shards would be; None if no shard is there.
        notes: What a reader should know.
    """

    runs: Runs
    due: Runs
    judged: int
    seconds: float | None
    bytes: int | None
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<Outlook: {self.summary}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the first runs that would be simulated."""
        rows = ((run.simulation_id, run.seed, run.parameters) for run in self.due)
        return html_table(self.summary, ["run", "seed", "parameters"], rows, len(self.due))

    @property
    def summary(self) -> str:
        """What would be done, in a line."""
        time = "" if self.seconds is None else f", in about {self.seconds:,.0f} s"
        size = "" if self.bytes is None else f"; all shards about {self.bytes:,} bytes"
        judged = f", judged by {self.judged:,} runs" if self.judged else ""
        return (
            f"{len(self.due):,} of {len(self.runs):,} runs would be simulated{time}{size}{judged}"
        )


def plan_sweep(
    sweep: Sweep,
    shards: str | PathLike[str],
    output: str | PathLike[str],
    *,
    jobs: int | None = None,
) -> Outlook:
    """Return what a sweep would do; nothing is run, and nothing is written.

    Args:
        sweep: The design.
        shards: The folder for the shards.
        output: The experiment database.
        jobs: How many runs go on at once; one a core by default.

    Raises:
        ConflictError: If a shard or simulation is there that is not of this sweep.
        OutputError: If the output is no experiment database.
    """
    folder, output, runs = Path(shards).resolve(), Path(output), sweep.runs()
    places = Places(folder, Shelf(folder))
    found = find_runs(runs, places, output, sweep.experiment_id, code_of(sweep.simulator()))
    present, due = runs.at(found.present), runs.at(found.due)
    times, sizes = _measured(present[:_MOST_JUDGED], places, output)
    seconds = fmean(times) * len(due) / (jobs or os.cpu_count() or 1) if times else None
    return Outlook(
        runs,
        due,
        len(times),
        seconds,
        round(fmean(sizes) * len(runs)) if sizes else None,
        (*changes_of_design(output, sweep), *found.notes),
    )


def _measured(
    present: Sequence[Run], places: Places, output: Path
) -> tuple[list[float], list[float]]:
    """Return how long runs took, and how large their shards are."""
    times: list[float] = []
    sizes = []
    for run in present:
        shard = places.path(run)
        if shard.exists():
            sizes.append(shard.stat().st_size / len(simulations_in(shard)))
            with closing(connect(file_uri(shard, mode="ro"), read_only=True)) as connection:
                times += _seconds(connection, run)
        elif output.exists():
            with reading_output(output) as connection:
                times += _seconds(connection, run)
    return times, sizes


def _seconds(connection: sqlite3.Connection, run: Run) -> list[float]:
    rows = connection.execute(
        "SELECT results_summary ->> '$.run.seconds' FROM simulations WHERE simulation_id = ?",
        (run.simulation_id,),
    )
    return [float(seconds) for (seconds,) in rows if seconds is not None]
