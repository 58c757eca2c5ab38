"""Rerun: a simulation of an experiment is simulated again, and compared by its digests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from farm_merge.digest import digest_simulations
from farm_merge.errors import FarmMergeError
from farm_merge.read.open import reading
from farm_merge.read.where import chosen_simulations, parsed_object
from farm_merge.sweep.code import code_of
from farm_merge.sweep.kinds import simulator_of
from farm_merge.sweep.runs import Run
from farm_merge.sweep.shards import Jobs, shard_path, simulate_run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from farm_merge.sweep.simulators import Simulator

__all__ = ["Rerun", "rerun_simulation"]


@dataclass(frozen=True, slots=True)
class Rerun:
    """A simulation that was simulated again.

    Attributes:
        simulation_id: The simulation.
        before: The digest of what is in the database.
        now: The digest of what came out now.
        differing: The tables that differ.
        notes: In what the code differs.
    """

    simulation_id: str
    before: str
    now: str
    differing: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether the same came out, value by value."""
        return self.before == self.now


def rerun_simulation(
    database: str | PathLike[str], simulation_id: str, *, folder: str | PathLike[str] = "."
) -> Rerun:
    """Simulate a simulation of a sweep again, from what is stored of it, and compare digests.

    Args:
        database: An experiment database; nothing in it changes.
        simulation_id: The simulation.
        folder: Where its model is: that of the sweep file.

    Raises:
        FarmMergeError: If the simulation is not there, was not made by a sweep, or fails now.
    """
    path = Path(database)
    row = _stored(path, simulation_id)
    simulator = _simulator(path, row, str(Path(folder).resolve()))
    parameters = parsed_object(row["parameters"])
    repetition = parameters.pop("repetition", 1)
    run = Run(simulation_id, parameters, repetition, row["seed"])
    (before,) = digest_simulations(path, [simulation_id])
    with TemporaryDirectory(prefix="farm-merge-") as name:
        jobs = Jobs(Path(name), row["experiment_id"] or "rerun", simulator, code_of(simulator))
        ended = simulate_run(jobs, run)
        if ended.failure is not None:
            raise FarmMergeError(f"{simulation_id} fails now: {ended.failure.reason}", path=path)
        (now,) = digest_simulations(shard_path(Path(name), run), [simulation_id])
    tables = sorted({*before.tables, *now.tables})
    return Rerun(
        simulation_id,
        before.digest,
        now.digest,
        tuple(it for it in tables if before.tables.get(it) != now.tables.get(it)),
        tuple(_differences(row, jobs.code)),
    )


def _stored(path: Path, simulation_id: str) -> dict[str, Any]:
    columns = "experiment_id, status, parameters, seed, git_commit, package_versions"
    with reading(path) as connection:
        chosen_simulations(connection, (), [simulation_id], path=path)
        row = connection.execute(
            f"SELECT {columns} FROM simulations WHERE simulation_id = ?", (simulation_id,)
        ).fetchone()
    found = dict(zip(columns.split(", "), row, strict=True))
    found["code"] = parsed_object(found.pop("package_versions"))
    found["code"]["git_commit"] = found.pop("git_commit")
    return found


def _simulator(path: Path, row: Mapping[str, Any], folder: str) -> Simulator:
    code = row["code"]
    for kind in ("command", "simulation"):
        if kind in code:
            return simulator_of(kind, code[kind], folder)
    raise FarmMergeError("was not made by a sweep, so what simulated it is unknown", path=path)


def _differences(row: Mapping[str, Any], code: Mapping[str, str | None]) -> list[str]:
    return [
        f"{name} was {row['code'].get(name)}, now {now}"
        for name, now in code.items()
        if row["code"].get(name) != now
    ]
