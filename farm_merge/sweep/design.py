"""The design of a sweep: the content of its file, and the runs that come of it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from farm_merge.config import SimulationConfig
from farm_merge.errors import FarmMergeError
from farm_merge.sweep.names import LONGEST_ID, Value, abbreviations, run_id, run_seed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

__all__ = ["Run", "Sweep", "load_sweep"]

Values = Annotated[list[Value], Field(min_length=1)]

_MOST_RUNS = 1_000_000
_RESERVED = {
    "path": "no parameter; all of them are in the sweep file",
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
    """A design of parameters: the content of a sweep file.

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

    experiment_id: Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
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
            raise ValueError(f"{name} is in [grid] and in [config]; leave one")
        for name in (self.grid.keys() | self.config.keys()) & _RESERVED.keys():
            raise ValueError(f"{name}: {_RESERVED[name]}")
        number = prod(map(len, self.grid.values())) * self.repetitions
        if number > _MOST_RUNS:
            raise ValueError(f"these are {number:,} runs; a sweep has {_MOST_RUNS:,} at most")
        runs = self.runs()
        if len({run.simulation_id for run in runs}) < len(runs):
            raise ValueError("two parameter sets get the same simulation_id; round less")
        for run in runs:
            if run.repetition == 1:
                _require_config(run)
        return self

    def runs(self) -> tuple[Run, ...]:
        """Return every run, in the order of the grid."""
        short = abbreviations(self.grid)
        return tuple(
            Run(
                run_id(short, point, repetition),
                {**self.config, **point},
                self.steps,
                repetition,
                run_seed(self.seed, point, repetition),
            )
            for point in self.points()
            for repetition in range(1, self.repetitions + 1)
        )

    def points(self) -> Iterator[dict[str, Value]]:
        """Yield the parameter sets of the grid."""
        for values in product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))


def load_sweep(path: str | PathLike[str]) -> Sweep:
    """Read a sweep file.

    Args:
        path: A TOML file; `docs/sweep.md` describes it.

    Raises:
        FarmMergeError: If it cannot be read, or what it asks for cannot be run.
    """
    try:
        with Path(path).open("rb") as file:
            return Sweep.model_validate(tomllib.load(file))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise FarmMergeError(f"cannot be read as a sweep ({exc})", path=path) from exc
    except ValidationError as exc:
        raise FarmMergeError(_problems(exc), path=path) from exc


def _require_config(run: Run) -> None:
    try:
        run.config()
    except FarmMergeError as exc:
        raise ValueError(str(exc)) from exc


def _problems(exc: ValidationError) -> str:
    return "; ".join(
        ": ".join(filter(None, [".".join(map(str, error["loc"])), error["msg"]]))
        for error in exc.errors(include_url=False)
    )
