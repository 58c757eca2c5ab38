"""The torus: the way round may be the shortest."""

from __future__ import annotations

import numpy as np
import pytest

from farm_merge.model.torus import Torus


def test_the_nearest_may_be_round_the_edge() -> None:
    places = np.array([[5.0, 10.0], [9.5, 0.5]])
    nearest, distance = Torus(10, 20).nearest(np.array([[0.5, 19.5]]), places)
    assert nearest.tolist() == [1]
    assert distance[0] == pytest.approx(np.sqrt(2))


def test_the_shortest_way_has_a_direction() -> None:
    ways = np.array([[9.0, 0.0], [-4.0, 11.0]])
    assert Torus(10, 20).shortest(ways).tolist() == [[-1.0, 0.0], [-4.0, -9.0]]
