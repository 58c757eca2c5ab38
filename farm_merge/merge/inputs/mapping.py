"""Mapping: how each table of a file becomes a table of an experiment database.

A mapping is a value: for every table of the file its target, and for every column an expression in
SQL over the row `t` of the file attached as `source`. It holds for every file of one structure
whose content raises the same questions (`Traits`), so thousands of files share one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from farm_merge.merge.tables.definition import SIMULATION_ID
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm_merge.merge.tables.definition import IndexDefinition, TableDefinition
    from farm_merge.merge.tables.structure import Structure

__all__ = [
    "FileMapping",
    "Kind",
    "SourceTables",
    "TableMapping",
    "Traits",
    "ordinal_of",
    "simulation_of",
    "step_number_of",
]

Kind = Literal["today", "AgentFarm", "foreign"]
"""The family of a file's schema."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What the content of a file decides about its mapping.

    Attributes:
        ids: "none" where the file does not name its simulation, "one", or "many".
        identified_by_column: Whether columns called `simulation_id` name simulations.
        original_ids: Whether `agent_states.id` has a form that today's does not imply.
        state_references: Columns of `agent_actions` that point at states.
        null_keys: Tables with NULL in their primary key, which SQLite allows and a merge cannot.
    """

    ids: Literal["none", "one", "many"] = "one"
    identified_by_column: bool = True
    original_ids: bool = False
    state_references: tuple[str, ...] = ()
    null_keys: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SourceTables:
    """The tables of a file, and what decides how they are read.

    Attributes:
        structure: The tables.
        kind: The family of the schema.
        names: The name that each gets, by its lower-case name in the file.
        traits: What the content decides.
    """

    structure: Structure
    kind: Kind
    names: Mapping[str, str]
    traits: Traits

    def named(self, target: str) -> TableDefinition | None:
        """Return the table that gets a name."""
        return next(
            (self.structure.tables[table] for table, name in self.names.items() if name == target),
            None,
        )


@dataclass(frozen=True, slots=True)
class TableMapping:
    """How one table is carried.

    Attributes:
        source: Its name in the file.
        definition: What it becomes; for today's tables with the columns that are added to them.
        columns: The columns that are written, each with its expression.
        simulation: The expression of the simulation a row belongs to.
        joined: What is joined to the row.
        indexes: What comes along.
        notes: What a reader should know.
    """

    source: str
    definition: TableDefinition
    columns: tuple[tuple[str, str], ...]
    simulation: str
    joined: str = ""
    indexes: tuple[IndexDefinition, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """The table in the experiment database."""
        return self.definition.name

    @property
    def origin(self) -> str:
        """The FROM clause that reads the table."""
        return f"FROM source.{quoted(self.source)} AS t{self.joined}"


@dataclass(frozen=True, eq=False, slots=True)
class FileMapping:
    """How all tables of a file are carried; one object for all files that are alike."""

    tables: tuple[TableMapping, ...]


def simulation_of(file: SourceTables, table: TableDefinition) -> str:
    """Return the expression of the simulation that a row belongs to."""
    if table.merged:
        return "t.simulation_id"
    has_id = table.column(SIMULATION_ID) is not None
    traits = file.traits
    if has_id and file.names.get(table.folded_name) == "simulations" and traits.ids != "none":
        return "t.simulation_id"
    if traits.ids != "many" or not has_id:
        return ":simulation_id"
    if not table.column("agent_id"):
        return "t.simulation_id"
    # Rows without an id belong to the simulation of their agent.
    lookups = [
        f"(SELECT max(a.simulation_id) FROM source.{quoted(agents.name)} AS a"
        " WHERE a.agent_id = t.agent_id)"
        for target in ("agents", "agent_states")
        if (agents := file.named(target)) and agents.column(SIMULATION_ID)
    ]
    return f"coalesce({', '.join(['t.simulation_id', *lookups])})" if lookups else "t.simulation_id"


def ordinal_of(table: TableDefinition, simulation: str, traits: Traits) -> str:
    """Number the rows in the order in which they were written; a VACUUM keeps that order."""
    partition = f"PARTITION BY {simulation} " if traits.ids == "many" else ""
    order = f"ORDER BY {table.row_order}" if table.row_order else ""
    return f"row_number() OVER ({partition}{order})"


def step_number_of(file: SourceTables) -> str:
    """Return the expression of the step whose surrogate key `step_id` a row has."""
    steps = file.named("simulation_steps")
    if steps is None or not steps.column("step_id"):
        return "NULL"
    return (
        f"(SELECT s.step_number FROM source.{quoted(steps.name)} AS s WHERE s.step_id = t.step_id)"
    )
