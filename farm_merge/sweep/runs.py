"""Runs: the simulations of a sweep, each computed when it is asked for."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from farm_merge.sweep.names import run_id, run_seed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm_merge.sweep.points import Point, Points

__all__ = ["Plan", "Run", "Runs"]


@dataclass(frozen=True, slots=True)
class Run:
    """One simulation of a sweep.

    Attributes:
        simulation_id: Made of the parameters of the design and the repetition.
        parameters: Those of the design and those that all runs have in common.
        repetition: Counted from 1.
        seed: Of the run's random numbers.
    """

    simulation_id: str
    parameters: Point
    repetition: int
    seed: int

    @property
    def record(self) -> Point:
        """What is stored with the simulation, to be queried and to know it again."""
        return {**self.parameters, "repetition": self.repetition}


@dataclass(frozen=True, slots=True)
class Plan:
    """What the runs of a sweep are computed from.

    Attributes:
        points: The parameter sets.
        common: Parameters that all runs have in common.
        repetitions: Runs of every parameter set.
        seed: The root seed.
        short: The short forms of the parameters that name a run.
    """

    points: Points
    common: Point
    repetitions: int
    seed: int
    short: Mapping[str, str]

    def run(self, number: int) -> Run:
        """Return a run by its number, from 0."""
        place, before = divmod(number, self.repetitions)
        point, repetition = self.points[place], before + 1
        return Run(
            run_id(self.short, point, repetition),
            {**self.common, **point},
            repetition,
            run_seed(self.seed, point, repetition),
        )


class Runs(Sequence[Run]):
    """Some runs of a sweep, in its order; a slice is again some runs, and takes no memory.

    Args:
        plan: What they are computed from.
        numbers: Which runs; all by default.
    """

    def __init__(self, plan: Plan, numbers: Sequence[int] | None = None) -> None:
        self._plan = plan
        everything = range(len(plan.points) * plan.repetitions)
        self._numbers = everything if numbers is None else numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Runs(self._plan, self._numbers[index])
        return self._plan.run(self._numbers[index])

    def at(self, places: Sequence[int]) -> Runs:
        """Return those of these runs that are at some places."""
        return Runs(self._plan, array("q", (self._numbers[place] for place in places)))
