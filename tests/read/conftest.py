"""An experiment whose results are known."""

from __future__ import annotations

import pytest

from farm_merge import SimulationDatabase
from farm_merge.merge import merge_shards

RUNS = {"a1": (0.1, 1), "a2": (0.1, 2), "b1": (0.5, 1), "b2": (0.5, 2)}


@pytest.fixture
def four_runs(tmp_path):
    """Two parameter sets with two repetitions each."""
    for number, (simulation_id, (rate, repetition)) in enumerate(RUNS.items()):
        parameters = {"learning_rate": rate, "repetition": repetition, "world": {"size": 10}}
        with SimulationDatabase(
            tmp_path / f"{simulation_id}.db", simulation_id=simulation_id, parameters=parameters
        ) as db:
            for step in range(3):
                db.logger.log_step(
                    step_number=step,
                    agent_states=[],
                    resource_states=[],
                    metrics={"total_agents": 10 * (number + 1) + step, "births": step},
                )
            for agent in range(number + 1):
                db.logger.log_agent(
                    agent_id=f"agent_{agent}",
                    birth_time=0,
                    agent_type="S",
                    position=(0.0, 0.0),
                    initial_resources=1.0,
                    starting_health=1.0,
                )
            for action in range(4):
                db.logger.log_agent_action(
                    step_number=0,
                    agent_id="agent_0",
                    action_type="move" if action else "eat",
                    reward=float(number),
                )
            db.update_simulation_status("failed" if simulation_id == "b2" else "completed")
    output = tmp_path / "exp.db"
    merge_shards([tmp_path / f"{simulation_id}.db" for simulation_id in RUNS], output)
    return output
