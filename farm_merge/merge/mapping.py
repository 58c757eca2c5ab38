"""Mapping: how each table of a file becomes a table of an experiment database.

A mapping is a value: for every table of the file its target, and for every column an expression in
SQL over the row `t` of the file attached as `source`. It holds for every file of one structure
whose content raises the same questions (`Facts`), so thousands of files share one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from farm_merge.driver import quoted
from farm_merge.merge import legacy
from farm_merge.merge.definition import (
    ROW_NUMBER,
    SIMULATION_ID,
    ColumnDefinition,
    ForeignKey,
    IndexDefinition,
    TableDefinition,
    affinity,
    folded,
    without_simulation,
)
from farm_merge.merge.structure import Structure, refusal, today
from farm_merge.schema import DATA_TABLES, METADATA_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Facts", "Kind", "TableMapping", "classify", "make_mapping", "targets"]

Kind = Literal["today", "AgentFarm", "foreign"]

_OURS = METADATA_TABLES.union(DATA_TABLES)
_RENAMED_ID = "original_simulation_id"
_OTHERWISE = {
    "simulations": {"parameters": "'{}'", "simulation_db_path": "''"},
    "experiments": {"name": "t.experiment_id"},
}
"""What registry rows of old files may lack, and today's never do."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the content of a file decides about its mapping.

    Attributes:
        ids: "none" where the file does not name its simulation, "one", or "many".
        identified_by_column: Whether columns called `simulation_id` name simulations.
        original_ids: Whether `agent_states.id` has a form that today's does not tell.
        state_references: Columns of `agent_actions` that point at states.
        null_keys: Tables with NULL in their primary key, which SQLite allows and a merge cannot.
    """

    ids: Literal["none", "one", "many"] = "one"
    identified_by_column: bool = True
    original_ids: bool = False
    state_references: tuple[str, ...] = ()
    null_keys: frozenset[str] = frozenset()


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


def targets(structure: Structure, kind: Kind) -> dict[str, str]:
    """Return the name that every table of a file gets, by its lower-case name in the file."""
    if kind == "today":
        names = {table: each.name for table, each in structure.tables.items()}
    elif kind == "AgentFarm":
        names = _agentfarm_names(structure)
    else:
        names = {}
    taken = {folded(name) for name in names.values()} | _OURS
    for table, definition in structure.tables.items():
        if table not in names:
            names[table] = _free_name(definition.name, taken)
            taken.add(folded(names[table]))
    return names


def classify(structure: Structure, *, current: bool) -> tuple[Kind, str]:
    """Tell which schema a file has, and how to call it.

    Args:
        structure: The tables of the file.
        current: Whether it bears the marks of today's schema.
    """
    expected = today().tables
    if current and all(
        (found := structure.tables.get(table)) and found.key_names == each.key_names
        for table, each in expected.items()
    ):
        return "today", "farm-merge 1"
    names = {target: table for table, target in _agentfarm_names(structure).items()}
    columns = {
        target: {folded(each.name) for each in structure.tables[table].columns}
        for target, table in names.items()
    }
    steps = columns.get("agent_states", set()) & {"step_number", "step_id"}
    if {"agent_id", "birth_time"} <= columns.get("agents", set()) and steps:
        for label, table, needed in legacy.ERAS:
            if needed <= columns.get(table, set()):
                return "AgentFarm", f"AgentFarm era {label}"
    return "foreign", "foreign"


@lru_cache(maxsize=256)
def make_mapping(structure: Structure, kind: Kind, facts: Facts) -> tuple[TableMapping, ...]:
    """Return how every table of a file is carried."""
    names = targets(structure, kind)
    mappings = []
    for table, definition in structure.tables.items():
        target = names[table]
        if target in _OURS:
            mappings.append(_todays(structure, definition, target, names, facts))
        else:
            mappings.append(_own(structure, table, names, kind, facts))
    return _validated(tuple(mappings))


def _agentfarm_names(structure: Structure) -> dict[str, str]:
    names: dict[str, str] = {}
    for table, definition in structure.tables.items():
        target = legacy.TABLES.get(table)
        if target is None:
            shape = {folded(each.name) for each in definition.columns}
            target = next((name for name, each in legacy.SHAPES.items() if shape == each), None)
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


def _todays(
    structure: Structure,
    found: TableDefinition,
    target: str,
    names: Mapping[str, str],
    facts: Facts,
) -> TableMapping:
    """Map a table to one of today's: columns by name, the unknown added, the missing derived."""
    expected = today().tables[target]
    simulation = _simulation(structure, found, names, facts)
    columns: dict[str, str] = {}
    added: list[ColumnDefinition] = []
    for column in found.stored:
        if folded(column.name) == SIMULATION_ID:
            continue
        name = _todays_name(found, target, column, columns)
        wanted = expected.column(name)
        if wanted and wanted.generated:
            if not facts.original_ids:
                continue
            name = f"original_{name}"
        if wanted is None or wanted.generated:
            added.append(ColumnDefinition(name, column.declared_type))
        columns[name] = f"t.{quoted(column.name)}"
    joined = _derive(structure, found, target, names, columns)
    for name, otherwise in _OTHERWISE.get(target, {}).items():
        columns[name] = f"coalesce({columns[name]}, {otherwise})" if name in columns else otherwise
    for reference in facts.state_references if target == "agent_actions" else ():
        original = f"original_{reference}"
        added.append(ColumnDefinition(original, ""))
        columns[original] = f"t.{reference}"
        columns[reference] = (
            f"(SELECT {simulation} || ':' || s.agent_id || '-' || s.step_number"
            f" FROM source.agent_states AS s WHERE s.id = t.{reference})"
        )
    for name in expected.key_names:
        if name not in columns and name not in {"step_number", "agent_id"}:
            columns[name] = _ordinal(found, simulation, facts)
    gained = ", ".join(each.name for each in added)
    as_found = tuple(_as_found(each, found, columns) for each in expected.columns)
    return TableMapping(
        found.name,
        replace(expected, columns=(*as_found, *added)),
        tuple(columns.items()),
        simulation,
        joined,
        notes=(f"columns added to {target}: {gained}",) if gained else (),
    )


