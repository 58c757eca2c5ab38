"""Traits: the few facts about a file's content that decide how its tables are carried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from farm_merge.merge.inputs.legacy import STATE_REFERENCES
from farm_merge.merge.inputs.mapping import Traits
from farm_merge.schema import OUR_TABLES
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farm_merge.merge.inputs.reading import Reading
    from farm_merge.merge.inputs.simulations import SimulationIds

__all__ = ["read_traits"]


def read_traits(reading: Reading, ids: SimulationIds) -> Traits:
    """Return what the content of a file decides about its mapping."""
    number: Literal["none", "one", "many"]
    number = "none" if not ids.texts else "one" if len(ids.texts) == 1 else "many"
    is_agentfarm = reading.kind == "AgentFarm"
    simulation = "t.simulation_id" if number == "many" else ":simulation_id"
    return Traits(
        number,
        ids.by_column,
        is_agentfarm and _has_original_ids(reading, simulation, ids.first),
        tuple(_state_references(reading)) if is_agentfarm else (),
        frozenset(_tables_with_null_keys(reading)),
    )


def _has_original_ids(reading: Reading, simulation: str, simulation_id: str) -> bool:
    """Return whether agent_states.id holds anything that today's generated id does not."""
    states = reading.structure.tables.get("agent_states")
    if not states or not states.column("id") or not states.column("step_number"):
        return False
    return reading.holds(
        "SELECT 1 FROM source.agent_states AS t WHERE t.id IS NOT"
        f" {simulation} || ':' || t.agent_id || '-' || t.step_number",
        simulation_id,
    )


def _state_references(reading: Reading) -> Iterator[str]:
    """Yield the columns of actions that point at states and are filled."""
    actions = reading.structure.tables.get("agent_actions")
    states = reading.structure.tables.get("agent_states")
    if not actions or not states or not states.column("id"):
        return
    for name in STATE_REFERENCES:
        filled = f"SELECT 1 FROM source.agent_actions WHERE {name} IS NOT NULL"
        if actions.column(name) and reading.holds(filled):
            yield name


def _tables_with_null_keys(reading: Reading) -> Iterator[str]:
    """Yield the tables of their own whose primary key holds NULL, as SQLite lets it."""
    for table, definition in reading.structure.tables.items():
        if reading.names[table] in OUR_TABLES or definition.merged:
            continue
        columns = map(definition.column, definition.key_names)
        nullable = [quoted(column.name) for column in columns if column and not column.not_null]
        wanted = " OR ".join(f"{name} IS NULL" for name in nullable)
        rows = f"SELECT 1 FROM source.{quoted(definition.name)} WHERE {wanted}"
        if nullable and reading.holds(rows):
            yield table
