"""What a worker does: it simulates a run into its shard, wherever it runs."""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import sys
import time
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from farm_merge.errors import FarmMergeError
from farm_merge.publish import publish_new
from farm_merge.sqlite import (
    COMPANION_SUFFIXES,
    connect,
    file_uri,
    make_disposable,
    storable,
)
from farm_merge.sweep.adopt import files_of
from farm_merge.sweep.failures import Failure
from farm_merge.sweep.shelf import put_on_shelf

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from farm_merge.sweep.runs import Run
    from farm_merge.sweep.simulators import Simulator

__all__ = [
    "Ended",
    "Jobs",
    "ended_by",
    "remove_leftovers",
    "shard_path",
    "simulate_run",
    "this_worker",
]


@dataclass(frozen=True, slots=True)
class Jobs:
    """What every run of a sweep needs to know, on whatever machine it runs.

    Attributes:
        folder: Where the shards belong.
        experiment_id: What they belong to.
        simulator: What simulates them.
        code: What is stored of the code that does: `git_commit`, and more by name.
        keep_partial: Whether the rows of runs that fail are kept.
        timeout: Seconds that a run may take.
        by_worker: Whether each worker has one shard for all its runs, instead of one a run.
        in_memory: Whether runs log into memory, as far as the model allows it.
        memory_limit_mb: How large such a database may grow before it goes on in a file.
    """

    folder: Path
    experiment_id: str
    simulator: Simulator
    code: Mapping[str, str | None]
    keep_partial: bool = False
    timeout: float | None = None
    by_worker: bool = False
    in_memory: bool = False
    memory_limit_mb: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that has ended.

    Attributes:
        run: The run.
        failure: Why it did not complete; None if it did.
    """

    run: Run
    failure: Failure | None = None


def shard_path(folder: Path, run: Run) -> Path:
    """Return where the shard of a run belongs."""
    return folder / f"{run.simulation_id}.db"


def temporary_path(folder: Path, run: Run) -> Path:
    """Return where the shard of a run is while the run goes on."""
    return folder / f".{run.simulation_id}.running"


def remove_leftovers(folder: Path, run: Run) -> None:
    """Remove what a run left that was killed."""
    temporary = temporary_path(folder, run)
    files = files_of(temporary)
    shutil.rmtree(files, ignore_errors=True)
    for name in (
        *(temporary.name + suffix for suffix in ("", *COMPANION_SUFFIXES)),
        f"{files.name}.output",
        f".{temporary.name}.merge-lock",
    ):
        (folder / name).unlink(missing_ok=True)


def this_worker() -> str:
    """Return which process on which host this is."""
    return f"process {os.getpid()} on {platform.node()}"


def simulate_run(jobs: Jobs, run: Run) -> Ended:
    """Simulate a run into its shard, which appears when it is complete.

    Whatever a model raises becomes a failure that can be sent to another process.

    Args:
        jobs: What all runs have in common.
        run: What to simulate.
    """
    stage, started = "start", time.perf_counter()
    if shard_path(jobs.folder, run).exists():  # Dask runs again what a worker had done that died
        return Ended(run)
    try:
        remove_leftovers(jobs.folder, run)  # of an attempt before
        jobs.simulator.prepare()
        stage = "simulate"
        temporary = temporary_path(jobs.folder, run)
        jobs.simulator.simulate(run, temporary, jobs)
        stage = "store"
        _complete(jobs, run, time.perf_counter() - started)
        _hand_over(jobs, run)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:  # noqa: BLE001  (SystemExit too: it is the model's)
        seconds = time.perf_counter() - started
        failed = Failure.of(run, exc, stage=stage, worker=this_worker(), seconds=seconds)
        return ended_by(jobs, failed)
    return Ended(run)


def ended_by(jobs: Jobs, failure: Failure) -> Ended:
    """Return the end of a run that failed, of which nothing is left but what is to be kept."""
    partial = temporary_path(jobs.folder, failure.run)
    if jobs.keep_partial and partial.exists():
        return Ended(failure.run, replace(failure, partial=partial))
    remove_leftovers(jobs.folder, failure.run)
    return Ended(failure.run, failure)


def _complete(jobs: Jobs, run: Run, seconds: float) -> None:
    """Write into a shard what is known of how it was made."""
    temporary, shard = temporary_path(jobs.folder, run), shard_path(jobs.folder, run)
    facts = {
        "seconds": round(seconds, 3),
        "worker": this_worker(),
        "peak_memory_bytes": _peak_memory(),
    }
    commit, code = jobs.code.get("git_commit"), dict(jobs.code)
    code.pop("git_commit", None)
    with closing(connect(file_uri(temporary))) as connection:
        make_disposable(connection)
        ((status,),) = connection.execute("SELECT status FROM simulations").fetchall()
        if status != "completed":
            raise FarmMergeError(f"the simulation ended as {status!r}")
        connection.execute(
            "UPDATE simulations SET simulation_db_path = ?, git_commit = ?,"
            " package_versions = json_patch(coalesce(package_versions, '{}'), ?),"
            " results_summary = json_patch(coalesce(results_summary, '{}'), ?)",
            (storable(shard), commit, json.dumps(code), json.dumps({"run": facts})),
        )
        connection.execute("PRAGMA journal_mode=DELETE")  # to read it shall leave nothing beside it


def _hand_over(jobs: Jobs, run: Run) -> None:
    """Let a complete shard appear under its name, or put it into that of this worker."""
    temporary, shard = temporary_path(jobs.folder, run), shard_path(jobs.folder, run)
    if jobs.by_worker:
        put_on_shelf(temporary, jobs.folder)
        remove_leftovers(jobs.folder, run)
    elif shard.exists():  # another attempt of an executor was faster
        temporary.unlink(missing_ok=True)
    else:  # by a rename, which leaves nothing: the lock of the sweep is that of all its shards
        publish_new(temporary, shard, links=False)


def _peak_memory() -> int:
    """Return the most bytes that this process, or a program it ran, has had in memory so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    usage = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(used.ru_maxrss for used in usage) * unit
