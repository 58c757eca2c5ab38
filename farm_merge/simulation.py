"""Run the built-in model and log it."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from farm_merge.errors import InvalidOptionError
from farm_merge.model.log import Log
from farm_merge.model.world import World

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from farm_merge.config import SimulationConfig
    from farm_merge.database import SimulationWriter
    from farm_merge.model.world import Outcome

__all__ = ["SimulationResult", "run_simulation"]


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """What came out of a simulation.

    Attributes:
        simulation_id: Its name.
        steps: Steps simulated; fewer than asked for if all agents died.
        final_population: Agents after the last step.
        births: Agents born.
        deaths: Agents that died.
        mean_reward: Of all actions of all agents.
        path: The shard, if one was made.
    """

    simulation_id: str
    steps: int
    final_population: int
    births: int
    deaths: int
    mean_reward: float
    path: str | None


def run_simulation(
    num_steps: int,
    config: SimulationConfig,
    db: SimulationWriter | None = None,
    *,
    path: str | PathLike[str] | None = None,
    simulation_id: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SimulationResult:
    """Run the built-in model and log it.

    The same `config.seed` gives the same simulation.

    Args:
        num_steps: Steps to simulate.
        config: The parameters of the model.
        db: An open database, on disk or in memory, or a simulation context, to log to. It gets
            the status "completed" and a summary of the results, and stays open.
        path: A shard to make and log to. With neither this nor `db`, nothing is logged.
        simulation_id: The name of the simulation, unless `db` has it; the stem of `path`, or
            "simulation", by default.
        progress: Called after every step with the steps done and their number.

    Raises:
        InvalidOptionError: If both `db` and `path` are given, or `num_steps` is negative.
    """
    if db is not None and path is not None:
        raise InvalidOptionError("give `db` or `path`, not both")
    if num_steps < 0:
        raise InvalidOptionError(f"num_steps is {num_steps}; it must not be negative")
    with ExitStack() as stack:
        if path is not None:
            db = stack.enter_context(_shard(path, config, simulation_id))
        world = World(config)
        log = None if db is None else Log(db, world)
        totals = _simulate(world, num_steps, log, progress)
        result = SimulationResult(
            simulation_id=simulation_id or "simulation" if db is None else db.simulation_id,
            steps=totals.steps,
            final_population=len(world.agents),
            births=totals.births,
            deaths=totals.deaths,
            mean_reward=totals.reward / max(totals.actions, 1),
            path=None if path is None else str(path),
        )
        if log is not None:
            summary = asdict(result)
            del summary["simulation_id"], summary["path"]
            log.finish(summary)
    return result


def _shard(
    path: str | PathLike[str], config: SimulationConfig, simulation_id: str | None
) -> SimulationWriter:
    from farm_merge.database import SimulationDatabase

    return SimulationDatabase(path, config, simulation_id, seed=config.seed)


def _simulate(
    world: World, num_steps: int, log: Log | None, progress: Callable[[int, int], None] | None
) -> _Totals:
    """Advance a world until the last step, or until nobody lives."""
    totals = _Totals()
    for step in range(num_steps):
        outcome = world.advance(step)
        totals.add(outcome)
        if log is not None:
            log.write(step, outcome)
        if progress is not None:
            progress(step + 1, num_steps)
        if not len(world.agents):
            break
    return totals


@dataclass(slots=True)
class _Totals:
    """Sums over steps."""

    steps: int = 0
    births: int = 0
    deaths: int = 0
    actions: int = 0
    reward: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count a step."""
        self.steps += 1
        self.births += len(outcome.born)
        self.deaths += len(outcome.died)
        self.actions += len(outcome.actors)
        self.reward += float(outcome.reward.sum())
