"""The built-in model: agents on a torus that eat, fight, help, learn and multiply.

Three kinds of agents (system, independent, control) live on a torus with resources that regrow.
At every step each agent takes one action, drawn by its action weights: move, gather, share,
attack, defend or reproduce. The weights follow the rewards (a gradient bandit with a baseline;
Sutton & Barto, Reinforcement Learning, 2nd ed., section 2.8, without the softmax), and offspring
inherit them, mutated. Who has no resources starves.

Lengths are in cells of the torus, times in steps, resources and health in units of their own.
State is held in arrays, one entry an agent; all randomness is from one generator.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from numpy.typing import NDArray

    from farm_merge.config import SimulationConfig
    from farm_merge.database import SimulationWriter

    Floats = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Flags = NDArray[np.bool_]

__all__ = ["ACTIONS", "KINDS", "SimulationResult", "run_simulation"]

ACTIONS = ("move", "gather", "share", "attack", "defend", "reproduce")
MOVE, GATHER, SHARE, ATTACK, DEFEND, REPRODUCE = range(len(ACTIONS))

KINDS = ("system", "independent", "control")

_START_WEIGHTS = np.array(
    [  # move, gather, share, attack, defend, reproduce
        [0.25, 0.35, 0.15, 0.02, 0.08, 0.15],  # system: helps
        [0.25, 0.35, 0.02, 0.15, 0.08, 0.15],  # independent: fights
        [0.25, 0.35, 0.08, 0.08, 0.09, 0.15],  # control: between the two
    ]
)
_LEAST_WEIGHT = 0.01  # so that no action is ever forgotten
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


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """What came out of a simulation.

    Attributes:
        simulation_id: Its name.
        steps: Steps simulated; fewer than asked for if all agents died.
        final_population: Agents after the last step.
        births: Agents born.
        deaths: Agents that died.
        mean_reward: Of all actions of all agents.
        path: The shard, if one was made.
    """

    simulation_id: str
    steps: int
    final_population: int
    births: int
    deaths: int
    mean_reward: float
    path: str | None


def run_simulation(
    num_steps: int,
    config: SimulationConfig,
    db: SimulationWriter | None = None,
    path: str | PathLike[str] | None = None,
    simulation_id: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SimulationResult:
    """Run the built-in model and log it.

    The same `config.seed` gives the same simulation.

    Args:
        num_steps: Steps to simulate.
        config: The parameters of the model.
        db: An open database, on disk or in memory, or a simulation context, to log to. It gets
            the status "completed" and a summary of the results, and stays open.
        path: A shard to make and log to. With neither this nor `db`, nothing is logged.
        simulation_id: The name of the simulation, unless `db` has it; the stem of `path`, or
            "simulation", by default.
        progress: Called after every step with the steps done and their number.

    Raises:
        ValueError: If both `db` and `path` are given, or `num_steps` is negative.
    """
    if db is not None and path is not None:
        raise ValueError("give `db` or `path`, not both")
    if num_steps < 0:
        raise ValueError(f"num_steps is {num_steps}; it must not be negative")
    with ExitStack() as stack:
        if path is not None:
            db = stack.enter_context(_shard(path, config, simulation_id))
        world = _World(config)
        log = _Log(db, world) if db is not None else None
        totals = _Totals()
        for step in range(num_steps):
            outcome = world.advance(step)
            totals.add(outcome)
            if log is not None:
                log.write(step, outcome)
            if progress is not None:
                progress(step + 1, num_steps)
            if not len(world.agents):
                break
        result = SimulationResult(
            simulation_id=str(db.simulation_id) if db else simulation_id or "simulation",
            steps=totals.steps,
            final_population=len(world.agents),
            births=totals.births,
            deaths=totals.deaths,
            mean_reward=totals.reward / max(totals.actions, 1),
            path=str(path) if path is not None else None,
        )
        if log is not None:
            log.finish(result)
    return result


def _shard(
    path: str | PathLike[str], config: SimulationConfig, simulation_id: str | None
) -> SimulationWriter:
    from farm_merge.database import SimulationDatabase

    return SimulationDatabase(path, config, simulation_id, seed=config.seed)


# ---- What lives ----


@dataclass(slots=True)
class _Agents:
    """All living agents, one entry each, oldest first."""

    id: NDArray[np.object_]
    kind: Integers
    position: Floats  # (agents, 2), cells
    resources: Floats
    health: Floats
    starvation: Integers  # steps without resources
    defending: Flags
    total_reward: Floats
    birth_time: Integers  # steps
    generation: Integers
    genome: NDArray[np.object_]
    weights: Floats  # (agents, actions), rows add up to 1
    mean_reward: Floats

    def __len__(self) -> int:
        return len(self.id)

    def where(self, mask: Flags) -> _Agents:
        """Return the agents of a mask."""
        return _Agents(*(getattr(self, each.name)[mask] for each in fields(self)))

    def and_(self, others: _Agents) -> _Agents:
        """Return these agents and, after them, others."""
        columns = ((getattr(self, each.name), getattr(others, each.name)) for each in fields(self))
        return _Agents(*(np.concatenate(pair) for pair in columns))


@dataclass(slots=True)
class _Outcome:
    """What happened in a step.

    `action`, `target` and `reward` have an entry for each agent of `actors`: those that were alive
    when the step began. A target is an agent's or a resource's id.
    """

    actors: NDArray[np.object_]
    action: Integers
    target: NDArray[np.object_]
    reward: Floats
    incidents: list[tuple[str, float, float, str]]  # agent, health before and after, cause
    born: _Agents
    died: list[tuple[str, str]]  # agent, cause
    demanded: float = 0.0
    gathered: float = 0.0
    consumed: float = 0.0


@dataclass(slots=True)
class _Totals:
    """Sums over steps."""

    steps: int = 0
    births: int = 0
    deaths: int = 0
    actions: int = 0
    reward: float = 0.0

    def add(self, outcome: _Outcome) -> None:
        """Count a step."""
        self.steps += 1
        self.births += len(outcome.born)
        self.deaths += len(outcome.died)
        self.actions += len(outcome.actors)
        self.reward += float(outcome.reward.sum())


class _World:
    """The torus, its resources and its agents."""

    def __init__(self, config: SimulationConfig) -> None:
        self.config = config
        self.rng = np.random.default_rng(config.seed)
        self.size = np.array([config.width, config.height], dtype=np.float64)
        self.step = 0  # the one simulated last
        self._counter = 0
        self.resource_id = self._new_ids("resource", config.resources)
        self.resource_position = self._anywhere(config.resources)
        self.resource_amount = np.full(config.resources, float(config.initial_resource_amount))
        counts = [config.system_agents, config.independent_agents, config.control_agents]
        self.agents = self._founders(np.repeat(np.arange(len(KINDS)), counts))

    def advance(self, step: int) -> _Outcome:
        """Simulate a step and return what happened."""
        self.step = step
        outcome = self._begin()
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

    def _new_ids(self, what: str, number: int) -> NDArray[np.object_]:
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
        return self.rng.random((number, 2)) * self.size

    def _founders(self, kind: Integers) -> _Agents:
        number = len(kind)
        return _Agents(
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
            weights=_normalised(_START_WEIGHTS[kind] * self.rng.uniform(0.8, 1.2, (number, 6))),
            mean_reward=np.zeros(number),
        )

    def _begin(self) -> _Outcome:
        """Let every agent choose its action, by its weights."""
        agents = self.agents
        below = self.rng.random((len(agents), 1)) > np.cumsum(agents.weights, axis=1)
        return _Outcome(
            actors=agents.id,
            action=np.minimum(below.sum(axis=1), len(ACTIONS) - 1),
            target=np.full(len(agents), None, dtype=object),
            reward=np.zeros(len(agents)),
            incidents=[],
            born=agents.where(np.zeros(len(agents), dtype=np.bool_)),
            died=[],
        )

    # -- Actions --

    def _move(self, outcome: _Outcome) -> None:
        """Go towards the nearest resource that has something, or anywhere; reward coming nearer."""
        movers = np.flatnonzero(outcome.action == MOVE)
        reach = float(self.config.movement_range)
        start = self.agents.position[movers]
        length = reach * self.rng.random(len(movers))
        heading = self.rng.uniform(-np.pi, np.pi, len(movers))
        food = np.flatnonzero(self.resource_amount > 0)
        if len(food) and len(movers):
            nearest, distance = self._nearest(start, self.resource_position[food])
            goal = self.resource_position[food[nearest]]
            way = self._shortest(goal - start)
            noise = self.rng.normal(0.0, _HEADING_NOISE, len(movers))
            heading = np.arctan2(way[:, 1], way[:, 0]) + noise
            length = np.minimum(length, distance)
        stride = length[:, None] * np.column_stack([np.cos(heading), np.sin(heading)])
        end = (start + stride) % self.size
        self.agents.position[movers] = end
        if len(food) and len(movers):
            nearer = distance - np.hypot(*self._shortest(goal - end).T)
            outcome.reward[movers] = _REWARD_NEARER * nearer / max(reach, _TINY)

    def _gather(self, outcome: _Outcome) -> None:
        """Take from the nearest resource; who takes from the same one gets a proportional share."""
        gatherers = np.flatnonzero(outcome.action == GATHER)
        amount = float(self.config.gather_amount)
        outcome.reward[gatherers] = _REWARD_IN_VAIN
        outcome.demanded = amount * len(gatherers)
        food = np.flatnonzero(self.resource_amount > 0)
        if not len(food) or not len(gatherers):
            return
        nearest, distance = self._nearest(
            self.agents.position[gatherers], self.resource_position[food]
        )
        near = distance <= self.config.gather_range
        who, what = gatherers[near], food[nearest[near]]
        demand = np.bincount(what, minlength=len(self.resource_amount)) * amount
        taken = np.minimum(self.resource_amount, demand)
        each = amount * (taken[what] / np.maximum(demand[what], _TINY))
        self.resource_amount -= taken
        self.agents.resources[who] += each
        outcome.gathered = float(each.sum())
        outcome.reward[who] = each / max(amount, _TINY)
        outcome.target[who] = self.resource_id[what]

    def _share(self, outcome: _Outcome) -> None:
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

    def _fight(self, outcome: _Outcome) -> None:
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

    def _reproduce(self, outcome: _Outcome) -> None:
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

    def _offspring(self, parents: Integers) -> _Agents:
        """Return children: weights are the parent's, some mutated; a mutation is a new genome."""
        config, older = self.config, self.agents
        born = self._founders(older.kind[parents])
        mutated = self.rng.random(born.weights.shape) < config.mutation_rate
        change = self.rng.normal(0.0, config.mutation_scale, born.weights.shape)
        born.weights = _normalised(older.weights[parents] + np.where(mutated, change, 0.0))
        born.genome = np.where(mutated.any(axis=1), born.genome, older.genome[parents])
        born.position = older.position[parents].copy()
        born.resources[:] = config.offspring_initial_resources
        born.birth_time[:] = self.step
        born.generation = older.generation[parents] + 1
        return born

    # -- Consequences --

    def _learn(self, outcome: _Outcome) -> None:
        """Move the weight of the action taken by learning_rate * (reward - mean reward)."""
        agents = self.agents
        surprise = outcome.reward - agents.mean_reward
        rows = np.arange(len(agents))
        agents.weights[rows, outcome.action] += self.config.learning_rate * surprise
        agents.weights = _normalised(agents.weights)
        agents.mean_reward += _BASELINE_MEMORY * surprise
        agents.total_reward += outcome.reward

    def _consume(self, outcome: _Outcome) -> None:
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

    def _bury(self, outcome: _Outcome) -> None:
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

    def _note(self, outcome: _Outcome, hurt: Flags, before: Floats, cause: str) -> None:
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

    # -- The torus --

    def _shortest(self, way: Floats) -> Floats:
        """Return the shortest way round the torus, in cells with sign."""
        return way - self.size * np.round(way / self.size)

    def _nearest(
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

    def _pairs(self, mask: Flags, reach: float) -> tuple[Integers, Integers]:
        """Return the agents of a mask that have another within reach, and the nearest other."""
        actors = np.flatnonzero(mask)
        if not len(actors):
            return actors, actors
        position = self.agents.position
        nearest, distance = self._nearest(position[actors], position, exclude=actors)
        near = distance <= reach
        return actors[near], nearest[near]


def _normalised(weights: Floats) -> Floats:
    """Return weights that are not below the least weight and add up to 1 for each agent."""
    kept = np.maximum(weights, _LEAST_WEIGHT)
    return np.asarray(kept / kept.sum(axis=1, keepdims=True))


# ---- What is measured ----


def _metrics(world: _World, outcome: _Outcome) -> dict[str, Any]:
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


# ---- What is logged ----


class _Log:
    """Writes a simulation to a database, a step at a time."""

    def __init__(self, db: SimulationWriter, world: _World) -> None:
        self.db = db
        self.world = world
        db.save_configuration(world.config.model_dump(mode="json"))
        self._agents(world.agents)

    def write(self, step: int, outcome: _Outcome) -> None:
        """Log a step that has just been simulated."""
        logger = self.db.logger
        self._agents(outcome.born)
        logger.log_step(
            step, self._agent_states(step), self._resource_states(), _metrics(self.world, outcome)
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

    def finish(self, result: SimulationResult) -> None:
        """Log how the simulation ended."""
        summary = asdict(result)
        del summary["simulation_id"], summary["path"]
        self.db.update_simulation_status("completed", summary)

    def _agents(self, agents: _Agents) -> None:
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
