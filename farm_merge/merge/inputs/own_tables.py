"""Own tables: those that today's schema does not have stay tables of their own."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from farm_merge.merge.inputs import legacy
from farm_merge.merge.inputs.mapping import (
    TableMapping,
    ordinal_of,
    simulation_of,
    step_number_of,
)
from farm_merge.merge.tables.cost import affordable
from farm_merge.merge.tables.definition import (
    ROW_NUMBER,
    SIMULATION_ID,
    ColumnDefinition,
    affinity,
    folded,
    without_simulation,
)
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from farm_merge.merge.inputs.mapping import SourceTables
    from farm_merge.merge.tables.definition import ForeignKey, IndexDefinition, TableDefinition

__all__ = ["map_own_table"]

_RENAMED_ID = "original_simulation_id"
_ROWID = "original_rowid"
_REFERRING_SUFFIXES = ("", "_id", "id", "_rowid", "_row", "_ref")
"""What a column is called, behind the name of a table, that holds rowids of it."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A mapping in the making.

    Attributes:
        found: The table in the file.
        definition: What it becomes.
        columns: The expression of each column.
        indexes: What comes along.
        notes: What a reader should know.
    """

    found: TableDefinition
    definition: TableDefinition
    columns: dict[str, str] = field(hash=False)
    indexes: tuple[IndexDefinition, ...] = ()
    notes: tuple[str, ...] = ()

    def defined(self, definition: TableDefinition) -> _Draft:
        """Return the draft with another definition."""
        return replace(self, definition=definition)

    def noted(self, note: str) -> _Draft:
        """Return the draft with one more note."""
        return replace(self, notes=(*self.notes, note))

    def filled(self, column: str, expression: str) -> _Draft:
        """Return the draft with one more column."""
        return replace(self, columns={**self.columns, column: expression})


def map_own_table(file: SourceTables, table: str) -> TableMapping:
    """Return how a table that today's schema does not have is carried.

    Args:
        file: The tables of the file.
        table: The lower-case name of the table.
    """
    found = file.structure.tables[table]
    simulation = simulation_of(file, found)
    draft = _with_cheap_expressions(_renamed(file, table))
    draft = _with_known_collations(_with_stored_columns(draft, file))
    if found.column(SIMULATION_ID) and not found.merged:
        draft = _without_id(draft, file)
    # A run's own key of that name would be taken for our numbers, and its values be changed.
    is_keyless = not draft.definition.key or found.is_numbered or table in file.traits.numbered
    if is_keyless and not (found.merged and found.is_numbered):
        draft = _with_row_number(draft, _number_of(found, simulation, file))
    elif _is_referred_to_by_rowid(found, file):
        draft = _with_rowid(draft)
    if file.kind == "AgentFarm":
        draft = _as_agentfarm_names_it(draft, file)
    if not found.merged:
        references = (_reference(key, file) for key in found.foreign_keys)
        kept = tuple(key for key in references if key is not None)
        draft = draft.defined(replace(draft.definition, foreign_keys=kept))
    return TableMapping(
        found.name,
        draft.definition,
        tuple(draft.columns.items()),
        simulation,
        "",
        tuple(replace(index, table=draft.definition.name) for index in draft.indexes),
        draft.notes,
    )


def _renamed(file: SourceTables, table: str) -> _Draft:
    found = file.structure.tables[table]
    name = file.names[table]
    return _Draft(
        found,
        replace(found, name=name, merged=True),
        {column.name: f"t.{quoted(column.name)}" for column in found.stored},
        file.structure.indexes.get(table, ()),
        () if found.name == name else (f"table {found.name} becomes {name}",),
    )


def _with_cheap_expressions(draft: _Draft) -> _Draft:
    """Leave out expressions that could cost whoever computes them time and memory without end."""
    found = affordable(draft.definition, draft.indexes)
    if not found.lost:
        return draft
    draft = replace(draft, definition=found.table, indexes=found.indexes)
    for column in found.table.stored:
        draft = draft.filled(column.name, f"t.{quoted(column.name)}")
    lost = ", ".join(found.lost)
    return draft.noted(
        f"table {draft.found.name}: not carried, since its cost is not known: {lost}"
    )


def _with_stored_columns(draft: _Draft, file: SourceTables) -> _Draft:
    """Store the values of computed columns that other files store."""
    found = draft.found
    stored = {
        column.name
        for column in draft.definition.columns
        if column.generated and f"{found.folded_name}.{folded(column.name)}" in file.traits.stored
    }
    if not stored:
        return draft
    columns = tuple(
        ColumnDefinition(column.name, column.declared_type) if column.name in stored else column
        for column in draft.definition.columns
    )
    draft = draft.defined(replace(draft.definition, columns=columns))
    for name in stored:
        draft = draft.filled(name, f"t.{quoted(name)}")
    return draft.noted(f"computed columns of {found.name} are stored: {', '.join(sorted(stored))}")


def _with_known_collations(draft: _Draft) -> _Draft:
    """Leave out collations that the run's program brought along: text is compared by its bytes."""
    definition = draft.definition
    indexed = (index.unknown_collations for index in draft.indexes)
    unknown = definition.unknown_collations.union(*indexed)
    if not unknown:
        return draft
    columns = {
        # Rows are compared as the output will, and not by an index in the program's order.
        name: f"{expression} COLLATE BINARY"
        if (column := definition.column(name)) and column.unknown_collations
        else expression
        for name, expression in draft.columns.items()
    }
    indexes = tuple(index.without_collations(unknown) for index in draft.indexes)
    definition = definition.without_collations(unknown)
    draft = replace(draft, definition=definition, columns=columns, indexes=indexes)
    names = ", ".join(sorted(unknown))
    return draft.noted(f"collations of {draft.found.name} that SQLite does not have: {names}")


