"""Target: the tables of the output in which the rows of all inputs have their place."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING

from farm_merge.errors import ShardError
from farm_merge.merge.inputs.retype import count_changed_values
from farm_merge.merge.plan.reconcile import is_stricter, reconcile, without_strict
from farm_merge.merge.tables.changes import index_changes, table_changes
from farm_merge.merge.tables.definition import affinity, folded
from farm_merge.merge.tables.structure import Structure, is_ours, registry, today
from farm_merge.merge.tables.trial import Candidate, accepted
from farm_merge.publish import read_output
from farm_merge.schema import ddl, ddl_of, registry_ddl
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.inputs.mapping import FileMapping, TableMapping
    from farm_merge.merge.plan.output import Output
    from farm_merge.merge.tables.definition import (
        ColumnDefinition,
        IndexDefinition,
        TableDefinition,
    )

__all__ = ["Target", "make_target"]


@dataclass(frozen=True)
class Target:
    """What the output holds after the merge.

    Attributes:
        have: Its tables before; where it is new, those that every output has.
        want: Its tables then.
        notes: What a reader should know.
        to_try: Inputs whose rows the tables of the output may refuse, by their constraints.
        alone: Whether it has no tables of today's schema but the registry.
    """

    have: Structure
    want: Structure
    notes: tuple[str, ...] = ()
    to_try: frozenset[Path] = frozenset()
    alone: bool = False
    _fits: dict[FileMapping, bool] = field(default_factory=dict, repr=False, compare=False)

    def shard_tables(self, mapping: FileMapping) -> list[str]:
        """Return the statements that make a shard with tables for a file, without indexes."""
        base, start = (registry(), registry_ddl()) if self.alone else (today(), ddl())
        # SQLite would compute every `agent_states.id`, only to see that none is NULL.
        states = today().tables["agent_states"]
        if not self.alone and self._computes_nothing_else(states):
            own, lean = ddl_of(states.name), replace(states, columns=states.stored).create()
            start = tuple(lean if statement == own else statement for statement in start)
        return [*start, *table_changes(base, self.want, _targets(mapping))]

    def _computes_nothing_else(self, ours: TableDefinition) -> bool:
        """Return whether a table is one of today's and nothing is made of what it computes."""
        wanted = self.want.tables[ours.folded_name]
        added = wanted.columns[len(ours.columns) :]
        return (
            wanted.extends(ours)
            and not any(column.constraints for column in added)
            and not self.want.indexes.get(ours.folded_name)
        )

    def shard_indexes(self, mapping: FileMapping) -> list[str]:
        """Return the statements that make its indexes."""
        base = registry() if self.alone else today()
        return list(index_changes(base, self.want, _targets(mapping)))

    @property
    def added_tables(self) -> list[TableDefinition]:
        """The tables that the output gains."""
        return [table for name, table in self.want.tables.items() if name not in self.have.tables]

    @property
    def added_columns(self) -> list[tuple[str, ColumnDefinition]]:
        """The columns that tables of the output gain, each with its table."""
        return [
            (present.name, column)
            for name, table in self.want.tables.items()
            if (present := self.have.tables.get(name))
            for column in table.columns
            if not present.column(column.name)
        ]

    @property
    def added_indexes(self) -> list[IndexDefinition]:
        """The indexes that the output gains."""
        return [
            index
            for table, indexes in self.want.indexes.items()
            for index in indexes
            if index not in self.have.indexes.get(table, ())
        ]

    def fits(self, source: Input) -> bool:
        """Return whether a shard's rows can be copied as they are; thousands share one answer."""
        known = self._fits.get(source.mapping)
        if known is None:
            is_plain = source.is_shard and not source.structure.collations
            known = self._fits[source.mapping] = is_plain and all(
                self._holds(table) for table in source.mapping.tables
            )
        return known

    def _holds(self, table: TableMapping) -> bool:
        target = self.want.tables[folded(table.target)]
        for name, _ in table.columns:
            here, there = target.column(name), table.definition.column(name)
            if here is None or there is None:
                return False
            mine, theirs = affinity(here.declared_type), affinity(there.declared_type)
            # A REAL column stores 1.0 as the integer 1, which pages that are copied would show.
            if mine != theirs and (mine != "BLOB" or theirs == "REAL"):
                return False
        return True


def make_target(
    sources: Sequence[Input], output: Output, *, alone: bool
) -> tuple[Target, dict[Path, ShardError]]:
    """Find the tables that hold the rows of all inputs, and name the inputs that do not fit.

    Args:
        sources: The inputs.
        output: The output.
        alone: Whether it has no tables of today's schema but the registry.

    Returns:
        The target, and for every input that does not fit the reason.
    """
    builder = _Builder(output, alone=alone)
    groups: dict[FileMapping, list[Input]] = {}
    for source in sources:
        groups.setdefault(source.mapping, []).append(source)
    for mapping, group in groups.items():
        for table in mapping.tables:
            builder.add(group, table)
    return builder.target(), builder.errors()


