"""Sweeps: a grid of parameters times repetitions becomes shards, and these one experiment.

Every run writes a shard of its own, under a temporary name until it is complete. What a run
computes depends on its parameters and its seed alone, and the seed on the root seed and the
parameters alone: neither the number of workers nor their order matters, and a grid that grows
keeps the runs it has.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections import defaultdict
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from farm_merge.config import SimulationConfig
from farm_merge.database import SimulationDatabase
from farm_merge.errors import ConflictError, FarmMergeError
from farm_merge.merge import merge_shards
from farm_merge.publish import locked
from farm_merge.simulation import run_simulation
from farm_merge.sqlite import file_uri, sqlite3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Executor, Future
    from os import PathLike

    from farm_merge.merge import MergeReport, OnConflict, Progress

__all__ = ["Failure", "Run", "Sweep", "SweepReport", "load_sweep", "run_sweep", "summarize"]

Value = bool | int | float | str
Values = Annotated[list[Value], Field(min_length=1)]

_LONGEST_ID = 64
_SEED_BITS = 53  # what a float, and so any reader of JSON, holds exactly
_RESERVED = {
    "path": "no parameter; all of them stand in the sweep file",
    "seed": "every run gets its own; set the root `seed` of the sweep",
}


@dataclass(frozen=True, slots=True)
class Run:
    """One simulation of a sweep.

    Attributes:
        simulation_id: Made of the parameters of the grid and the repetition.
        parameters: Those of the grid and those that all runs have in common.
        steps: How many steps to simulate.
        repetition: Counted from 1.
        seed: Of the run's random numbers.
    """

    simulation_id: str
    parameters: dict[str, Value]
    steps: int
    repetition: int
    seed: int

    @property
    def record(self) -> dict[str, Value]:
        """What is stored with the simulation, to be queried and to know it again."""
        return {**self.parameters, "steps": self.steps, "repetition": self.repetition}

    def config(self) -> SimulationConfig:
        """Return the configuration that the run simulates."""
        values: dict[str, Any] = {**self.parameters, "seed": self.seed}
        return SimulationConfig.from_centralized_config(**values)


class Sweep(BaseModel):
    """A design of parameters: what a sweep file says.

    Attributes:
        name: Of the experiment, for people.
        description: Of the experiment, for people.
        experiment_id: Of the experiment, for queries.
        steps: Steps of every run.
        repetitions: Runs of every parameter set.
        seed: The root seed.
        grid: Values by parameter; every combination is a parameter set.
        config: Parameters that all runs have in common.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    experiment_id: Annotated[str, Field(min_length=1, max_length=_LONGEST_ID)]
    name: str | None = None
    description: str | None = None
    steps: Annotated[int, Field(ge=1)]
    repetitions: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0)] = 0
    grid: dict[str, Values] = Field(default_factory=dict)
    config: dict[str, Value] = Field(default_factory=dict)

    @field_validator("grid")
    @classmethod
    def _values_differ(cls, grid: dict[str, list[Value]]) -> dict[str, list[Value]]:
        for name, values in grid.items():
            if len(set(values)) < len(values):
                raise ValueError(f"{name} has a value twice; use `repetitions` to run it again")
        return grid

    @model_validator(mode="after")
    def _runs_are_possible(self) -> Sweep:
        for name in self.grid.keys() & self.config.keys():
            raise ValueError(f"{name} stands in [grid] and in [config]; leave one")
        for name in (self.grid.keys() | self.config.keys()) & _RESERVED.keys():
            raise ValueError(f"{name}: {_RESERVED[name]}")
        runs = self.runs()
        if len({run.simulation_id for run in runs}) < len(runs):
            raise ValueError("two parameter sets get the same simulation_id; round less")
        for run in runs:
            if run.repetition == 1:
                _require_config(run)
        return self

    def runs(self) -> tuple[Run, ...]:
        """Return every run, in the order of the grid."""
        short = _abbreviations(self.grid)
        return tuple(
            Run(
                _simulation_id(short, point, repetition),
                {**self.config, **point},
                self.steps,
                repetition,
                _spawned_seed(self.seed, point, repetition),
            )
            for point in self.points()
            for repetition in range(1, self.repetitions + 1)
        )

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield the parameter sets of the grid."""
        for values in product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that did not complete, and why."""

    run: Run
    reason: str

    def __str__(self) -> str:
        """Return what failed and why, in a line."""
        return f"{self.run.simulation_id}: {self.reason}"


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep did.

    Attributes:
        completed: Runs that were simulated now.
        present: Runs whose shards were there already.
        failed: Runs that did not complete; the same sweep, run again, repeats only these.
        merge: What the merge of the shards did.
    """

    completed: tuple[Run, ...]
    present: tuple[Run, ...]
    failed: tuple[Failure, ...]
    merge: MergeReport


def load_sweep(path: str | PathLike[str]) -> Sweep:
    """Read a sweep file.

    Args:
        path: A TOML file; `docs/sweep.md` tells what stands in it.

    Raises:
        FarmMergeError: If it cannot be read, or if what it says cannot be run.
    """
    try:
        with Path(path).open("rb") as file:
            return Sweep.model_validate(tomllib.load(file))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise FarmMergeError(f"{path}: cannot be read as a sweep ({exc})") from exc
    except ValidationError as exc:
        raise FarmMergeError(f"{path}: {_problems(exc)}") from exc


def run_sweep(
    sweep: Sweep,
    shards: str | PathLike[str],
    output: str | PathLike[str],
    *,
    executor: Executor | None = None,
    workers: int | None = None,
    on_conflict: OnConflict = "error",
    progress: Callable[[int, int, int, Run | None], None] | None = None,
    merge_progress: Callable[[Progress], None] | None = None,
) -> SweepReport:
    """Simulate every run of a sweep in parallel, then merge their shards.

    A run whose shard is there already, with the same parameters, is not run again.

    Args:
        sweep: The design.
        shards: The folder for the shards; with workers on other machines, one that all share.
        output: The experiment database.
        executor: Any executor of `concurrent.futures`, or of its interface, such as
            `dask.distributed.Client().get_executor()`; by default processes on this machine, and
            a run that kills its process then costs only itself.
        workers: The number of processes if no executor is given; one a core by default.
        on_conflict: What wins if the output has other data of these simulations, as in
            `merge_shards`.
        progress: Called with the number of runs done, failed and in total, and the run that
            ended last.
        merge_progress: Called as the merge goes on.

    Raises:
        ConflictError: If a shard is there that is not of this sweep, or another sweep is writing
            to the folder; nothing is run. Or if the output has other data of these simulations.
        FarmMergeError: If no run completed, or the merge is not possible.
    """
    folder = Path(shards).resolve()
    runs = sweep.runs()
    with locked(folder / "sweep", partial(_refuse, folder)):
        present = _present(runs, folder)
        there = {run.simulation_id for run in present}
        due = tuple(run for run in runs if run.simulation_id not in there)
        tally = _Tally(len(runs), progress, done=len(present))
        tally.report(None)
        _simulate(_Jobs(folder, sweep.experiment_id), due, tally, executor, workers)
    paths = [path for run in runs if (path := _shard_path(folder, run)).exists()]
    if not paths:
        raise FarmMergeError(f"no run completed; the first failed so: {tally.failed[0]}")
    merge = merge_shards(
        paths,
        output,
        experiment_id=sweep.experiment_id,
        name=sweep.name,
        description=sweep.description,
        on_conflict=on_conflict,
        progress=merge_progress,
    )
    return SweepReport(tuple(tally.completed), present, tuple(tally.failed), merge)


def summarize(output: str | PathLike[str], sweep: Sweep) -> list[dict[str, Any]]:
    """Tell what came out of a sweep, by parameter set.

    Args:
        output: The experiment database.
        sweep: The design.

    Returns:
        A dict for every parameter set of the grid that has runs, with its parameters, the number
        of runs `n`, and the means over runs of the population after the last step
        (`final_population`) and of the mean reward of an action (`mean_reward`).
    """
    names = list(sweep.grid)
    with closing(sqlite3.connect(file_uri(output, mode="ro"), uri=True)) as connection:
        rows = connection.execute(_SUMMARY, {"ids": json.dumps(_ids_by_point(sweep))}).fetchall()
    results = {point: rest for point, *rest in rows}
    return [
        {
            **{name: point[name] for name in names},
            **dict(zip(("n", "final_population", "mean_reward"), results[number], strict=True)),
        }
        for number, point in enumerate(sweep.points())
        if number in results
    ]


_SUMMARY = """
WITH run AS (
    SELECT json_extract(value, '$[0]') AS point, json_extract(value, '$[1]') AS simulation_id
    FROM json_each(:ids)
)
SELECT
    point,
    count(*),
    avg((
        SELECT total_agents FROM simulation_steps AS step
        WHERE step.simulation_id = run.simulation_id ORDER BY step_number DESC LIMIT 1
    )),
    avg((
        SELECT avg(reward) FROM agent_actions AS action
        WHERE action.simulation_id = run.simulation_id
    ))