def _without_id(draft: _Draft, file: SourceTables) -> _Draft:
    """Take out a column `simulation_id`, or rename it where it names no simulation."""
    identifies = file.traits.identified_by_column
    indexes = (_index_without_id(index, identifies=identifies) for index in draft.indexes)
    draft = replace(draft, indexes=tuple(index for index in indexes if index is not None))
    if identifies:
        definition = without_simulation(draft.definition)
        kept = {name: text for name, text in draft.columns.items() if definition.column(name)}
        return replace(draft, definition=definition, columns=kept)
    renamed = {
        _RENAMED_ID if folded(name) == SIMULATION_ID else name: expression
        for name, expression in draft.columns.items()
    }
    draft = replace(draft, columns=renamed).defined(_with_renamed_id(draft.definition))
    return draft.noted(
        f"column simulation_id of {draft.found.name} names no simulation, and becomes {_RENAMED_ID}"
    )


def _with_renamed_id(table: TableDefinition) -> TableDefinition:
    def renamed(term: str) -> str:
        return quoted(_RENAMED_ID) if folded(term.strip('"')) == SIMULATION_ID else term

    return replace(
        table,
        columns=tuple(
            replace(column, name=_RENAMED_ID) if folded(column.name) == SIMULATION_ID else column
            for column in table.columns
        ),
        key=tuple(map(renamed, table.key)),
        uniques=tuple(tuple(map(renamed, terms)) for terms in table.uniques),
    )


def _index_without_id(index: IndexDefinition, *, identifies: bool) -> IndexDefinition | None:
    """Return an index without the column `simulation_id`, which leads every index anyway."""
    terms = tuple(term for term in index.terms if folded(term.strip('"')) != SIMULATION_ID)
    if not terms or (len(terms) < len(index.terms) and not identifies):
        return None
    return replace(index, terms=terms)


