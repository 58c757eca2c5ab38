"""The torus: a plane without edges, on which the way round may be the shortest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from farm_merge.model.agents import Floats, Integers

__all__ = ["Torus"]


class Torus:
    """The space that agents live in.

    Args:
        width: In cells.
        height: In cells.

    Attributes:
        size: Width and height, in cells.
    """

    def __init__(self, width: int, height: int) -> None:
        self.size = np.array([width, height], dtype=np.float64)

    def shortest(self, way: Floats) -> Floats:
        """Return the shortest way round the torus, in cells with sign."""
        return way - self.size * np.round(way / self.size)

    def nearest(
        self, of: Floats, among: Floats, exclude: Integers | None = None
    ) -> tuple[Integers, Floats]:
        """Return for each position the nearest of others, and how far it is, in cells.

        Args:
            of: Positions, (n, 2).
            among: Positions, (m, 2), m > 0.
            exclude: For each of `of`, one of `among` that does not count: itself.
        """
        squared = np.zeros((len(of), len(among)))
        for axis in (0, 1):
            apart = np.abs(of[:, axis, None] - among[None, :, axis])
            squared += np.minimum(apart, self.size[axis] - apart) ** 2
        if exclude is not None:
            squared[np.arange(len(of)), exclude] = np.inf
        nearest = squared.argmin(axis=1)
        return nearest, np.sqrt(squared[np.arange(len(of)), nearest])
