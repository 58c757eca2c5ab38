"""What is measured of the world at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from farm_merge.model.agents import KINDS

if TYPE_CHECKING:
    from farm_merge.model.agents import Floats, Integers
    from farm_merge.model.world import Outcome, World

__all__ = ["metrics_of"]


def metrics_of(world: World, outcome: Outcome) -> dict[str, Any]:
    """Return the row of `simulation_steps` for a step that has just been simulated.

    Averages are over living agents, except that of the reward, which is over the step's actions;
    they are None without any.

    - `resource_efficiency`: resources gathered by those that gather would take at best, 0 to 1.
    - `resource_distribution_entropy`: Shannon entropy of the agents' shares of what they hold
      together, in nats; ln(agents) if all hold the same.
    - `genetic_diversity`: distinct genomes by agents, 0 to 1.
    - `dominant_genome_ratio`: agents of the most frequent genome by agents, 0 to 1.
    - `resources_consumed`: what agents lived on in this step, in units of resources.
    """
    agents = world.agents
    number = len(agents)
    genomes = np.unique(agents.genome, return_counts=True)[1]
    age = _mean(world.step - agents.birth_time)
    return {
        "total_agents": number,
        "agent_type_counts": {
            kind: int(count)
            for kind, count in zip(KINDS, np.bincount(agents.kind, minlength=3), strict=True)
        },
        "total_resources": float(world.resource_amount.sum()),
        "average_agent_resources": _mean(agents.resources),
        "births": len(outcome.born),
        "deaths": len(outcome.died),
        "current_max_generation": int(agents.generation.max(initial=0)),
        "resource_efficiency": outcome.gathered / outcome.demanded if outcome.demanded else 0.0,
        "resource_distribution_entropy": _entropy(agents.resources),
        "average_agent_health": _mean(agents.health),
        "average_agent_age": None if age is None else round(age),
        "average_reward": _mean(outcome.reward),
        "genetic_diversity": len(genomes) / number if number else None,
        "dominant_genome_ratio": int(genomes.max()) / number if number else None,
        "resources_consumed": outcome.consumed,
    }


def _mean(values: Floats | Integers) -> float | None:
    return float(values.mean()) if len(values) else None


def _entropy(amounts: Floats) -> float:
    """Return the Shannon entropy of shares of a whole, in nats."""
    held = amounts[amounts > 0]
    shares = held / held.sum()
    return float(-(shares * np.log(shares)).sum()) + 0.0
