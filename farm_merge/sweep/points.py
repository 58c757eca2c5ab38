"""Points: the parameter sets of a design, each computed when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from farm_merge.sweep.names import Value

__all__ = ["Point", "Points"]

Point = dict[str, "Value"]
"""A parameter set: values by name."""


class Points(Sequence[Point]):
    """Every combination of the rows of some factors, the last of which changes fastest.

    None of them is kept, so a design of a million parameter sets takes no more memory than one of
    ten.

    Args:
        factors: Rows that are combined with those of all others: one row a value for a parameter
            of a grid, one row a parameter set for those that vary together.
    """

    def __init__(self, factors: Iterable[Sequence[Point]]) -> None:
        self._factors = tuple(factors)
        self._length = prod(map(len, self._factors))

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> Point: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Point]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """Return the parameter set of a number, whose digits are the numbers of its rows."""
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(self._length))]
        number = range(self._length)[index]
        rows: list[Point] = []
        for factor in reversed(self._factors):
            number, digit = divmod(number, len(factor))
            rows.append(factor[digit])
        return {name: value for row in reversed(rows) for name, value in row.items()}