def _with_row_number(draft: _Draft, ordinal: str) -> _Draft:
    """Give a table a key: the number of its rows, in the order in which they were written."""
    name = ROW_NUMBER
    while draft.definition.column(name):
        name += "_"
    definition = replace(
        draft.definition,
        columns=(ColumnDefinition(name, "INTEGER"), *draft.definition.columns),
        key=(quoted(name),),
    )
    draft = draft.defined(definition).filled(name, ordinal)
    if draft.found.is_numbered:
        return draft.noted(f"rows of {draft.found.name} are numbered by {name}")
    if draft.found.key:
        return draft.noted(
            f"rows of {draft.found.name} are numbered by {name}: not all have its key"
        )
    return draft.noted(f"table {draft.found.name} has no primary key, and gets {name}")


def _number_of(found: TableDefinition, simulation: str, file: SourceTables) -> str:
    """Return what numbers the rows: the rowid, since rows of other tables may refer to it."""
    if found.merged or found.without_rowid or not found.row_order:
        return ordinal_of(found, simulation, file.traits)
    return found.row_order


def _is_referred_to_by_rowid(found: TableDefinition, file: SourceTables) -> bool:
    """Return whether a column of the file seems to hold rowids of a table with another key."""
    has_rowid = not (found.without_rowid or found.merged) and bool(found.row_order)
    if not has_rowid or found.has_rowid_key:
        return False
    stems = {found.folded_name, found.folded_name.removesuffix("s")}
    names = {f"{stem}{suffix}" for stem in stems for suffix in _REFERRING_SUFFIXES}
    return any(
        folded(column.name) in names
        and affinity(column.declared_type) in {"NUMERIC", "BLOB"}
        and not found.column(column.name)
        and not any(
            folded(key.parent) == found.folded_name and column.name in key.columns
            for key in table.foreign_keys
        )
        for table in file.structure.tables.values()
        for column in table.columns
    )


def _with_rowid(draft: _Draft) -> _Draft:
    """Keep the rowids of a table with another key."""
    name = _ROWID
    while draft.definition.column(name):
        name += "_"
    columns = (*draft.definition.columns, ColumnDefinition(name, "INTEGER"))
    draft = draft.defined(replace(draft.definition, columns=columns))
    return draft.filled(name, draft.found.row_order).noted(
        f"rowids of {draft.found.name} are kept in {name}, since other rows may refer to them"
    )


def _as_agentfarm_names_it(draft: _Draft, file: SourceTables) -> _Draft:
    """Make ids text, as they are in all tables today, and add the step's number."""
    definition = draft.definition
    numbers = [
        column
        for column in definition.columns
        if folded(column.name) in legacy.TEXT_IDS and affinity(column.declared_type) != "TEXT"
    ]
    if numbers:
        columns = tuple(
            replace(column, declared_type="VARCHAR(64)") if column in numbers else column
            for column in definition.columns
        )
        definition = replace(definition, columns=columns)
        names = ", ".join(column.name for column in numbers)
        draft = draft.noted(f"ids of {draft.found.name} become text: {names}")
    if not definition.column("step_id") or definition.column("step_number"):
        return draft.defined(definition)
    step = ColumnDefinition("step_number", "INTEGER")
    definition = replace(definition, columns=(*definition.columns, step))
    return draft.defined(definition).filled("step_number", step_number_of(file))


def _reference(key: ForeignKey, file: SourceTables) -> ForeignKey | None:
    """Return a foreign key inside one simulation; None where its parent has no key to point at."""
    parent = file.structure.tables.get(folded(key.parent))
    columns = [name for name in key.columns if folded(name) != SIMULATION_ID]
    if parent is None or not columns or parent.folded_name in file.traits.numbered:
        return None
    named = key.parent_columns or without_simulation(parent).key_names
    parent_columns = [name for name in named if folded(name) != SIMULATION_ID]
    if len(columns) != len(parent_columns):
        return None
    return key._replace(
        columns=tuple(columns),
        parent=file.names[parent.folded_name],
        parent_columns=tuple(parent_columns),
    )
