"""The world: populations live on, learning matters, nothing comes from nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from farm_merge.config import SimulationConfig
from farm_merge.model.world import World


def config(**values: Any) -> SimulationConfig:
    return SimulationConfig.from_centralized_config(**values)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("population", [10, 50, 100])
def test_populations_neither_die_out_nor_fill_the_world(rate: float, population: int) -> None:
    settings = config(learning_rate=rate, population=population)
    world = World(settings)
    sizes = []
    for step in range(200):
        world.advance(step)
        sizes.append(len(world.agents))
    assert 0 < min(sizes) < max(sizes) < settings.max_population


def test_the_learning_rate_matters() -> None:
    def learned(rate: float) -> float:
        """Return how far the founders' weights have moved after ten steps."""
        world = World(config(population=60, learning_rate=rate, seed=5))
        before = world.agents.weights.copy()
        names = world.agents.id
        for step in range(10):
            world.advance(step)
        left = np.isin(names, world.agents.id)
        return float(np.abs(world.agents.weights[: left.sum()] - before[left]).sum(axis=1).mean())

    distances = [learned(rate) for rate in (0.0, 0.01, 0.1, 1.0)]
    assert distances[0] == pytest.approx(0.0, abs=1e-9)
    assert distances == sorted(distances)
    assert distances[3] > 10 * distances[1]


def test_resources_are_neither_made_nor_lost_by_agents() -> None:
    world = World(config(resource_regen_rate=0.0, population=60, attack_damage=0.0))
    for step in range(5):
        before = world.resource_amount.sum() + world.agents.resources.sum()
        cost = world.config.offspring_cost - world.config.offspring_initial_resources
        outcome = world.advance(step)
        after = world.resource_amount.sum() + world.agents.resources.sum()
        assert after == pytest.approx(before - outcome.consumed - cost * len(outcome.born))
