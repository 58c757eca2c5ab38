"""What tests log: a state, a resource, and a run of a few steps with both."""

from __future__ import annotations

from typing import Any

STATE = ("a1", 1.0, 2.0, 3.0, 90.0, 100.0, 0, False, 0.5, 7)
RESOURCE = ("r1", 5.0, 1.0, 1.0)


def write(db: Any, steps: int = 3) -> None:
    """Log an agent, some steps of its life, and a configuration."""
    db.logger.log_agent("a1", 0, "system", (1.0, 2.0), 5.0, 100.0)
    for step in range(steps):
        db.logger.log_step(step, [STATE], [RESOURCE], {"total_agents": 1})
        db.logger.log_agent_action(step, "a1", "move")
    db.save_configuration({"n": steps})