FROM run JOIN simulations USING (simulation_id)
GROUP BY point
ORDER BY point
"""


def _ids_by_point(sweep: Sweep) -> list[tuple[int, str]]:
    return [
        (number // sweep.repetitions, run.simulation_id) for number, run in enumerate(sweep.runs())
    ]


# ---- What runs where ----


@dataclass(frozen=True, slots=True)
class _Jobs:
    """What every run of a sweep needs to know, on whatever machine it runs."""

    folder: Path
    experiment_id: str


@dataclass(slots=True)
class _Tally:
    """What became of the runs so far."""

    total: int
    progress: Callable[[int, int, int, Run | None], None] | None
    done: int = 0
    completed: list[Run] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)

    def complete(self, run: Run) -> None:
        self.completed.append(run)
        self.done += 1
        self.report(run)

    def fail(self, run: Run, reason: BaseException) -> None:
        self.failed.append(Failure(run, f"{type(reason).__name__}: {reason}"))
        self.report(run)

    def report(self, run: Run | None) -> None:
        if self.progress is not None:
            self.progress(self.done, len(self.failed), self.total, run)


def _simulate(
    jobs: _Jobs,
    due: tuple[Run, ...],
    tally: _Tally,
    executor: Executor | None,
    workers: int | None,
) -> None:
    _remove_leftovers(due, jobs.folder)
    if executor is not None:
        _run_on(executor, jobs, due, tally)
    else:
        _run_on_processes(jobs, due, tally, workers or os.cpu_count() or 1)
    _remove_leftovers(due, jobs.folder)


def _refuse(folder: Path, who: str) -> None:
    raise ConflictError(
        f"{folder}: another sweep writes its shards here ({who});"
        " wait for it, or choose another folder"
    )


def _run_on_processes(jobs: _Jobs, due: Iterable[Run], tally: _Tally, workers: int) -> None:
    """Run on processes of this machine, and find out which run it is that kills its process.

    A process that dies takes the whole pool with it. Runs that had not begun go to a new pool;
    those that had are repeated one at a time, so that only the guilty one fails.
    """
    remaining = list(due)
    while remaining:
        with _pool(min(workers, len(remaining))) as pool:
            broken = _run_on(pool, jobs, remaining, tally, keep_broken=True)
        begun = [run for run in broken if _temporary_path(jobs.folder, run).exists()]
        suspects = begun or broken[:1]
        _remove_leftovers(suspects, jobs.folder)
        for run in suspects:
            with _pool(1) as pool:
                _run_on(pool, jobs, [run], tally)
        remaining = [run for run in broken if run not in suspects]


def _pool(workers: int) -> ProcessPoolExecutor:
    # Forked processes would inherit open databases and the locks of other threads.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def _run_on(
    executor: Executor,
    jobs: _Jobs,
    due: Iterable[Run],
    tally: _Tally,
    *,
    keep_broken: bool = False,
) -> list[Run]:
    """Run on an executor; return the runs to be repeated because the executor broke."""
    broken: list[Run] = []
    futures: dict[Future[None], Run] = {}
    try:
        for run in due:
            try:
                futures[executor.submit(simulate_run, jobs.folder, jobs.experiment_id, run)] = run
            except BrokenExecutor as exc:
                broken.append(run) if keep_broken else tally.fail(run, exc)
        for future in as_completed(futures):
            run = futures[future]
            error = future.exception()
            if error is None:
                tally.complete(run)
            elif keep_broken and isinstance(error, BrokenExecutor):
                broken.append(run)
            else:
                tally.fail(run, error)
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    return broken


def simulate_run(folder: Path, experiment_id: str, run: Run) -> None:
    """Simulate a run into its shard, which appears when it is complete.

    Args:
        folder: Where the shard belongs.
        experiment_id: What it belongs to.
        run: What to simulate.
    """
    _remove_leftovers([run], folder)  # of an attempt that an executor repeats
    temporary = _temporary_path(folder, run)
    config = run.config()
    with SimulationDatabase(
        temporary,
        config,
        run.simulation_id,
        experiment_id=experiment_id,
        parameters=run.record,
        seed=run.seed,
    ) as database:
        run_simulation(run.steps, config, database)
    _move(temporary, _shard_path(folder, run))


def _move(temporary: Path, shard: Path) -> None:
    with closing(sqlite3.connect(file_uri(temporary), uri=True)) as connection, connection:
        connection.execute("UPDATE simulations SET simulation_db_path = ?", [str(shard)])
    temporary.rename(shard)


# ---- What is there already ----


def _shard_path(folder: Path, run: Run) -> Path:
    return folder / f"{run.simulation_id}.db"


def _temporary_path(folder: Path, run: Run) -> Path:
    return folder / f".{run.simulation_id}.running"


def _remove_leftovers(runs: Iterable[Run], folder: Path) -> None:
    for run in runs:
        temporary = _temporary_path(folder, run)
        for suffix in ("", "-journal", "-wal", "-shm"):
            temporary.with_name(temporary.name + suffix).unlink(missing_ok=True)


def _present(runs: Iterable[Run], folder: Path) -> tuple[Run, ...]:
    present = tuple(run for run in runs if _shard_path(folder, run).exists())
    differing = [
        f"{_shard_path(folder, run)}: {difference}"
        for run in present
        if (difference := _difference(_shard_path(folder, run), run))
    ]
    if differing:
        lines = "\n  ".join(differing)
        raise ConflictError(
            f"shards are there that are not of this sweep, and nothing was run:\n  {lines}\n"
            "Move them away, or choose another folder for the shards."
        )
    return present


def _difference(shard: Path, run: Run) -> str | None:
    """Return in what a shard differs from what a run would write, if it does."""
    try:
        with closing(sqlite3.connect(file_uri(shard, mode="ro"), uri=True)) as connection:
            row = connection.execute(
                "SELECT parameters, seed, status FROM simulations WHERE simulation_id = ?",
                [run.simulation_id],
            ).fetchone()
    except sqlite3.Error as exc:
        return f"cannot be read ({exc})"
    if row is None:
        return f"holds no simulation {run.simulation_id}"
    parameters, seed, status = row
    if status != "completed":
        return f"is {status}"
    found = {**json.loads(parameters), "seed": seed}
    wanted = {**run.record, "seed": run.seed}
    differing = [
        f"{name} is {found.get(name)}, not {wanted.get(name)}"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    ]
    return ", ".join(differing) or None


# ---- Names and seeds ----


def _abbreviations(names: Iterable[str]) -> dict[str, str]:
    """Return a short form of every name: initials (learning_rate: lr) or the first letters."""
    by_short = defaultdict(list)
    for name in names:
        words = name.split("_")
        by_short[name[:3] if len(words) == 1 else "".join(word[:1] for word in words)].append(name)
    return {
        name: short if len(same) == 1 else name for short, same in by_short.items() for name in same
    }


def _simulation_id(short: dict[str, str], point: dict[str, Value], repetition: int) -> str:
    parts = [f"{short[name]}{value}" for name, value in point.items()]
    readable = "_".join([*parts, f"r{repetition}"])
    safe = "".join(each if each.isalnum() or each in "._+-" else "-" for each in readable)
    if safe == readable and len(safe) <= _LONGEST_ID:
        return safe
    return f"{safe[: _LONGEST_ID - 9]}-{_digest(readable, 4).hex()}"


def _spawned_seed(root: int, point: dict[str, Value], repetition: int) -> int:
    """Return the seed of a run: the root's child whose spawn key is the parameter set's digest."""
    text = json.dumps([point, repetition], sort_keys=True)
    key = np.frombuffer(_digest(text, 16), dtype="<u4")
    sequence = np.random.SeedSequence(root, spawn_key=tuple(int(word) for word in key))
    return int(sequence.generate_state(1, np.uint64)[0]) >> (64 - _SEED_BITS)


def _digest(text: str, size: int) -> bytes:
    return blake2b(text.encode(), digest_size=size).digest()


def _require_config(run: Run) -> None:
    try:
        run.config()
    except FarmMergeError as exc:
        raise ValueError(str(exc)) from exc


def _problems(exc: ValidationError) -> str:
    return "; ".join(
        ": ".join(filter(None, [".".join(map(str, each["loc"])), each["msg"]]))
        for each in exc.errors(include_url=False)
    )
