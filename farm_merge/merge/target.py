"""Target: the tables of the output in which the rows of all inputs have their place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from farm_merge.driver import quoted
from farm_merge.merge.definition import (
    ColumnDefinition,
    IndexDefinition,
    TableDefinition,
    affinity,
    folded,
)
from farm_merge.merge.structure import Structure, refusal, today
from farm_merge.schema import ddl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from farm_merge.merge.inspect import Inspection
    from farm_merge.merge.mapping import TableMapping

__all__ = ["Changes", "CountChanges", "Target", "make_target"]


@dataclass(frozen=True, slots=True)
class Changes:
    """How many values of a column another declared type would change.

    Attributes:
        changed: Values that would become other values.
        equal: Numbers that would become equal numbers of another type (1 and 1.0).
    """

    changed: int
    equal: int


CountChanges = Callable[["Inspection", "TableMapping", str, str], Changes]
"""Counts what a declared type would do to the values of a column of a file."""


def gains(tables: Mapping[str, TableDefinition]) -> Iterator[str]:
    """Yield the statements that bring a database of today's schema to have other tables too.

    Args:
        tables: All that it is to have, by lower-case name.
    """
    ours = today().tables
    for table, each in tables.items():
        if table in ours:
            for column in each.columns:
                if not ours[table].column(column.name):
                    yield f"ALTER TABLE {quoted(each.name)} ADD COLUMN {column}"
        else:
            yield each.create()


@dataclass(frozen=True)
class Target:
    """What the output holds after the merge.

    Attributes:
        tables: By lower-case name.
        indexes: Of tables that today's schema does not have.
        added_columns: What the output's tables gain, in order.
        added_tables: The tables that it gains.
        added_indexes: The indexes that it gains.
        notes: What a reader should know.
        to_try: Inputs whose rows the tables of the output may refuse, by their constraints.
    """

    tables: Mapping[str, TableDefinition]
    indexes: tuple[IndexDefinition, ...]
    added_columns: tuple[tuple[str, ColumnDefinition], ...]
    added_tables: tuple[TableDefinition, ...]
    added_indexes: tuple[IndexDefinition, ...]
    notes: tuple[str, ...]
    to_try: frozenset[Path]

    @cached_property
    def additions(self) -> tuple[str, ...]:
        """The statements that bring the output there."""
        return (
            *(
                f"ALTER TABLE main.{quoted(table)} ADD COLUMN {column}"
                for table, column in self.added_columns
            ),
            *(each.create() for each in self.added_tables),
            *(each.create() for each in self.added_indexes),
        )

    @cached_property
    def statements(self) -> tuple[str, ...]:
        """The statements that make a shard with the tables of the output, without indexes."""
        return (*ddl(), *gains(self.tables))

    @cached_property
    def index_statements(self) -> tuple[str, ...]:
        """The statements that make its indexes."""
        return tuple(each.create() for each in self.indexes)

    def fits(self, source: Inspection) -> bool:
        """Tell whether a shard's rows can be copied as they are."""
        known = self._fits.get(id(source.mapping))
        if known is None:
            known = self._fits[id(source.mapping)] = self._is_fitting(source)
        return known

    @cached_property
    def _fits(self) -> dict[int, bool]:
        """The answers so far: thousands of inputs share one mapping."""
        return {}

    def _is_fitting(self, source: Inspection) -> bool:
        return source.is_shard and all(
            (mine := self.tables[folded(mapping.target)].column(name)) is not None
            and affinity(mine.declared_type)
            in {affinity(mapping.definition.column(name).declared_type), "BLOB"}  # type: ignore[union-attr]
            for mapping in source.mapping
            for name, _ in mapping.columns
        )


def make_target(
    sources: Sequence[Inspection], output: Structure | None, count_changes: CountChanges
) -> tuple[Target, dict[Path, str]]:
    """Find the tables that hold the rows of all inputs, and name the inputs that do not fit.

    Args:
        sources: The inputs.
        output: The tables of the output; None where it is new.
        count_changes: Counts what a declared type would do to values.

    Returns:
        The target, and for every input that does not fit the reason.
    """
    drawing = _Drawing(output, count_changes)
    groups: dict[int, list[Inspection]] = {}
    for source in sources:
        groups.setdefault(id(source.mapping), []).append(source)
    for group in groups.values():
        for mapping in group[0].mapping:
            drawing.add(group, mapping)
    return drawing.target(), drawing.problems