def _as_found(
    expected: ColumnDefinition, found: TableDefinition, columns: Mapping[str, str]
) -> ColumnDefinition:
    """Return a column of today's with the type that the file declares.

    Ids that were integers are text by intention, so they count as declared like today's.
    """
    origin = next(
        (each for each in found.stored if columns.get(expected.name) == f"t.{quoted(each.name)}"),
        None,
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
    structure: Structure,
    found: TableDefinition,
    target: str,
    names: Mapping[str, str],
    columns: dict[str, str],
) -> str:
    """Add the columns of today that a file tells elsewhere; return what has to be joined."""
    if found.merged:
        return ""
    present = {folded(each.name) for each in found.columns}
    for (table, name), (needed, expression) in legacy.DERIVED.items():
        if table == target and name not in columns and needed <= present:
            columns[name] = expression
    if "step_number" not in columns and "step_id" in present:
        columns["step_number"] = _step_number(structure, names)
    metrics = next((table for table, name in names.items() if name == "simulation_metrics"), None)
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
        f" LEFT JOIN (SELECT step_id, {picked} FROM source.{quoted(structure.tables[metrics].name)}"
        " GROUP BY step_id) AS m ON m.step_id = t.step_id"
    )


def _step_number(structure: Structure, names: Mapping[str, str]) -> str:
    steps = next((table for table, name in names.items() if name == "simulation_steps"), None)
    if steps is None or not structure.tables[steps].column("step_id"):
        return "NULL"
    name = quoted(structure.tables[steps].name)
    return f"(SELECT s.step_number FROM source.{name} AS s WHERE s.step_id = t.step_id)"


