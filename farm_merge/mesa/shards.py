"""Shards: what a process of a batch writes, and what is there already."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.config import DatabaseConfig
from farm_merge.database import SimulationWriter
from farm_merge.database.opening import close_database, open_database, open_session
from farm_merge.errors import ConflictError, FarmMergeError
from farm_merge.housekeeping import remove_simulations
from farm_merge.mesa.collected import collector_of, forget_model, seed_of, steps_of
from farm_merge.mesa.recorder import write_collected
from farm_merge.mesa.results import chosen_steps, is_modern
from farm_merge.publish import settle_output
from farm_merge.read.open import reading
from farm_merge.read.where import parsed_object
from farm_merge.sqlite import file_uri

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from os import PathLike

    from farm_merge.mesa.design import BatchRun
    from farm_merge.sqlite import sqlite3

__all__ = ["ShardWriter", "close_shards", "present_runs", "simulate_run", "tidied_shards"]

_SETTINGS = DatabaseConfig(cache_size_mb=8)
"""Nothing is read again, so SQLite needs to remember little."""

_open: dict[tuple[Path, str], tuple[Path, sqlite3.Connection]] = {}
"""The shards of this process, by folder and batch. They stay open from one run to the next."""


class ShardWriter:
    """Writes simulations into one shard of each process that it is sent to.

    It can be sent anywhere, since it knows where the shards belong, and no shard: a process makes
    its own, under a random name, when it has something to write.

    Args:
        folder: Where the shards belong.
        experiment_id: What the simulations belong to.
    """

    def __init__(self, folder: str | PathLike[str], experiment_id: str | None = None) -> None:
        self.folder = Path(folder).resolve()
        self._experiment_id = experiment_id
        self._batch = uuid.uuid4().hex

    def simulation(
        self,
        simulation_id: str,
        parameters: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> SimulationWriter:
        """Begin a simulation in the shard of this process, to be used in a `with` statement.

        Args:
            simulation_id: Its name, unique in all that is merged later.
            parameters: What is stored with it; `describe_simulations` adds what is known later.
            seed: What its randomness starts from.

        Raises:
            SimulationExistsError: If the shard has that simulation.
            OutputError: If it cannot be written.
        """
        path, connection = self._shard()
        return SimulationWriter(
            connection,
            lambda: open_session(file_uri(path)),
            None,
            simulation_id,
            path=str(path),
            experiment_id=self._experiment_id,
            parameters=parameters,
            seed=seed,
        )

    def _shard(self) -> tuple[Path, sqlite3.Connection]:
        key = self.folder, self._batch
        if key not in _open:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"{uuid.uuid4().hex}.db"
            _open[key] = path, open_database(path, _SETTINGS)
        return _open[key]


def close_shards() -> None:
    """Close the shards that this process wrote; other processes end, and theirs are settled."""
    while _open:
        _, connection = _open.popitem()[1]
        close_database(connection)


def simulate_run(model_cls: type[Any], writer: ShardWriter, run: BatchRun) -> None:
    """Run a model to its end, and write what it collected.

    Args:
        model_cls: The model.
        writer: Where to.
        run: What to run.
    """
    model = model_cls(**run.arguments)
    try:
        is_known = is_modern(collector_of(model))
        last = run.max_steps if is_known else run.max_steps + 1  # until 3.3, Mesa went on for one
        while model.running and model.steps < last:
            model.step()
        wanted = {*chosen_steps(steps_of(model), model.steps, run.period, modern=is_known)}
        with writer.simulation(run.simulation_id, run.record, seed_of(model)) as database:
            write_collected(database, model, "completed", run.limits, wanted.__contains__)
    finally:
        forget_model(model)


def present_runs(runs: Sequence[BatchRun], output: Path, folder: Path) -> set[str]:
    """Return the names of the runs that are in the output, or in a shard, complete.

    Raises:
        ConflictError: If some have other parameters there.
    """
    wanted = {run.simulation_id: run for run in runs}
    present: set[str] = set()
    differing: list[FarmMergeError] = []
    for path in (*([output] if output.exists() else []), *_shards(folder)):
        for simulation_id, status, parameters, summary in _registered(path):
            run = wanted.get(simulation_id)
            if run is None or status != "completed":
                continue
            present.add(simulation_id)
            if difference := _difference(run, parameters, summary):
                differing.append(FarmMergeError(f"run {simulation_id}: {difference}", path=path))
    if differing:
        raise ConflictError(
            "runs are there that are not of this batch, and nothing was run:",
            causes=differing[:5],
            remedy="choose another output",
        )
    return present


def tidied_shards(folder: Path, runs: Iterable[BatchRun]) -> list[Path]:
    """Take away what killed processes left half done; return the shards that hold runs."""
    ours = {run.simulation_id for run in runs}
    shards = []
    for path in _shards(folder):
        settle_output(path)  # its process ended without closing it
        found = list(_registered(path))
        partial = [name for name, status, *_ in found if status != "completed" and name in ours]
        if partial:
            remove_simulations(path, partial)
        if len(partial) < len(found):
            shards.append(path)
    return shards


def _shards(folder: Path) -> list[Path]:
    """Return the shards that are there; one that a process was killed over has no bytes yet."""
    return sorted(path for path in folder.glob("*.db") if path.stat().st_size)


def _registered(path: Path) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    with reading(path) as connection:
        return [
            (name, status, parsed_object(parameters), parsed_object(summary))
            for name, status, parameters, summary in connection.execute(
                "SELECT simulation_id, status, parameters, results_summary FROM simulations"
            )
        ]


def _difference(run: BatchRun, parameters: dict[str, Any], summary: dict[str, Any]) -> str:
    """Return in what a run that is there differs from one of a batch."""
    wanted = {**json.loads(json.dumps(run.record)), **run.limits}
    found = {**parameters, **{name: summary.get(name) for name in run.limits}}
    names = sorted(wanted.keys() | found.keys())
    return ", ".join(
        f"{name} is {found.get(name)}, not {wanted.get(name)}"
        for name in names
        if found.get(name) != wanted.get(name)
    )
