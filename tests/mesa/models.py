"""Models that processes of a batch can import."""

from __future__ import annotations

import inspect
import os
import sys
from pathlib import Path

import mesa


class Walker(mesa.Agent):
    """Walks up and down."""

    x = 0

    def step(self) -> None:
        self.x += self.random.choice([-1, 0, 1])


class Walkers(mesa.Model):
    """Walkers that report where they are; some parameters end their run badly."""

    def __init__(self, n=3, width=5, stop=None, fault=None, seed=None) -> None:
        super().__init__(**{"rng" if "scenario" in _MODEL else "seed": seed})
        self.n, self.width, self.stop, self.fault = n, width, stop, fault
        Walker.create_agents(self, n)
        self.datacollector = mesa.DataCollector(
            model_reporters={
                "Total": lambda model: sum(agent.x for agent in model.agents),
                "Half": lambda model: model.steps / 2,
                "Never": lambda model: None,
                "Shape": lambda model: {"width": model.width},
            },
            agent_reporters={"X": "x", "Name": lambda agent: f"walker {agent.unique_id}"},
            agenttype_reporters={Walker: {"Twice": lambda agent: 2 * agent.x}},
            tables={"agents": ["who", "what"], "Births": ["agent", "at"]},
        )
        for agent in self.agents:
            self.datacollector.add_table_row("Births", {"agent": agent.unique_id, "at": 0})
        self.datacollector.add_table_row("agents", {"who": {1, 2}, "what": 2**70})
        self.datacollector.collect(self)

    def step(self) -> None:
        if self.fault == "raise" and self.steps > 1:
            raise RuntimeError("walked away")
        if self.fault and self.fault.startswith("kill") and self.steps > 1:
            os._exit(1)
        if self.fault and Path(self.fault).exists():
            sys.exit("asked to stop")
        self.agents.shuffle_do("step")
        self.datacollector.collect(self)
        self.datacollector.add_table_row("Births", {"agent": 1, "at": self.steps})
        self.running = self.stop is None or self.steps < self.stop


_MODEL = inspect.signature(mesa.Model).parameters


def shipped(model_cls: type[mesa.Model], seed: int) -> mesa.Model:
    """Make one of the models that Mesa ships, whatever its version wants of it."""
    wanted = inspect.signature(model_cls).parameters
    more = {}
    if "simulator" in wanted:
        from mesa.experimental.devs import ABMSimulator

        more["simulator"] = ABMSimulator()
    if "scenario" in wanted:
        module = sys.modules[model_cls.__module__]
        names = [name for name in vars(module) if name.endswith("Scenario") and name != "Scenario"]
        return model_cls(scenario=getattr(module, names[0])(rng=seed), **more)
    return model_cls(**{"seed" if "seed" in wanted else "rng": seed}, **more)