def _own(
    structure: Structure, table: str, names: Mapping[str, str], kind: Kind, facts: Facts
) -> TableMapping:
    """Map a table that today's schema does not have: it stays a table of its own."""
    found = structure.tables[table]
    notes: list[str] = []
    if found.name != names[table]:
        notes.append(f"table {found.name} becomes {names[table]}")
    definition = replace(found, name=names[table], merged=True)
    columns = {each.name: f"t.{quoted(each.name)}" for each in definition.stored}
    indexes = structure.indexes.get(table, ())
    if found.column(SIMULATION_ID) and not found.merged:
        if facts.identified_by_column:
            definition = without_simulation(definition)
            columns = {each.name: f"t.{quoted(each.name)}" for each in definition.stored}
        else:
            notes.append(
                f"column simulation_id of {found.name} names no simulation,"
                f" and becomes {_RENAMED_ID}"
            )
            definition = _with_renamed_id(definition)
            columns = {
                _RENAMED_ID if folded(name) == SIMULATION_ID else name: expression
                for name, expression in columns.items()
            }
        indexes = tuple(filter(None, (_own_index(each, facts) for each in indexes)))
    simulation = _simulation(structure, found, names, facts)
    if not definition.key or table in facts.null_keys:
        ordinal = ROW_NUMBER
        while definition.column(ordinal):
            ordinal += "_"
        definition = replace(
            definition,
            columns=(ColumnDefinition(ordinal, "INTEGER"), *definition.columns),
            key=(quoted(ordinal),),
        )
        columns[ordinal] = _ordinal(found, simulation, facts)
        notes.append(f"table {found.name} has no primary key, and gets {ordinal}")
    if kind == "AgentFarm":
        definition = _with_text_ids(definition)
        if definition.column("step_id") and not definition.column("step_number"):
            step = ColumnDefinition("step_number", "INTEGER")
            definition = replace(definition, columns=(*definition.columns, step))
            columns["step_number"] = _step_number(structure, names)
    definition = replace(
        definition,
        foreign_keys=tuple(
            filter(
                None, (_foreign_key(each, structure, names, facts) for each in found.foreign_keys)
            )
        )
        if not found.merged
        else found.foreign_keys,
    )
    indexes = tuple(replace(each, table=definition.name) for each in indexes)
    return TableMapping(
        found.name, definition, tuple(columns.items()), simulation, "", indexes, tuple(notes)
    )


def _with_renamed_id(table: TableDefinition) -> TableDefinition:
    def renamed(text: str) -> str:
        return quoted(_RENAMED_ID) if folded(text.strip('"')) == SIMULATION_ID else text

    return replace(
        table,
        columns=tuple(
            replace(each, name=_RENAMED_ID) if folded(each.name) == SIMULATION_ID else each
            for each in table.columns
        ),
        key=tuple(map(renamed, table.key)),
        uniques=tuple(tuple(map(renamed, terms)) for terms in table.uniques),
    )


def _own_index(index: IndexDefinition, facts: Facts) -> IndexDefinition | None:
    """Return an index without the column `simulation_id`, which leads every index anyway."""
    terms = tuple(term for term in index.terms if folded(term.strip('"')) != SIMULATION_ID)
    if not terms or (len(terms) < len(index.terms) and not facts.identified_by_column):
        return None
    return replace(index, terms=terms)


def _with_text_ids(table: TableDefinition) -> TableDefinition:
    return replace(
        table,
        columns=tuple(
            replace(each, declared_type="VARCHAR(64)")
            if folded(each.name) in legacy.TEXT_IDS
            else each
            for each in table.columns
        ),
    )


def _foreign_keys(
    found: TableDefinition, structure: Structure, names: Mapping[str, str], facts: Facts
) -> tuple[ForeignKey, ...]:
    carried = (_foreign_key(each, structure, names, facts) for each in found.foreign_keys)
    return tuple(each for each in carried if each is not None)


