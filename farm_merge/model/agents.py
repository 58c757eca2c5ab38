"""Who lives in the model: what agents are, and what they can do."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ACTIONS",
    "ATTACK",
    "DEFEND",
    "GATHER",
    "KINDS",
    "MOVE",
    "REPRODUCE",
    "SHARE",
    "START_WEIGHTS",
    "Agents",
    "Flags",
    "Floats",
    "Integers",
    "Objects",
    "normalised",
]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Objects = NDArray[np.object_]

ACTIONS = ("move", "gather", "share", "attack", "defend", "reproduce")
MOVE, GATHER, SHARE, ATTACK, DEFEND, REPRODUCE = range(len(ACTIONS))

KINDS = ("system", "independent", "control")

START_WEIGHTS = np.array(
    [  # move, gather, share, attack, defend, reproduce
        [0.25, 0.35, 0.15, 0.02, 0.08, 0.15],  # system: helps
        [0.25, 0.35, 0.02, 0.15, 0.08, 0.15],  # independent: fights
        [0.25, 0.35, 0.08, 0.08, 0.09, 0.15],  # control: between the two
    ]
)
_LEAST_WEIGHT = 0.01  # so that no action is ever forgotten


@dataclass(slots=True)
class Agents:
    """All living agents, one entry each, oldest first."""

    id: Objects
    kind: Integers
    position: Floats  # (agents, 2), cells
    resources: Floats
    health: Floats
    starvation: Integers  # steps without resources
    defending: Flags
    total_reward: Floats
    birth_time: Integers  # steps
    generation: Integers
    genome: Objects
    weights: Floats  # (agents, actions), rows add up to 1
    mean_reward: Floats

    def __len__(self) -> int:
        return len(self.id)

    def where(self, mask: Flags) -> Agents:
        """Return the agents of a mask."""
        return Agents(*(getattr(self, field.name)[mask] for field in fields(self)))

    def and_(self, others: Agents) -> Agents:
        """Return these agents and, after them, others."""
        columns = (
            (getattr(self, field.name), getattr(others, field.name)) for field in fields(self)
        )
        return Agents(*(np.concatenate(pair) for pair in columns))


def normalised(weights: Floats) -> Floats:
    """Return weights that are not below the least weight and add up to 1 for each agent."""
    kept = np.maximum(weights, _LEAST_WEIGHT)
    return np.asarray(kept / kept.sum(axis=1, keepdims=True))