class _Drawing:
    """The target in the making."""

    def __init__(self, output: Structure | None, count_changes: CountChanges) -> None:
        self._fixed = output or today()
        self._tables = dict(self._fixed.tables)
        self._count_changes = count_changes
        self._indexes: dict[str, IndexDefinition] = {
            folded(index.name): index
            for table, indexes in self._fixed.indexes.items()
            for index in indexes
        }
        self._own_indexes: list[IndexDefinition] = []
        self._notes: list[str] = []
        self._to_try: set[Path] = set()
        self._reconciles = False
        self.problems: dict[Path, str] = {}

    def target(self) -> Target:
        self._drop_broken_references()
        added_columns = tuple(
            (each.name, column)
            for table, each in self._tables.items()
            if (fixed := self._fixed.tables.get(table))
            for column in each.columns
            if not fixed.column(column.name)
        )
        added_tables = tuple(
            each for table, each in self._tables.items() if table not in self._fixed.tables
        )
        kept = tuple(
            index
            for table, indexes in self._fixed.indexes.items()
            if table not in today().tables
            for index in indexes
        )
        added_indexes = tuple(self._own_indexes)
        return Target(
            self._tables,
            (*kept, *added_indexes),
            added_columns,
            added_tables,
            added_indexes,
            tuple(dict.fromkeys(self._notes)),
            frozenset(self._to_try),
        )

    def _drop_broken_references(self) -> None:
        """See that what tables refer to is still unique after they were reconciled."""
        own = {
            table: each for table, each in self._tables.items() if table not in self._fixed.tables
        }
        context = [
            *(each.create() for each in self._tables.values() if each.name not in today().tables),
            *(index.create() for index in self._indexes.values()),
        ]
        for table, each in own.items() if self._reconciles else ():
            others = [statement for statement in context if statement != each.create()]
            if each.foreign_keys and refusal(each, others):
                self._tables[table] = replace(each, foreign_keys=())
                self._notes.append(f"table {each.name}: its references are not declared")

    def add(self, sources: list[Inspection], mapping: TableMapping) -> None:
        key = folded(mapping.target)
        have = self._tables.get(key)
        if have is None:
            self._tables[key] = replace(mapping.definition, merged=True)
            self._add_indexes(mapping)
            return
        if have != mapping.definition:
            self._reconciles = True
            self._tables[key] = self._reconciled(sources, have, mapping)
        if key not in self._fixed.tables:
            self._add_indexes(mapping)

    def _add_indexes(self, mapping: TableMapping) -> None:
        for index in mapping.indexes:
            taken = self._indexes.get(folded(index.name))
            if taken == index:
                continue
            wanted = index
            if taken is not None:
                wanted = replace(index, name=f"{index.table}_{index.name}")
                if self._indexes.get(folded(wanted.name)) is not None:
                    continue
            self._indexes[folded(wanted.name)] = wanted
            self._own_indexes.append(wanted)

    def _reconciled(
        self, sources: list[Inspection], have: TableDefinition, mapping: TableMapping
    ) -> TableDefinition:
        """Return a table that holds the rows of both; what cannot be becomes a problem."""
        new = mapping.definition
        fixed = folded(have.name) in self._fixed.tables
        if _plain(have.key) != _plain(new.key):
            self._refuse(
                sources,
                f"table {mapping.source}: its key is ({', '.join(new.key)}), that of {have.name} in"
                f" {'the output' if fixed else 'another input'} is ({', '.join(have.key)})",
            )
            return have
        columns = [self._column(sources, have, mapping, each, fixed=fixed) for each in have.columns]
        for column in new.columns:
            if have.column(column.name):
                continue
            if column.generated:
                self._notes.append(f"computed column {column.name} of {new.name} is not carried")
            else:
                columns.append(ColumnDefinition(column.name, column.declared_type))
        if fixed:
            self._try_where_stricter(sources, have, new)
            return replace(have, columns=tuple(columns))
        return replace(
            have,
            columns=tuple(columns),
            uniques=tuple(each for each in have.uniques if each in new.uniques),
            checks=tuple(each for each in have.checks if each in new.checks),
            foreign_keys=tuple(each for each in have.foreign_keys if each in new.foreign_keys),
            # STRICT has no column without a type.
            strict=have.strict and new.strict and all(each.declared_type for each in columns),
        )

    def _column(
        self,
        sources: list[Inspection],
        have: TableDefinition,
        mapping: TableMapping,
        column: ColumnDefinition,
        *,
        fixed: bool,
    ) -> ColumnDefinition:
        """Return a column of the table that also takes the values of `mapping`."""
        other = mapping.definition.column(column.name)
        fixed_table = self._fixed.tables.get(folded(have.name)) if fixed else None
        fixed = bool(fixed_table and fixed_table.column(column.name))
        if column.generated and (other is None or other.generated):
            return column
        if other is None:
            if not fixed:
                return _without(column, "NOT NULL", "DEFAULT")
            if column.not_null:
                self._refuse(sources, f"table {mapping.source} lacks the column {column.name}")
            return column
        if column.generated or other.generated:
            self._refuse(
                sources,
                f"table {mapping.source}: column {column.name} is computed here and stored in"
                f" another input, or the other way round",
            )
            return column
        kept = column
        if affinity(column.declared_type) != affinity(other.declared_type):
            kept = self._retyped(sources, mapping, column, other, fixed=fixed)
        if fixed:
            return kept
        shared = tuple(each for each in column.constraints if each in other.constraints)
        return replace(kept, constraints=shared)

    def _retyped(
        self,
        sources: list[Inspection],
        mapping: TableMapping,
        column: ColumnDefinition,
        other: ColumnDefinition,
        *,
        fixed: bool,
    ) -> ColumnDefinition:
        """Decide on a column that inputs declare with other types, by what it does to values."""
        if affinity(column.declared_type) == "BLOB":
            return column
        where = f"table {mapping.source}, column {other.name}"
        declared = f"declared {other.declared_type or 'without type'}"
        for source in sources:
            changes = self._count_changes(source, mapping, column.name, column.declared_type)
            if fixed and changes.changed:
                self._refuse(
                    [source],
                    f"{where}: {changes.changed:,} values would change: it is {declared}, in the"
                    f" output {column.declared_type}",
                )
            elif fixed and changes.equal:
                self._notes.append(
                    f"{source.path}: {where}: {changes.equal:,} numbers become equal numbers of"
                    f" type {column.declared_type} ({declared})"
                )
            elif changes.changed or changes.equal:
                self._notes.append(
                    f"{where} is {declared} in {source.path}, elsewhere {column.declared_type}:"
                    f" it gets no type, since {changes.changed + changes.equal:,} values would"
                    " change"
                )
                return replace(column, declared_type="")
        return column

    def _try_where_stricter(
        self, sources: list[Inspection], have: TableDefinition, new: TableDefinition
    ) -> None:
        """Remember the inputs whose rows could break a constraint that only the output has."""
        if folded(have.name) in today().tables:
            return  # what today's tables ask for is asked when a file is inspected
        stricter = (
            (have.strict and not new.strict)
            or _collations(have) - _collations(new)
            or set(have.uniques) - set(new.uniques)
            or any(
                each.not_null and (other := new.column(each.name)) and not other.not_null
                for each in have.columns
            )
        )
        if stricter:
            self._to_try.update(source.path for source in sources)

    def _refuse(self, sources: Iterable[Inspection], reason: str) -> None:
        for source in sources:
            earlier = self.problems.get(source.path)
            self.problems[source.path] = f"{earlier}; {reason}" if earlier else reason


def _plain(terms: Iterable[str]) -> list[str]:
    return [" ".join(folded(term).split()).removesuffix(" desc") for term in terms]


def _collations(table: TableDefinition) -> set[tuple[str, str]]:
    return {
        (folded(each.name), constraint.upper())
        for each in table.columns
        for constraint in each.constraints
        if constraint.startswith("COLLATE")
    }


def _without(column: ColumnDefinition, *words: str) -> ColumnDefinition:
    kept = tuple(each for each in column.constraints if not each.startswith(words))
    return replace(column, constraints=kept)
