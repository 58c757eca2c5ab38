"""What is logged of the world: its agents, and what happens at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm_merge.model.agents import ACTIONS, KINDS
from farm_merge.model.metrics import metrics_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm_merge.database import SimulationWriter
    from farm_merge.model.agents import Agents
    from farm_merge.model.world import Outcome, World

__all__ = ["Log"]


class Log:
    """Writes a simulation to a database, a step at a time."""

    def __init__(self, db: SimulationWriter, world: World) -> None:
        self.db = db
        self.world = world
        db.save_configuration(world.config.model_dump(mode="json"))
        self._agents(world.agents)

    def write(self, step: int, outcome: Outcome) -> None:
        """Log a step that has just been simulated."""
        logger = self.db.logger
        self._agents(outcome.born)
        logger.log_step(
            step, self._agent_states(step), self._resource_states(), metrics_of(self.world, outcome)
        )
        actions = zip(
            outcome.actors.tolist(),
            outcome.action.tolist(),
            outcome.target.tolist(),
            outcome.reward.tolist(),
            strict=True,
        )
        for agent, action, target, reward in actions:
            logger.log_agent_action(step, agent, ACTIONS[action], target, reward=reward)
        for agent, before, after, cause in outcome.incidents:
            logger.log_health_incident(step, agent, before, after, cause)
        for agent, cause in outcome.died:
            self.db.update_agent_death(agent, step, cause)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Log how the simulation ended."""
        self.db.update_simulation_status("completed", summary)

    def _agents(self, agents: Agents) -> None:
        """Log agents that have come into the world."""
        columns = zip(
            agents.id.tolist(),
            agents.kind.tolist(),
            agents.position.tolist(),
            agents.resources.tolist(),
            agents.health.tolist(),
            agents.birth_time.tolist(),
            agents.generation.tolist(),
            agents.genome.tolist(),
            agents.weights.tolist(),
            strict=True,
        )
        batch = [
            {
                "agent_id": agent,
                "birth_time": born,
                "agent_type": KINDS[kind],
                "position": tuple(position),
                "initial_resources": resources,
                "starting_health": health,
                "genome_id": genome,
                "generation": generation,
                "action_weights": dict(zip(ACTIONS, weights, strict=True)),
            }
            for (
                agent,
                kind,
                position,
                resources,
                health,
                born,
                generation,
                genome,
                weights,
            ) in columns
        ]
        if batch:
            self.db.logger.log_agents_batch(batch)

    def _agent_states(self, step: int) -> list[tuple[Any, ...]]:
        agents = self.world.agents
        return list(
            zip(
                agents.id.tolist(),
                *agents.position.T.tolist(),
                agents.resources.tolist(),
                agents.health.tolist(),
                [float(self.world.config.starting_health)] * len(agents),
                agents.starvation.tolist(),
                agents.defending.tolist(),
                agents.total_reward.tolist(),
                (step - agents.birth_time).tolist(),
                strict=True,
            )
        )

    def _resource_states(self) -> list[tuple[Any, ...]]:
        world = self.world
        return list(
            zip(
                world.resource_id.tolist(),
                world.resource_amount.tolist(),
                *world.resource_position.T.tolist(),
                strict=True,
            )
        )
