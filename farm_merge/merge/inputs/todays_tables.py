"""Today's tables: columns of a file by their names, the unknown added, the missing derived."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from farm_merge.merge.inputs import legacy
from farm_merge.merge.inputs.mapping import (
    TableMapping,
    ordinal_of,
    simulation_of,
    step_number_of,
)
from farm_merge.merge.tables.definition import (
    SIMULATION_ID,
    ColumnDefinition,
    affinity,
    folded,
)
from farm_merge.merge.tables.structure import today
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm_merge.merge.inputs.mapping import SourceTables
    from farm_merge.merge.tables.definition import TableDefinition

__all__ = ["map_todays_table"]

_REGISTRY_DEFAULTS = {
    "simulations": {"parameters": "'{}'", "simulation_db_path": "''"},
    "experiments": {"name": "t.experiment_id"},
}
"""What registry rows of old files may lack, and today's never do."""


def map_todays_table(file: SourceTables, table: str) -> TableMapping:
    """Return how a table that today's schema has, under whatever name, is carried.

    Args:
        file: The tables of the file.
        table: The lower-case name of the table in the file.
    """
    found, target = file.structure.tables[table], file.names[table]
    expected = today().tables[target]
    simulation = simulation_of(file, found)
    columns, added = _by_name(found, target, original_ids=file.traits.original_ids)
    joined = _derive(file, found, target, columns)
    for name, default in _REGISTRY_DEFAULTS.get(target, {}).items():
        columns[name] = f"coalesce({columns[name]}, {default})" if name in columns else default
    for reference in file.traits.state_references if target == "agent_actions" else ():
        original = f"original_{reference}"
        added.append(ColumnDefinition(original, ""))
        columns[original] = f"t.{reference}"
        columns[reference] = (
            f"(SELECT {simulation} || ':' || s.agent_id || '-' || s.step_number"
            f" FROM source.agent_states AS s WHERE s.id = t.{reference})"
        )
    # A step or an agent that is missing is a problem of the file; any other key is only a number.
    for name in expected.key_names:
        if name not in columns and name not in {"step_number", "agent_id"}:
            columns[name] = ordinal_of(found, simulation, file.traits)
    gained = ", ".join(column.name for column in added)
    as_found = tuple(_as_found(column, found, columns) for column in expected.columns)
    return TableMapping(
        found.name,
        replace(expected, columns=(*as_found, *added)),
        tuple(columns.items()),
        simulation,
        joined,
        notes=(f"columns added to {target}: {gained}",) if gained else (),
    )


def _by_name(
    found: TableDefinition, target: str, *, original_ids: bool
) -> tuple[dict[str, str], list[ColumnDefinition]]:
    """Return the columns that today's table has or gains, and those that it gains."""
    expected = today().tables[target]
    columns: dict[str, str] = {}
    added: list[ColumnDefinition] = []
    for column in found.stored:
        if folded(column.name) == SIMULATION_ID:
            continue
        name = _todays_name(found, target, column, columns)
        wanted = expected.column(name)
        if wanted and wanted.generated:
            if not original_ids:
                continue
            name = f"original_{name}"
        if wanted is None or wanted.generated:
            added.append(ColumnDefinition(name, column.declared_type))
        columns[name] = f"t.{quoted(column.name)}"
    return columns, added


def _as_found(
    expected: ColumnDefinition, found: TableDefinition, columns: Mapping[str, str]
) -> ColumnDefinition:
    """Return a column of today's with the type that the file declares.

    Ids that were integers are text by intention, so they count as declared like today's.
    """
    expression = columns.get(expected.name)
    origin = next(
        (column for column in found.stored if expression == f"t.{quoted(column.name)}"), None
    )
    if origin is None or expected.generated:
        return expected
    was, is_ = affinity(origin.declared_type), affinity(expected.declared_type)
    if not found.merged and (was, is_) == ("NUMERIC", "TEXT"):
        return expected
    return replace(expected, declared_type=origin.declared_type)


def _todays_name(
    found: TableDefinition, target: str, column: ColumnDefinition, columns: Mapping[str, str]
) -> str:
    """Return what a column is called today, unless another column has that name already."""
    name = folded(column.name)
    today_ = legacy.COLUMNS.get((target, name), name)
    if today_ != name and (found.column(today_) or today_ in columns):
        today_ = name
    return today_ if today().tables[target].column(today_) else column.name


def _derive(
    file: SourceTables, found: TableDefinition, target: str, columns: dict[str, str]
) -> str:
    """Add the columns of today that a file keeps elsewhere; return what has to be joined."""
    if found.merged:
        return ""
    present = {folded(column.name) for column in found.columns}
    for (table, name), (needed, expression) in legacy.DERIVED.items():
        if table == target and name not in columns and needed <= present:
            columns[name] = expression
    if "step_number" not in columns and "step_id" in present:
        columns["step_number"] = step_number_of(file)
    metrics = file.named("simulation_metrics")
    if target != "simulation_steps" or metrics is None or "step_id" not in present:
        return ""
    wanted = [name for name in legacy.STEP_METRICS if name not in columns]
    if not wanted:
        return ""
    columns.update({name: f"m.{name}" for name in wanted})
    picked = ", ".join(
        f"max(CASE metric_name WHEN '{name}' THEN metric_value END) AS {name}" for name in wanted
    )
    return (
        f" LEFT JOIN (SELECT step_id, {picked} FROM source.{quoted(metrics.name)}"
        " GROUP BY step_id) AS m ON m.step_id = t.step_id"
    )
