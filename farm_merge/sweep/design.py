"""The design of a sweep: the content of its file, and the runs that come of it."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from farm_merge.csv_tables import rows_of_csv
from farm_merge.errors import FarmMergeError
from farm_merge.sweep.kinds import simulator_of
from farm_merge.sweep.names import LONGEST_ID, Value, abbreviations, digest_number, run_id
from farm_merge.sweep.points import Point, Points
from farm_merge.sweep.runs import Plan, Runs
from farm_merge.sweep.samples import Sample  # noqa: TC001  (pydantic reads the annotations)
from farm_merge.sweep.simulators import BUILT_IN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from farm_merge.sweep.simulators import Simulator

__all__ = ["Sweep"]

Values = Annotated[list[Value], Field(min_length=1)]

_MOST_RUNS = 1_000_000
_RESERVED = {
    "path": "no parameter; all of them are in the sweep file",
    "seed": "every run gets its own; set the root `seed` of the sweep",
    "repetition": "counted by `repetitions`",
    "simulation_id": "made of the parameters",
    "shard": "where a command leaves its results",
    "folder": "where a command leaves its results",
}


class Sweep(BaseModel):
    """A design of parameters: the content of a sweep file.

    Attributes:
        experiment_id: Of the experiment, for queries.
        name: Of the experiment, for people.
        description: Of the experiment, for people.
        simulation: The function that simulates: "package.module:function", called with
            `(db, parameters, seed)`, "mesa:package.module:Model", or
            "agentfarm:package.module:function"; the built-in model by default.
        command: A command line that simulates, instead.
        steps: The parameter `steps` of every run; the built-in model needs it.
        repetitions: Runs of every parameter set.
        seed: The root seed.
        timeout: Seconds that a run may take.
        retries: How often a run that fails is tried again.
        shards: Whether every run has a shard, or every worker one for all its runs.
        storage: Whether runs log to the disk, or into memory until they are over.
        memory_limit_mb: How large a run may grow in memory before it goes on in a file.
        grid: Values by parameter; every combination is a parameter set.
        zip: Values by parameter, all as many: the first of each are a parameter set, and so on.
        csv: A CSV file whose every line is a parameter set, with their names in the first.
        sample: Parameter sets that are drawn from ranges.
        config: Parameters that all runs have in common.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    experiment_id: Annotated[str, Field(min_length=1, max_length=LONGEST_ID)]
    name: str | None = None
    description: str | None = None
    simulation: str = BUILT_IN
    command: str | None = None
    steps: Annotated[int, Field(ge=1)] | None = None
    repetitions: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0)] = 0
    timeout: Annotated[float, Field(gt=0)] | None = None
    retries: Annotated[int, Field(ge=0)] = 0
    shards: Literal["run", "worker"] = "run"
    storage: Literal["disk", "memory"] = "disk"
    memory_limit_mb: Annotated[int, Field(ge=1)] | None = None
    grid: dict[str, Values] = Field(default_factory=dict)
    zip: dict[str, Values] = Field(default_factory=dict)
    csv: str | None = None
    sample: Sample | None = None
    config: dict[str, Value] = Field(default_factory=dict)

    _folder: Path = PrivateAttr(default_factory=Path)
    _listed: list[Point] = PrivateAttr(default_factory=list)
    _drawn: list[Point] = PrivateAttr(default_factory=list)

    @field_validator("grid")
    @classmethod
    def _values_differ(cls, grid: dict[str, list[Value]]) -> dict[str, list[Value]]:
        for name, values in grid.items():
            if len(set(values)) < len(values):
                raise ValueError(f"{name} has a value twice; use `repetitions` to run it again")
        return grid

    @field_validator("zip")
    @classmethod
    def _as_many_of_each(cls, columns: dict[str, list[Value]]) -> dict[str, list[Value]]:
        if len({len(values) for values in columns.values()}) > 1:
            numbers = ", ".join(f"{name} has {len(values)}" for name, values in columns.items())
            raise ValueError(f"parameters that vary together have as many values each: {numbers}")
        return columns

    @model_validator(mode="after")
    def _runs_are_possible(self, info: ValidationInfo) -> Sweep:
        context = info.context or {}
        self._folder = context.get("folder", Path())
        self._require_possible_number()
        try:
            self._listed = self._read_list()
            self._drawn = _different(self.sample.rows(self.seed)) if self.sample else []
        except FarmMergeError as exc:
            raise ValueError(exc.message()) from exc
        self._require_one_place()
        points = self.points()
        short = abbreviations(points[0])
        ids = (digest_number(run_id(short, point, 1)) for point in points)
        if len(np.unique(np.fromiter(ids, np.uint64, len(points)))) < len(points):
            raise ValueError("two parameter sets get the same simulation_id; round less")
        if not context.get("is_stored"):
            self._require_parameters()
        return self

    def _require_possible_number(self) -> None:
        """Refuse a sweep with too many runs before any of them is thought of."""
        number = self.repetitions * prod(map(len, self.grid.values()))
        number *= self.sample.sets if self.sample else 1
        if number > _MOST_RUNS:
            raise ValueError(f"these are {number:,} runs; a sweep has {_MOST_RUNS:,} at most")

    def _read_list(self) -> list[Point]:
        """Return the parameter sets of the CSV file."""
        if self.csv is None:
            return []
        path = self._folder / self.csv
        try:
            rows: list[Any] = rows_of_csv(path)
        except (OSError, UnicodeDecodeError) as exc:
            raise FarmMergeError(f"csv cannot be read ({exc})") from exc
        if not rows:
            raise FarmMergeError(f"csv has no parameter sets: {path}")
        if any(value is None for row in rows for value in row.values()):
            raise FarmMergeError(f"csv has empty fields: {path}")
        return rows

    def _require_one_place(self) -> None:
        """Refuse a parameter that is set in two places, or is none."""
        if self.command is not None and self.simulation != BUILT_IN:
            raise ValueError("simulation and command are both there; leave one")
        places: dict[str, str] = {} if self.steps is None else {"steps": "steps"}
        for place, names in self._places():
            for name in names:
                if name in _RESERVED:
                    raise ValueError(f"{name}: {_RESERVED[name]}")
                if name in places:
                    raise ValueError(f"{name} is in {places[name]} and in [{place}]; leave one")
                places[name] = f"[{place}]"

    def _places(self) -> Iterator[tuple[str, Sequence[str]]]:
        """Yield the tables of the file with the parameters that they set."""
        yield "grid", list(self.grid)
        yield "zip", list(self.zip)
        yield "csv", list(self._listed[0] if self._listed else ())
        yield "sample", list(self.sample.ranges if self.sample else ())
        yield "config", list(self.config)

    def _require_parameters(self) -> None:
        """Let the simulation refuse parameters, of every set."""
        simulator, common = self.simulator(), self._common()
        try:
            for point in self.points():
                simulator.check({**common, **point})
        except FarmMergeError as exc:
            raise ValueError(exc.message()) from exc

    def simulator(self) -> Simulator:
        """Return what simulates the runs."""
        folder = str(self._folder.resolve())
        if self.command is not None:
            return simulator_of("command", self.command, folder)
        return simulator_of("simulation", self.simulation, folder)

    def runs(self) -> Runs:
        """Return every run, in the order of the design; none of them is kept."""
        points = self.points()
        short = abbreviations(points[0])
        return Runs(Plan(points, self._common(), self.repetitions, self.seed, short))

    def points(self) -> Points:
        """Return the parameter sets, in their order."""
        return Points(self._factors())

    def _factors(self) -> Iterator[Sequence[Point]]:
        for name, values in self.grid.items():
            yield [{name: value} for value in values]
        if self.zip:
            yield [
                dict(zip(self.zip, row, strict=True))
                for row in zip(*self.zip.values(), strict=True)
            ]

        if self._listed:
            yield self._listed
        if self._drawn:
            yield self._drawn

    def _common(self) -> dict[str, Any]:
        return self.config if self.steps is None else {**self.config, "steps": self.steps}


def _different(rows: list[Point]) -> list[Point]:
    """Return the parameter sets that differ: what is drawn twice is simulated once."""
    return list({tuple(row.values()): row for row in rows}.values())
