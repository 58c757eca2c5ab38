"""Metrics: what has no mean is None, and entropy is that of shares."""

from __future__ import annotations

import numpy as np
import pytest

from farm_merge.config import SimulationConfig
from farm_merge.model.metrics import metrics_of
from farm_merge.model.world import World


def test_metrics_of_an_empty_world_are_none_where_there_is_no_mean() -> None:
    world = World(SimulationConfig.from_centralized_config(population=0))
    metrics = metrics_of(world, world.advance(0))
    assert metrics["total_agents"] == 0
    assert metrics["average_agent_health"] is None
    assert metrics["genetic_diversity"] is None


def test_entropy_is_that_of_equal_shares_at_the_start() -> None:
    world = World(SimulationConfig.from_centralized_config(population=20))
    outcome = world.begin()
    assert metrics_of(world, outcome)["resource_distribution_entropy"] == pytest.approx(np.log(20))
