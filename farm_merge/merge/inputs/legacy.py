"""AgentFarm's tables through the years, and what they are called today: data, no code.

No era marks its files, so an era is known by its tables and columns. Names are matched in lower
case. SQL reads the row as `t` and the file as `source`. Taken from the history of
Dooders/AgentFarm up to June 2026; `docs/legacy.md` describes it.
"""

from __future__ import annotations

__all__ = [
    "COLUMNS",
    "DERIVED",
    "ERAS",
    "MARKS",
    "SHAPES",
    "STATE_REFERENCES",
    "STEP_METRICS",
    "TABLES",
    "TEXT_IDS",
]

TABLES = {
    # Today's tables.
    "agents": "agents",
    "agentstates": "agent_states",
    "agent_states": "agent_states",
    "resourcestates": "resource_states",
    "resource_states": "resource_states",
    "simulationsteps": "simulation_steps",
    "simulation_steps": "simulation_steps",
    "agentactions": "agent_actions",
    "agent_actions": "agent_actions",
    "healthincidents": "health_incidents",
    "health_incidents": "health_incidents",
    "simulationconfig": "simulation_config",
    "simulation_config": "simulation_config",
    "simulations": "simulations",
    "experiments": "experiments",
    # Tables that today's schema does not have; they stay tables of their own.
    "resources": "resources",
    "simulationmetrics": "simulation_metrics",
    "learningexperiences": "learning_experiences",
    "combatevents": "combat_events",
    "sharingevents": "sharing_events",
}
"""What a table of an AgentFarm file is called here; others keep their name."""

SHAPES = {
    "agents": {
        "agent_id", "birth_time", "death_time", "agent_type", "initial_position_x",
        "initial_position_y", "initial_resources",
    },
    "agent_states": {
        "state_id", "agent_id", "step_id", "position_x", "position_y", "resource_level", "alive",
    },
    "resource_states": {"state_id", "resource_id", "step_id", "amount"},
    "resources": {"resource_id", "initial_amount", "position_x", "position_y"},
    "simulation_steps": {"step_id", "step_number", "timestamp"},
    "simulation_metrics": {"metric_id", "step_id", "metric_name", "metric_value"},
}  # fmt: skip
"""The exact columns of era 1, whose tables may have any name (from 2024-11-03)."""

MARKS = frozenset({"agent_id", "birth_time", "death_time", "agent_type", "initial_resources"})
"""Columns that AgentFarm's table of agents has had in every era, and that other models' tables of
agents have in part at most."""

ERAS = (
    ("8 (2025-11 to today)", "simulation_steps", {"agent_type_counts"}),
    ("7 (2025-10)", "agent_actions", {"module_type", "simulation_id"}),
    ("6 (2025-08 to 2025-10)", "interactions", {"simulation_id"}),
    ("6 (2025-08 to 2025-10)", "agent_states", {"starvation_counter"}),
    ("5 (2025-03 to 2025-08)", "agent_states", {"simulation_id"}),
    ("4 (2024-12 to 2025-03)", "agents", {"starting_health"}),
    ("4 (2024-12 to 2025-03)", "agents", {"action_weights"}),
    ("3 (2024-11 to 2024-12)", "agent_states", {"id"}),
    ("2 (2024-11)", "agent_states", {"step_number"}),
    ("1 (2024-11)", "agent_states", {"step_id"}),
)
"""The first line whose table, by its name here, has these columns names the era."""

COLUMNS = {
    ("agents", "initial_position_x"): "position_x",
    ("agents", "initial_position_y"): "position_y",
    ("agents", "max_health"): "starting_health",
    ("agent_states", "max_health"): "starting_health",
    ("resource_states", "state_id"): "id",
}
"""What a column is called today; others keep their name, and are added where they are unknown."""

TEXT_IDS = frozenset(
    {
        "agent_id", "parent_id", "offspring_id", "initiator_id", "recipient_id", "resource_id",
        "source_id", "target_id", "attacker_id", "defender_id",
    }
)  # fmt: skip
"""Ids of agents and resources: integers until 2024-12, text today, and joined across the eras."""

DERIVED = {
    ("simulation_steps", "agent_type_counts"): (
        {"system_agents", "independent_agents", "control_agents"},
        (
            "json_object('system', t.system_agents, 'independent', t.independent_agents,"
            " 'control', t.control_agents)"
        ),
    ),
}
"""Columns of today that are made from columns of then, which are kept as well."""

STATE_REFERENCES = ("state_before_id", "state_after_id")
"""Columns of `agent_actions` that point at `agent_states.id` (2024-12 to 2025-10)."""

STEP_METRICS = (
    "total_agents", "total_resources", "average_agent_resources", "births", "deaths",
    "current_max_generation", "resource_efficiency", "resource_distribution_entropy",
    "average_agent_health", "average_agent_age", "average_reward", "genetic_diversity",
    "dominant_genome_ratio", "resources_consumed",
)  # fmt: skip
"""Metrics that era 1 kept in a tall table (a name and a value a row), and today in columns."""