def _foreign_key(
    foreign_key: ForeignKey, structure: Structure, names: Mapping[str, str], facts: Facts
) -> ForeignKey | None:
    parent = structure.tables.get(folded(foreign_key.parent))
    columns = [name for name in foreign_key.columns if folded(name) != SIMULATION_ID]
    if parent is None or not columns or folded(parent.name) in facts.null_keys:
        return None
    named = foreign_key.parent_columns or without_simulation(parent).key_names
    parent_columns = [name for name in named if folded(name) != SIMULATION_ID]
    if len(columns) != len(parent_columns):
        return None
    return replace(
        foreign_key,
        columns=tuple(columns),
        parent=names[folded(parent.name)],
        parent_columns=tuple(parent_columns),
    )


def _simulation(
    structure: Structure, found: TableDefinition, names: Mapping[str, str], facts: Facts
) -> str:
    """Return the expression that tells the simulation of a row."""
    if found.merged:
        return "t.simulation_id"
    own_id = found.column(SIMULATION_ID)
    if own_id and names.get(folded(found.name)) == "simulations" and facts.ids != "none":
        return "t.simulation_id"
    if facts.ids != "many" or not own_id:
        return ":simulation_id"
    if not found.column("agent_id"):
        return "t.simulation_id"
    # Rows without an id belong to the simulation of their agent.
    lookups = [
        f"(SELECT max(a.simulation_id) FROM source.{quoted(each.name)} AS a"
        " WHERE a.agent_id = t.agent_id)"
        for table in ("agents", "agent_states")
        for name, each in structure.tables.items()
        if names[name] == table and each.column(SIMULATION_ID)
    ]
    return f"coalesce({', '.join(['t.simulation_id', *lookups])})" if lookups else "t.simulation_id"


def _ordinal(found: TableDefinition, simulation: str, facts: Facts) -> str:
    """Number the rows in the order in which they were written; a VACUUM keeps that order."""
    partition = f"PARTITION BY {simulation} " if facts.ids == "many" else ""
    order = f"ORDER BY {found.row_order}" if found.row_order else ""
    return f"row_number() OVER ({partition}{order})"


def _validated(mappings: tuple[TableMapping, ...]) -> tuple[TableMapping, ...]:
    """Let SQLite make the tables; what it refuses of one is not carried, and said."""
    accepted = list(mappings)
    for place, mapping in enumerate(mappings):
        if mapping.target in _OURS:
            continue
        context = [
            statement
            for each in accepted
            if each.target not in _OURS and each.target != mapping.target
            for statement in (each.definition.create(), *(i.create() for i in each.indexes))
        ]
        own = [index.create() for index in mapping.indexes]
        reason = refusal(mapping.definition, context)
        if reason is None:
            refused = [
                index
                for index, statement in zip(mapping.indexes, own, strict=True)
                if refusal(mapping.definition, context, statement)
            ]
            kept = tuple(index for index in mapping.indexes if index not in refused)
            notes = tuple(f"index {index.name} is not carried" for index in refused)
            accepted[place] = replace(mapping, indexes=kept, notes=(*mapping.notes, *notes))
            continue
        without_references = replace(mapping.definition, foreign_keys=())
        if refusal(without_references, context) is None:
            note = f"table {mapping.target}: its references are not declared ({reason})"
            accepted[place] = replace(
                mapping, definition=without_references, notes=(*mapping.notes, note)
            )
            continue
        generated = [each.name for each in mapping.definition.columns if each.generated]
        lost = f"; computed columns not carried: {', '.join(generated)}" if generated else ""
        note = f"table {mapping.target}: its constraints are not carried ({reason}){lost}"
        accepted[place] = replace(
            mapping,
            definition=mapping.definition.relaxed(),
            indexes=(),
            notes=(*mapping.notes, note),
        )
    return tuple(accepted)
