"""Mapping: how each table of a file becomes a table of an experiment database.

A mapping is a value: for every table of the file its target, and for every column an expression in
SQL over the row `t` of the file attached as `source`. It holds for every file of one structure
whose content raises the same questions (`Traits`), so thousands of files share one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from farm_merge.merge.tables.definition import SIMULATION_ID
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm_merge.merge.tables.definition import IndexDefinition, TableDefinition
    from farm_merge.merge.tables.structure import Structure

__all__ = [
    "UNATTRIBUTED",
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

UNATTRIBUTED = "unattributed"
"""The parameter of expressions that names what rows of nobody are carried under."""


class Traits(NamedTuple):
    """What the content of a file decides about its mapping.

    Attributes:
        ids: "none" where the file does not name its simulation, "one", or "many".
        identified_by_column: Whether columns called `simulation_id` name simulations.
        original_ids: Whether `agent_states.id` has a form that today's does not imply.
        state_references: Columns of `agent_actions` that point at states.
        numbered: Tables, by lower-case name, whose rows are numbered, whatever key they have: those
            with NULL in their primary key, which SQLite allows and a merge cannot, and those whose
            key other files do not have.
        stored: Computed columns, as `table.column` in lower case, that are stored in other files.
        renamed: Whether its simulations get other names than the file gives them.
        alone: Whether the output has no tables of today's schema but the registry.
    """

    ids: Literal["none", "one", "many"] = "one"
    identified_by_column: bool = True
    original_ids: bool = False
    state_references: tuple[str, ...] = ()
    numbered: frozenset[str] = frozenset()
    stored: frozenset[str] = frozenset()
    renamed: bool = False
    alone: bool = False


class SourceTables(NamedTuple):
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
    """Return the expression of the simulation that a row belongs to.

    It may take `:simulation_id`, the name of the only one, and `:unattributed`, the name under
    which rows are carried that belong to nobody.
    """
    if file.traits.ids != "many":
        is_own = table.merged or file.names.get(table.folded_name) == "simulations"
        has_id = table.column(SIMULATION_ID) is not None or table.merged
        keeps_id = is_own and has_id and file.traits.ids == "one" and not file.traits.renamed
        return "t.simulation_id" if keeps_id else ":simulation_id"
    own_id = _own_id(file, table)
    # `temp.renamed` is made while rows are written, and exists only where names differ.
    if not file.traits.renamed or own_id == f":{UNATTRIBUTED}":
        return own_id
    return f"coalesce((SELECT n.name FROM temp.renamed AS n WHERE n.own_id IS {own_id}), {own_id})"


def _own_id(file: SourceTables, table: TableDefinition) -> str:
    """Return the expression of the simulation, in a file of several, as the file calls it."""
    if table.merged:
        return "t.simulation_id"
    terms = ["t.simulation_id"] if table.column(SIMULATION_ID) else []
    if file.names.get(table.folded_name) == "simulations" and terms:
        return "t.simulation_id"
    if file.kind == "AgentFarm" and table.column("agent_id"):
        terms += _simulation_of_agent(file)
    terms.append(f":{UNATTRIBUTED}")
    return f"coalesce({', '.join(terms)})" if len(terms) > 1 else terms[0]


def _simulation_of_agent(file: SourceTables) -> list[str]:
    """Return what finds the simulation of a row's agent, if the agent lives in one alone."""
    tables = [
        f"SELECT a.simulation_id AS id FROM source.{quoted(agents.name)} AS a"
        " WHERE a.agent_id = t.agent_id"
        for target in ("agents", "agent_states", "agent_actions")
        if (agents := file.named(target)) and agents.column(SIMULATION_ID)
    ]
    if not tables:
        return []
    rows = " UNION ALL ".join(tables)
    return [f"(SELECT CASE count(DISTINCT id) WHEN 1 THEN max(id) END FROM ({rows}))"]


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
