"""Samples: parameter sets drawn from ranges, by SciPy and SALib.

Both draw in the unit cube; what a number between 0 and 1 means for a parameter is decided here. So
a logarithmic scale, whole numbers and categories are possible with every method, and the analysis
sees what was drawn.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from farm_merge.extras import missing_extra
from farm_merge.sweep.names import Value  # noqa: TC001  (pydantic reads the annotations)

if TYPE_CHECKING:
    import numpy as np

    from farm_merge.sweep.points import Point

__all__ = ["Range", "Sample", "problem"]

Method = Literal["random", "latin_hypercube", "sobol", "morris", "saltelli"]

_BALANCED = {"sobol", "saltelli"}
"""Methods whose points are balanced only if they are a power of 2."""

_DIGITS = 10
"""Significant digits of a drawn value: what is in a name, and the same on every machine."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Range(_Strict):
    """What a parameter is drawn from.

    Attributes:
        low: The least value.
        high: The greatest.
        scale: Whether values or their logarithms are spread evenly.
        integer: Whether only whole numbers are drawn, `high` among them.
        choices: Categories, instead of all this.
    """

    low: int | float | None = None
    high: int | float | None = None
    scale: Literal["linear", "log"] = "linear"
    integer: bool = False
    choices: Annotated[list[Value], Field(min_length=2)] | None = None

    @model_validator(mode="after")
    def _is_possible(self) -> Range:
        if self.choices is not None:
            if self.low is not None or self.high is not None:
                raise ValueError("choices, or low and high; not both")
            return self
        if self.low is None or self.high is None or not self.low < self.high:
            raise ValueError("low and high are both needed, and low is below high")
        if self.scale == "log" and self.low <= 0:
            raise ValueError("on a log scale low is above 0")
        if self.integer and not (isinstance(self.low, int) and isinstance(self.high, int)):
            raise ValueError("integer: low and high are whole numbers")
        return self

    def value(self, unit: float) -> Value:
        """Return what a number between 0 and 1 means."""
        if self.choices is not None:
            return self.choices[min(int(unit * len(self.choices)), len(self.choices) - 1)]
        assert self.low is not None and self.high is not None  # noqa: PT018, S101  (checked above)
        if not self.integer:
            return float(f"{self._spread(unit, self.low, self.high):.{_DIGITS}g}")
        drawn = math.floor(self._spread(unit, self.low, self.high + 1))
        return int(min(max(drawn, self.low), self.high))

    def _spread(self, unit: float, low: float, high: float) -> float:
        if self.scale == "linear":
            return low + unit * (high - low)
        return math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))


class Sample(_Strict):
    """Parameter sets that are drawn.

    Attributes:
        method: "random", "latin_hypercube" or "sobol" by SciPy; "morris" (elementary effects) or
            "saltelli" (for Sobol's indices) by SALib.
        points: How many points are drawn; for D parameters Morris makes `D + 1` sets of each, and
            Saltelli `D + 2`, or `2 D + 2` with `second_order`.
        second_order: Whether the indices of pairs of parameters are wanted; Saltelli only.
        levels: Into how many levels Morris divides a range.
        ranges: What each parameter is drawn from.
    """

    method: Method
    points: Annotated[int, Field(ge=1)]
    second_order: bool = False
    levels: Annotated[int, Field(ge=2, multiple_of=2)] = 4
    ranges: Annotated[dict[str, Range], Field(min_length=1)]

    @model_validator(mode="after")
    def _is_balanced(self) -> Sample:
        if self.method in _BALANCED and self.points & (self.points - 1):
            power = 2 ** round(math.log2(self.points))
            raise ValueError(
                f"points is {self.points}; {self.method} needs a power of 2, as {power}"
            )
        return self

    @property
    def sets(self) -> int:
        """How many parameter sets are drawn, counted before any is."""
        factors = {
            "morris": len(self.ranges) + 1,
            "saltelli": (2 if self.second_order else 1) * len(self.ranges) + 2,
        }
        return self.points * factors.get(self.method, 1)

    def units(self, seed: int) -> np.ndarray[Any, Any]:
        """Return what is drawn, in the unit cube: sets by parameters, always the same for a seed.

        Raises:
            FarmMergeError: If what draws it is not installed.
        """
        try:
            return self._drawn(seed)
        except ModuleNotFoundError as exc:
            raise missing_extra(f"method {self.method!r} needs {exc.name}", "design") from exc

    def _drawn(self, seed: int) -> np.ndarray[Any, Any]:
        import numpy as np

        count = len(self.ranges)
        if self.method == "random":
            return np.random.default_rng(seed).random((self.points, count))
        drawn: np.ndarray[Any, Any]
        if self.method in {"morris", "saltelli"}:
            from SALib.sample import morris, sobol

            if self.method == "morris":
                drawn = morris.sample(problem(self), self.points, num_levels=self.levels, seed=seed)
            else:
                drawn = sobol.sample(
                    problem(self), self.points, calc_second_order=self.second_order, seed=seed
                )
            return drawn
        from scipy.stats import qmc

        sampler = {"latin_hypercube": qmc.LatinHypercube, "sobol": qmc.Sobol}[self.method]
        drawn = sampler(count, rng=seed).random(self.points)
        return drawn

    def rows(self, seed: int) -> list[Point]:
        """Return the parameter sets in the order in which they are drawn, equal ones too."""
        names, ranges = list(self.ranges), list(self.ranges.values())
        return [
            {name: kind.value(unit) for name, kind, unit in zip(names, ranges, row, strict=True)}
            for row in self.units(seed).tolist()
        ]


def problem(sample: Sample) -> dict[str, Any]:
    """Return the parameters as SALib knows them, in the unit cube."""
    names = list(sample.ranges)
    return {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)}
