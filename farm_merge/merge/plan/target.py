"""Target: the tables of the output in which the rows of all inputs have their place."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from farm_merge.errors import ShardError
from farm_merge.merge.inputs.retype import count_changed_values
from farm_merge.merge.plan.reconcile import is_stricter, reconcile
from farm_merge.merge.tables.changes import index_changes, table_changes
from farm_merge.merge.tables.definition import affinity, folded
from farm_merge.merge.tables.structure import Structure, today
from farm_merge.merge.tables.trial import Candidate, accepted
from farm_merge.schema import ddl

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.inputs.mapping import FileMapping, TableMapping
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
        have: Its tables before; today's, where it is new.
        want: Its tables then.
        notes: What a reader should know.
        to_try: Inputs whose rows the tables of the output may refuse, by their constraints.
    """

    have: Structure
    want: Structure
    notes: tuple[str, ...] = ()
    to_try: frozenset[Path] = frozenset()
    _fits: dict[FileMapping, bool] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def additions(self) -> tuple[str, ...]:
        """The statements that bring the output there."""
        return (*table_changes(self.have, self.want), *index_changes(self.have, self.want))

    @cached_property
    def shard_tables(self) -> tuple[str, ...]:
        """The statements that make a shard with the tables of the output, without indexes."""
        return (*ddl(), *table_changes(today(), self.want))

    @cached_property
    def shard_indexes(self) -> tuple[str, ...]:
        """The statements that make its indexes."""
        return tuple(index_changes(today(), self.want))

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
            known = self._fits[source.mapping] = source.is_shard and all(
                self._holds(table) for table in source.mapping.tables
            )
        return known

    def _holds(self, table: TableMapping) -> bool:
        mine = self.want.tables[folded(table.target)]
        for name, _ in table.columns:
            here, there = mine.column(name), table.definition.column(name)
            if here is None or there is None:
                return False
            if affinity(here.declared_type) not in {affinity(there.declared_type), "BLOB"}:
                return False
        return True


def make_target(
    sources: Sequence[Input], output: Structure | None
) -> tuple[Target, dict[Path, ShardError]]:
    """Find the tables that hold the rows of all inputs, and name the inputs that do not fit.

    Args:
        sources: The inputs.
        output: The tables of the output; None where it is new.

    Returns:
        The target, and for every input that does not fit the reason.
    """
    builder = _Builder(output or today())
    groups: dict[FileMapping, list[Input]] = {}
    for source in sources:
        groups.setdefault(source.mapping, []).append(source)
    for mapping, group in groups.items():
        for table in mapping.tables:
            builder.add(group, table)
    return builder.target(), {
        path: ShardError("; ".join(reasons), path=path) for path, reasons in builder.refused.items()
    }


class _Builder:
    """The target in the making."""

    def __init__(self, have: Structure) -> None:
        self._have = have
        self._tables = dict(have.tables)
        self._indexes = {table: list(indexes) for table, indexes in have.indexes.items()}
        self._index_names = {
            folded(index.name): index for found in have.indexes.values() for index in found
        }
        self._notes: list[str] = []
        self._to_try: set[Path] = set()
        self._reconciled = False
        self.refused: dict[Path, list[str]] = {}

    def target(self) -> Target:
        if self._reconciled:
            self._try_added_tables()
        indexes = {table: tuple(found) for table, found in self._indexes.items()}
        want = Structure(dict(self._tables), indexes)
        notes = tuple(dict.fromkeys(self._notes))
        return Target(self._have, want, notes, frozenset(self._to_try))

    def add(self, sources: list[Input], table: TableMapping) -> None:
        key = folded(table.target)
        have, fixed = self._tables.get(key), self._have.tables.get(key)
        if have is None:
            self._tables[key] = replace(table.definition, merged=True)
        elif have != table.definition:
            self._reconciled = True
            self._tables[key] = self._reconcile(sources, have, table, fixed)
        if fixed is None:
            self._add_indexes(key, table.indexes)

    def _reconcile(
        self,
        sources: list[Input],
        have: TableDefinition,
        table: TableMapping,
        fixed: TableDefinition | None,
    ) -> TableDefinition:
        found = reconcile(have, table.definition, fixed, table.source)
        self._notes += found.notes
        if found.refusal:
            self._refuse(sources, found.refusal)
        if fixed is not None and is_stricter(have, table.definition):
            self._to_try.update(source.path for source in sources)
        untyped = {
            name
            for name in found.clashes
            if self._loses_its_type(
                sources, table, have, name, is_fixed=bool(fixed and fixed.column(name))
            )
        }
        columns = tuple(
            replace(column, declared_type="") if column.name in untyped else column
            for column in found.table.columns
        )
        # STRICT knows no column without a type.
        return replace(found.table, columns=columns, strict=found.table.strict and not untyped)

    def _loses_its_type(
        self,
        sources: list[Input],
        table: TableMapping,
        have: TableDefinition,
        name: str,
        *,
        is_fixed: bool,
    ) -> bool:
        """Decide on a column that inputs declare with other types, by what it does to values."""
        mine, theirs = have.column(name), table.definition.column(name)
        assert mine is not None  # noqa: S101  (they clash, so both are there)
        assert theirs is not None  # noqa: S101
        where = f"table {table.source}, column {theirs.name}"
        declared = f"declared {theirs.declared_type or 'without type'}"
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
                self._notes.append(
                    f"{where} is {declared} in {source.path}, elsewhere {mine.declared_type}:"
                    f" it gets no type, since {changed.different + changed.equal:,} values would"
                    " change"
                )
                return True
        return False

    def _add_indexes(self, key: str, indexes: Sequence[IndexDefinition]) -> None:
        for index in indexes:
            wanted = index
            taken = self._index_names.get(folded(index.name))
            if taken == index:
                continue
            if taken is not None:
                wanted = replace(index, name=f"{index.table}_{index.name}")
                if folded(wanted.name) in self._index_names:
                    continue
            self._index_names[folded(wanted.name)] = wanted
            self._indexes.setdefault(key, []).append(wanted)

    def _try_added_tables(self) -> None:
        """See that what was reconciled is still a table, and what others refer to still unique."""
        added = [table for table in self._tables if table not in today().tables]
        tried = accepted(
            Candidate(self._tables[table], tuple(self._indexes.get(table, ()))) for table in added
        )
        for table, candidate in zip(added, tried, strict=True):
            if table not in self._have.tables:
                self._tables[table] = candidate.definition
                self._indexes[table] = list(candidate.indexes)
                self._notes += candidate.notes

    def _refuse(self, sources: list[Input], reason: str) -> None:
        for source in sources:
            self.refused.setdefault(source.path, []).append(reason)
