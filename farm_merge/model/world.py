"""The world: the torus, its resources and its agents, advanced step by step."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from farm_merge.model.agents import (
    ACTIONS,
    ATTACK,
    DEFEND,
    GATHER,
    KINDS,
    MOVE,
    REPRODUCE,
    SHARE,
    START_WEIGHTS,
    Agents,
    normalised,
)
from farm_merge.model.torus import Torus

if TYPE_CHECKING:
    from farm_merge.config import SimulationConfig
    from farm_merge.model.agents import Flags, Floats, Integers, Objects

__all__ = ["Outcome", "World"]

_BASELINE_MEMORY = 0.1  # the share of the newest reward in an agent's mean reward
_HEADING_NOISE = 0.5  # radians, standard deviation
_TINY = 1e-300  # keeps a division by an amount or range that is zero defined
_RECOVERY = 0.02  # of the starting health, by step with resources

# Rewards; those without a unit of their own are fractions of the best possible outcome.
_REWARD_NEARER = 0.3
_REWARD_SHARED = 0.3
_REWARD_HIT = 0.5
_REWARD_PARRIED = 0.5
_REWARD_OFFSPRING = 1.0
_REWARD_IN_VAIN = -0.1


@dataclass(slots=True)
class Outcome:
    """What happened in a step.

    `action`, `target` and `reward` have an entry for every agent of `actors`: those that were alive
    when the step began. A target is an agent's or a resource's id.
    """

    actors: Objects
    action: Integers
    target: Objects
    reward: Floats
    incidents: list[tuple[str, float, float, str]]  # agent, health before and after, cause
    born: Agents
    died: list[tuple[str, str]]  # agent, cause
    demanded: float = 0.0
    gathered: float = 0.0
    consumed: float = 0.0


class World:
    """The torus, its resources and its agents."""

    def __init__(self, config: SimulationConfig) -> None:
        self.config = config
        self.rng = np.random.default_rng(config.seed)
        self.torus = Torus(config.width, config.height)
        self.step = 0  # the one simulated last
        self._counter = 0
        self.resource_id = self._new_ids("resource", config.resources)
        self.resource_position = self._anywhere(config.resources)
        self.resource_amount = np.full(config.resources, float(config.initial_resource_amount))
        counts = [config.system_agents, config.independent_agents, config.control_agents]
        self.agents = self._founders(np.repeat(np.arange(len(KINDS)), counts))

    def advance(self, step: int) -> Outcome:
        """Simulate a step and return what happened."""
        self.step = step
        outcome = self.begin()
        self.agents.defending = outcome.action == DEFEND
        self._move(outcome)
        self._gather(outcome)
        self._share(outcome)
        self._fight(outcome)
        self._reproduce(outcome)
        self._learn(outcome)
        self._consume(outcome)
        self._bury(outcome)
        self.agents = self.agents.and_(outcome.born)
        self._regrow()
        return outcome

    # -- Beginnings --

    def _new_ids(self, what: str, number: int) -> Objects:
        """Return ids that depend on the seed and on how many were given out before."""
        first = self._counter
        self._counter += number
        seed = self.config.seed
        ids = np.empty(number, dtype=object)
        for place in range(number):
            digest = blake2b(f"{seed}:{first + place}".encode(), digest_size=5).hexdigest()
            ids[place] = f"{what}_{digest}"
        return ids

    def _anywhere(self, number: int) -> Floats:
        return self.rng.random((number, 2)) * self.torus.size

    def _founders(self, kind: Integers) -> Agents:
        number = len(kind)
        return Agents(
            id=self._new_ids("agent", number),
            kind=kind,
            position=self._anywhere(number),
            resources=np.full(number, float(self.config.initial_agent_resources)),
            health=np.full(number, float(self.config.starting_health)),
            starvation=np.zeros(number, dtype=np.int64),
            defending=np.zeros(number, dtype=np.bool_),
            total_reward=np.zeros(number),
            birth_time=np.zeros(number, dtype=np.int64),
            generation=np.zeros(number, dtype=np.int64),
            genome=self._new_ids("genome", number),
            weights=normalised(START_WEIGHTS[kind] * self.rng.uniform(0.8, 1.2, (number, 6))),
            mean_reward=np.zeros(number),
        )

    def begin(self) -> Outcome:
        """Let every agent choose its action, by its weights."""
        agents = self.agents
        below = self.rng.random((len(agents), 1)) > np.cumsum(agents.weights, axis=1)
        return Outcome(
            actors=agents.id,
            action=np.minimum(below.sum(axis=1), len(ACTIONS) - 1),
            target=np.full(len(agents), None, dtype=object),
            reward=np.zeros(len(agents)),
            incidents=[],
            born=agents.where(np.zeros(len(agents), dtype=np.bool_)),
            died=[],
        )

    # -- Actions --

    def _move(self, outcome: Outcome) -> None:
        """Go towards the nearest resource that has something, or anywhere; reward coming nearer."""
        movers = np.flatnonzero(outcome.action == MOVE)
        reach = float(self.config.movement_range)
        start = self.agents.position[movers]
        length = reach * self.rng.random(len(movers))
        heading = self.rng.uniform(-np.pi, np.pi, len(movers))
        food = np.flatnonzero(self.resource_amount > 0)
        if len(food) and len(movers):
            nearest, distance = self.torus.nearest(start, self.resource_position[food])
            goal = self.resource_position[food[nearest]]
            way = self.torus.shortest(goal - start)
            noise = self.rng.normal(0.0, _HEADING_NOISE, len(movers))
            heading = np.arctan2(way[:, 1], way[:, 0]) + noise
            length = np.minimum(length, distance)
        stride = length[:, None] * np.column_stack([np.cos(heading), np.sin(heading)])
        end = (start + stride) % self.torus.size
        self.agents.position[movers] = end
        if len(food) and len(movers):
            nearer = distance - np.hypot(*self.torus.shortest(goal - end).T)
            outcome.reward[movers] = _REWARD_NEARER * nearer / max(reach, _TINY)

    def _gather(self, outcome: Outcome) -> None:
        """Take from the nearest resource; who takes from the same one gets a proportional share."""
        gatherers = np.flatnonzero(outcome.action == GATHER)
        amount = float(self.config.gather_amount)
        outcome.reward[gatherers] = _REWARD_IN_VAIN
        outcome.demanded = amount * len(gatherers)
        food = np.flatnonzero(self.resource_amount > 0)
        if not len(food) or not len(gatherers):
            return
        nearest, distance = self.torus.nearest(
            self.agents.position[gatherers], self.resource_position[food]
        )
        near = distance <= self.config.gather_range
        who, what = gatherers[near], food[nearest[near]]
        demand = np.bincount(what, minlength=len(self.resource_amount)) * amount
        taken = np.minimum(self.resource_amount, demand)
        shares = amount * (taken[what] / np.maximum(demand[what], _TINY))
        self.resource_amount -= taken
        self.agents.resources[who] += shares
        outcome.gathered = float(shares.sum())
        outcome.reward[who] = shares / max(amount, _TINY)
        outcome.target[who] = self.resource_id[what]

    def _share(self, outcome: Outcome) -> None:
        """Give to the nearest agent, if it has less."""
        givers, takers = self._pairs(outcome.action == SHARE, self.config.share_range)
        outcome.reward[outcome.action == SHARE] = _REWARD_IN_VAIN
        amount = float(self.config.share_amount)
        resources = self.agents.resources
        able = (resources[givers] >= amount) & (resources[takers] < resources[givers])
        givers, takers = givers[able], takers[able]
        resources[givers] -= amount
        np.add.at(resources, takers, amount)
        outcome.reward[givers] = _REWARD_SHARED
        outcome.target[givers] = self.agents.id[takers]

    def _fight(self, outcome: Outcome) -> None:
        """Hit the nearest agent; defence halves the damage, and pays only against an attack."""
        agents = self.agents
        attackers, victims = self._pairs(outcome.action == ATTACK, self.config.attack_range)
        outcome.reward[(outcome.action == ATTACK) | agents.defending] = _REWARD_IN_VAIN
        strength = np.where(agents.defending[victims], 0.5, 1.0)
        damage = np.bincount(victims, strength * self.config.attack_damage, minlength=len(agents))
        before = agents.health
        agents.health = np.maximum(before - damage, 0.0)
        self._note(outcome, damage > 0, before, "combat")
        outcome.reward[attackers] = _REWARD_HIT * strength
        outcome.reward[agents.defending & (damage > 0)] = _REWARD_PARRIED
        outcome.target[attackers] = agents.id[victims]

    def _reproduce(self, outcome: Outcome) -> None:
        """Let those multiply that have enough, while there is room for more agents."""
        agents, config = self.agents, self.config
        willing = outcome.action == REPRODUCE
        outcome.reward[willing] = _REWARD_IN_VAIN
        rich = agents.resources >= max(config.reproduction_threshold, config.offspring_cost)
        parents = np.flatnonzero(willing & rich & (agents.health > 0))
        room = max(config.max_population - len(agents), 0)
        parents = np.sort(self.rng.permutation(parents)[:room])
        agents.resources[parents] -= config.offspring_cost
        outcome.reward[parents] = _REWARD_OFFSPRING
        outcome.born = self._offspring(parents)
        outcome.target[parents] = outcome.born.id

    def _offspring(self, parents: Integers) -> Agents:
        """Return children: weights are the parent's, some mutated; a mutation is a new genome."""
        config, older = self.config, self.agents
        born = self._founders(older.kind[parents])
        mutated = self.rng.random(born.weights.shape) < config.mutation_rate
        change = self.rng.normal(0.0, config.mutation_scale, born.weights.shape)
        born.weights = normalised(older.weights[parents] + np.where(mutated, change, 0.0))
        born.genome = np.where(mutated.any(axis=1), born.genome, older.genome[parents])
        born.position = older.position[parents].copy()
        born.resources[:] = config.offspring_initial_resources
        born.birth_time[:] = self.step
        born.generation = older.generation[parents] + 1
        return born

    # -- Consequences --

    def _learn(self, outcome: Outcome) -> None:
        """Move the weight of the action taken by learning_rate * (reward - mean reward)."""
        agents = self.agents
        surprise = outcome.reward - agents.mean_reward
        rows = np.arange(len(agents))
        agents.weights[rows, outcome.action] += self.config.learning_rate * surprise
        agents.weights = normalised(agents.weights)
        agents.mean_reward += _BASELINE_MEMORY * surprise
        agents.total_reward += outcome.reward

    def _consume(self, outcome: Outcome) -> None:
        """Live on resources; without any, lose health until the starvation limit is reached."""
        agents, config = self.agents, self.config
        eaten = np.minimum(agents.resources, config.consumption)
        agents.resources -= eaten
        outcome.consumed = float(eaten.sum())
        starving = (agents.resources <= 0) & (agents.health > 0)
        agents.starvation = np.where(starving, agents.starvation + 1, 0)
        before = agents.health
        full = float(config.starting_health)
        loss = np.where(starving, full / config.starvation_limit, 0.0)
        gain = np.where(~starving & (before > 0), _RECOVERY * full, 0.0)
        after = np.clip(before - loss + gain, 0.0, full)
        after[agents.starvation >= config.starvation_limit] = 0.0
        agents.health = after
        self._note(outcome, starving, before, "starvation")

    def _bury(self, outcome: Outcome) -> None:
        """Remove who has no health left; the cause of death is that of the last incident."""
        dead = self.agents.health <= 0
        causes = {agent: cause for agent, _, _, cause in outcome.incidents}
        outcome.died = [
            (agent, f"death by {causes[agent]}") for agent in self.agents.id[dead].tolist()
        ]
        self.agents = self.agents.where(~dead)

    def _regrow(self) -> None:
        """Let some resources grow, none above its maximum."""
        config = self.config
        grows = self.rng.random(len(self.resource_amount)) < config.resource_regen_rate
        self.resource_amount = np.minimum(
            self.resource_amount + grows * config.resource_regen_amount,
            np.maximum(self.resource_amount, config.max_resource_amount),
        )

    def _note(self, outcome: Outcome, hurt: Flags, before: Floats, cause: str) -> None:
        agents = self.agents
        outcome.incidents += [
            (agent, was, now, cause)
            for agent, was, now in zip(
                agents.id[hurt].tolist(),
                before[hurt].tolist(),
                agents.health[hurt].tolist(),
                strict=True,
            )
        ]

    def _pairs(self, mask: Flags, reach: float) -> tuple[Integers, Integers]:
        """Return the agents of a mask that have another within reach, and the nearest other."""
        actors = np.flatnonzero(mask)
        if not len(actors):
            return actors, actors
        position = self.agents.position
        nearest, distance = self.torus.nearest(position[actors], position, exclude=actors)
        near = distance <= reach
        return actors[near], nearest[near]
