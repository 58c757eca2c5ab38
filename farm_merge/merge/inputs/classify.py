"""Classify: which schema a file has, and what its tables are called in an experiment database."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from farm_merge.merge.inputs import legacy
from farm_merge.merge.tables.definition import folded
from farm_merge.merge.tables.structure import Structure, is_ours
from farm_merge.schema import METADATA_TABLES, OUR_TABLES

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from farm_merge.merge.inputs.mapping import Kind
    from farm_merge.merge.options import SourceSchema

__all__ = ["classify", "target_names"]


@lru_cache(maxsize=256)
def classify(
    structure: Structure, *, current: bool, family: SourceSchema | None = None
) -> tuple[Kind, str]:
    """Return the family of a file's schema, and what the schema is called.

    Args:
        structure: The tables of the file.
        current: Whether it bears the marks of today's schema.
        family: What the user takes it for; marks of today's schema count more.
    """
    if current and all(is_ours(structure, table) for table in METADATA_TABLES):
        return "today", "farm-merge 1"
    if family == "foreign" or not (family == "agentfarm" or _bears_agentfarms_marks(structure)):
        return "foreign", "foreign"
    columns = _agentfarm_columns(structure)
    for label, table, needed in legacy.ERAS:
        if needed <= columns.get(table, set()):
            return "AgentFarm", f"AgentFarm era {label}"
    return "AgentFarm", "AgentFarm of an unknown era"


def _bears_agentfarms_marks(structure: Structure) -> bool:
    """Return whether tables have columns that only AgentFarm's have."""
    columns = _agentfarm_columns(structure)
    steps = columns.get("agent_states", set()) & {"step_number", "step_id"}
    return columns.get("agents", set()) >= legacy.MARKS and bool(steps)


def _agentfarm_columns(structure: Structure) -> dict[str, set[str]]:
    return {
        target: {folded(column.name) for column in structure.tables[table].columns}
        for table, target in _agentfarm_names(structure).items()
    }


@lru_cache(maxsize=256)
def target_names(structure: Structure, kind: Kind, *, alone: bool = False) -> Mapping[str, str]:
    """Return the name that every table of a file gets, by its lower-case name in the file.

    Args:
        structure: The tables of the file.
        kind: The family of its schema.
        alone: Whether the output has no tables of today's schema but the registry.
    """
    names: dict[str, str] = {}
    if kind == "today":
        ours = METADATA_TABLES if alone else OUR_TABLES
        names = {table: table for table in ours if is_ours(structure, table)}
    elif kind == "AgentFarm":
        names = _agentfarm_names(structure)
    taken = {folded(name) for name in names.values()} | (METADATA_TABLES if alone else OUR_TABLES)
    for table, definition in structure.tables.items():
        if table not in names:
            names[table] = _free_name(definition.name, taken)
            taken.add(folded(names[table]))
    return names


def _agentfarm_names(structure: Structure) -> dict[str, str]:
    names: dict[str, str] = {}
    for table, definition in structure.tables.items():
        target = legacy.TABLES.get(table)
        if target is None:
            shape = {folded(column.name) for column in definition.columns}
            target = next(
                (name for name, columns in legacy.SHAPES.items() if shape == columns), None
            )
        if target and target not in names.values():
            names[table] = target
    return names


def _free_name(name: str, taken: Container[str]) -> str:
    if folded(name) not in taken:
        return name
    number = 1
    while folded(candidate := f"{name}_foreign{'' if number == 1 else number}") in taken:
        number += 1
    return candidate