def _targets(mapping: FileMapping) -> list[str]:
    return list(dict.fromkeys(folded(table.target) for table in mapping.tables))


class _Builder:
    """The target in the making."""

    def __init__(self, output: Output, *, alone: bool) -> None:
        self._output = output
        self._alone = alone
        self._have = output.structure or (registry() if alone else today())
        self._tables = dict(self._have.tables)
        if not alone:  # an output of foreign runs gains today's tables
            self._tables = {**today().tables, **self._tables}
        self._indexes: dict[str, list[IndexDefinition]] = {
            table: list(indexes) for table, indexes in self._have.indexes.items()
        }
        self._views = {folded(view.partition(" ")[2]) for view in self._have.views}
        self._mappings: dict[str, list[TableMapping]] = defaultdict(list)
        self._sources: dict[str, list[tuple[Input, TableMapping]]] = defaultdict(list)
        self._notes: list[str] = []
        self._to_try: set[Path] = set()
        self._refused: dict[Path, list[str]] = {}

    def add(self, sources: list[Input], table: TableMapping) -> None:
        """Give the rows of a table their place."""
        key = folded(table.target)
        have = self._tables.get(key)
        self._mappings[key].append(table)
        if have is None and key in self._views:
            self._refuse(sources, f"table {table.source}: the output has a view of that name")
        elif have is None:
            self._tables[key] = replace(table.definition, merged=True)
        elif key in self._have.tables and self._is_anothers(key, table):
            self._refuse(
                sources,
                f"table {table.source}: the output has a table {have.name} of another model",
            )
        elif not (have.merged or key in registry().tables):
            reason = f"the output has a table {have.name} whose rows are no simulation's"
            self._refuse(sources, f"table {table.source}: {reason}")
        elif have != table.definition:
            self._tables[key] = self._reconcile(sources, have, table)
        self._sources[key] += ((source, table) for source in sources)

    def errors(self) -> dict[Path, ShardError]:
        """Return the inputs that do not fit, and why."""
        return {
            path: ShardError("; ".join(reasons), path=path, remedy=self._output.remedy_for(path))
            for path, reasons in self._refused.items()
        }

    def target(self) -> Target:
        """Return what the output holds then, after SQLite made it once."""
        self._place_indexes()
        own = [table for table in self._tables if self._is_written(table)]
        tried = accepted(
            (Candidate(self._tables[table], tuple(self._indexes.get(table, ()))) for table in own),
            alone=True,
        )
        for table, candidate in zip(own, tried, strict=True):
            if candidate.notes:
                self._tables[table] = candidate.definition
                self._indexes[table] = list(candidate.indexes)
                self._notes += candidate.notes
        indexes = {table: tuple(found) for table, found in self._indexes.items()}
        want = Structure(dict(self._tables), indexes)
        notes = tuple(dict.fromkeys(self._notes))
        return Target(self._have, want, notes, frozenset(self._to_try), self._alone)

    def _is_written(self, table: str) -> bool:
        """Return whether simulations have rows in a table; others may be a user's own notes."""
        return table not in registry().tables and self._tables[table].merged

    def _is_strange(self, table: str) -> bool:
        """Return whether a table of the output only has the name of one of today's."""
        return table in self._have.tables and not is_ours(self._have, table)

    def _is_anothers(self, key: str, table: TableMapping) -> bool:
        """Return whether the output has another model's table under the name of one of today's."""
        is_todays = key in today().tables and not self._alone
        return is_todays and self._is_strange(key) and table.definition.merged

    def _reconcile(
        self, sources: list[Input], have: TableDefinition, table: TableMapping
    ) -> TableDefinition:
        key = folded(table.target)
        ours = key in today().tables and not self._alone
        is_there = key in self._have.tables
        found = reconcile(
            have, table.definition, table.source, is_ours=ours, is_there=is_there or ours
        )
        self._notes += found.notes
        if found.refusal:
            self._refuse(sources, found.refusal)
            return have
        if is_there and not ours and is_stricter(have, table.definition):
            self._to_try.update(source.path for source in sources)
        types = {
            name: self._common_type(sources, table, have, name, is_ours=ours)
            for name in found.clashes
        }
        columns = tuple(
            replace(column, declared_type=types.get(column.name, column.declared_type))
            for column in found.table.columns
        )
        changed = replace(found.table, columns=columns)
        # STRICT knows no column without a type.
        return changed if all(types.values()) else without_strict(changed)

    def _common_type(
        self,
        sources: list[Input],
        table: TableMapping,
        have: TableDefinition,
        name: str,
        *,
        is_ours: bool,
    ) -> str:
        """Return the type of a column that inputs declare otherwise, by what it does to values."""
        mine, theirs = have.column(name), table.definition.column(name)
        assert mine is not None  # noqa: S101  (they clash, so both are there)
        assert theirs is not None  # noqa: S101
        where = f"table {table.source}, column {theirs.name}"
        declared = f"declared {theirs.declared_type or 'without type'}"
        # A type of today's schema stays; others go rather than change a value.
        is_fixed = is_ours and today().tables[have.folded_name].column(name) is not None
        for source in sources:
            changed = count_changed_values(source, table, name, mine.declared_type)
            if is_fixed and changed.different:
                self._refuse(
                    [source],
                    f"{where}: {changed.different:,} values would change: it is {declared}, in the"
                    f" output {mine.declared_type}",
                )
            elif is_fixed and changed.equal:
                self._notes.append(
                    f"{source.path}: {where}: {changed.equal:,} numbers become equal numbers of"
                    f" type {mine.declared_type} ({declared})"
                )
            elif changed.different or changed.equal:
                if self._may_be_retyped(have, name, theirs.declared_type):
                    return theirs.declared_type
                self._notes.append(
                    f"{where} is {declared} in {source.path}, elsewhere {mine.declared_type}:"
                    f" it gets no type, since {changed.different + changed.equal:,} values would"
                    " change"
                )
                return ""
        return mine.declared_type

    def _may_be_retyped(self, have: TableDefinition, name: str, declared_type: str) -> bool:
        """Return whether another type changes none of the values that a column has so far."""
        # In a table that is there, only a column that holds nothing, and is in no key.
        key = have.folded_name
        if key in self._have.tables and self._have.tables[key].column(name):
            is_key = folded(name) in map(folded, have.key_names)
            if is_key or self._output.is_new or self._holds_values(have.name, name):
                return False
        for source, table in self._sources[key]:
            changed = count_changed_values(source, table, name, declared_type)
            if changed.different or changed.equal:
                return False
        return True

    def _holds_values(self, table: str, column: str) -> bool:
        with read_output(self._output.path) as connection:
            (found,) = connection.execute(
                f"SELECT EXISTS (SELECT 1 FROM {quoted(table)} WHERE {quoted(column)} IS NOT NULL)"
            ).fetchone()
        return bool(found)

    def _place_indexes(self) -> None:
        """Give every index a free name; a UNIQUE one that not all files have is plain."""
        taken = {*self._tables, *self._views}
        taken |= {folded(index.name) for index in chain(*self._indexes.values())}
        self._rename_indexes(self._tables.keys() - self._have.tables.keys(), taken)
        for key, mappings in self._mappings.items():
            have = self._indexes.get(key, ())
            if key in today().tables and not self._alone:
                continue
            shapes = [{_shape(index) for index in table.indexes} for table in mappings]
            before = [set(map(_shape, have))] if key in self._have.tables else []
            kept = [self._loosened(index, shapes) for index in have]
            for index in (index for table in mappings for index in table.indexes):
                wanted = self._loosened(index, [*shapes, *before])
                if any(_shape(wanted) == _shape(other) for other in kept):
                    continue
                name = _free_name(wanted, taken)
                taken.add(folded(name))
                kept.append(replace(wanted, name=name))
            self._indexes[key] = kept

    def _rename_indexes(self, new_tables: set[str], taken: set[str]) -> None:
        """Give indexes of the output other names that have those of tables it gains."""
        for indexes in self._indexes.values():
            for place, index in enumerate(indexes):
                if folded(index.name) in new_tables:
                    indexes[place] = replace(index, name=_free_name(index, taken))
                    taken.add(folded(indexes[place].name))

    def _loosened(
        self, index: IndexDefinition, shapes: list[set[tuple[object, ...]]]
    ) -> IndexDefinition:
        """Return an index that the rows of all files keep."""
        if not index.unique or all(_shape(index) in shape for shape in shapes):
            return index
        self._notes.append(f"index {index.name} is not UNIQUE, since not all files have it")
        return replace(index, unique=False)

    def _refuse(self, sources: list[Input], reason: str) -> None:
        for source in sources:
            self._refused.setdefault(source.path, []).append(reason)


def _shape(index: IndexDefinition) -> tuple[object, ...]:
    return index.terms, index.unique, index.where


def _free_name(index: IndexDefinition, taken: set[str]) -> str:
    """Return a name for an index that no table and no other index has."""
    name, number = index.name, 1
    while folded(name) in taken:
        name = f"{index.table}_{index.name}{'' if number == 1 else f'_{number}'}"
        number += 1
    return name
