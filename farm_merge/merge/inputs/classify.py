"""Classify: which schema a file has, and what its tables are called in an experiment database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm_merge.merge.inputs import legacy
from farm_merge.merge.tables.definition import folded
from farm_merge.merge.tables.structure import Structure, today
from farm_merge.schema import OUR_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from farm_merge.merge.inputs.mapping import Kind

__all__ = ["classify", "target_names"]


def classify(structure: Structure, *, current: bool) -> tuple[Kind, str]:
    """Return the family of a file's schema, and what the schema is called.

    Args:
        structure: The tables of the file.
        current: Whether it bears the marks of today's schema.
    """
    expected = today().tables
    if current and all(
        (found := structure.tables.get(table)) and found.key_names == definition.key_names
        for table, definition in expected.items()
    ):
        return "today", "farm-merge 1"
    names = {target: table for table, target in _agentfarm_names(structure).items()}
    columns = {
        target: {folded(column.name) for column in structure.tables[table].columns}
        for target, table in names.items()
    }
    steps = columns.get("agent_states", set()) & {"step_number", "step_id"}
    if {"agent_id", "birth_time"} <= columns.get("agents", set()) and steps:
        for label, table, needed in legacy.ERAS:
            if needed <= columns.get(table, set()):
                return "AgentFarm", f"AgentFarm era {label}"
    return "foreign", "foreign"


def target_names(structure: Structure, kind: Kind) -> dict[str, str]:
    """Return the name that every table of a file gets, by its lower-case name in the file."""
    if kind == "today":
        names = {table: definition.name for table, definition in structure.tables.items()}
    elif kind == "AgentFarm":
        names = _agentfarm_names(structure)
    else:
        names = {}
    taken = {folded(name) for name in names.values()} | OUR_TABLES
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


def _free_name(name: str, taken: Iterable[str]) -> str:
    if folded(name) not in taken:
        return name
    number = 1
    while folded(candidate := f"{name}_foreign{'' if number == 1 else number}") in taken:
        number += 1
    return candidate
