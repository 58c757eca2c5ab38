"""Reconcile: one table that holds the rows of two, where files declare it differently."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from farm_merge.merge.tables.definition import ColumnDefinition, affinity, folded
from farm_merge.schema import OUR_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from farm_merge.merge.tables.definition import TableDefinition

__all__ = ["Reconciled", "is_stricter", "reconcile"]


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What came of two declarations of a table.

    Attributes:
        table: The table that holds the rows of both.
        clashes: Columns whose types do different things to values, by name; what becomes of them
            depends on the values.
        notes: What a reader should know.
        refusal: Why the rows of the second cannot be held; empty if they can.
    """

    table: TableDefinition
    clashes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    refusal: str = ""


def reconcile(
    have: TableDefinition, new: TableDefinition, fixed: TableDefinition | None, source: str
) -> Reconciled:
    """Return a table that holds the rows of two.

    Args:
        have: The table so far.
        new: The table of another file, under the same name.
        fixed: The table as it is in the output, which can only gain columns; None if it is new.
        source: What the table is called in the other file.
    """
    if _plain(have.key) != _plain(new.key):
        where = "the output" if fixed else "another input"
        return Reconciled(
            have,
            refusal=f"table {source}: its key is ({', '.join(new.key)}), that of {have.name} in"
            f" {where} is ({', '.join(have.key)})",
        )
    columns: list[ColumnDefinition] = []
    clashes, notes, refusals = [], [], []
    for column in have.columns:
        other = new.column(column.name)
        is_fixed = fixed is not None and fixed.column(column.name) is not None
        if refusal := _why_not(column, other, source, is_fixed=is_fixed):
            refusals.append(refusal)
        elif other and _clash(column, other):
            clashes.append(column.name)
        columns.append(column if is_fixed else _shared(column, other))
    for column in new.columns:
        if have.column(column.name):
            continue
        if column.generated:
            notes.append(f"computed column {column.name} of {new.name} is not carried")
        else:
            columns.append(ColumnDefinition(column.name, column.declared_type))
    table = replace(have, columns=tuple(columns))
    if fixed is None:
        table = _with_shared_constraints(table, new)
    return Reconciled(table, tuple(clashes), tuple(notes), "; ".join(refusals))


def is_stricter(have: TableDefinition, new: TableDefinition) -> bool:
    """Return whether a table of the output could refuse rows that another table holds.

    What today's tables ask for is asked when a file is inspected.
    """
    if have.folded_name in OUR_TABLES:
        return False
    return bool(
        (have.strict and not new.strict)
        or _collations(have) - _collations(new)
        or set(have.uniques) - set(new.uniques)
        or any(
            column.not_null and (other := new.column(column.name)) and not other.not_null
            for column in have.columns
        )
    )


def _why_not(
    column: ColumnDefinition, other: ColumnDefinition | None, source: str, *, is_fixed: bool
) -> str:
    """Return why a column cannot hold the values of another; empty if it can."""
    if other is None:
        lacks = is_fixed and column.not_null and not column.generated
        return f"table {source} lacks the column {column.name}" if lacks else ""
    if column.generated != other.generated:
        return (
            f"table {source}: column {column.name} is computed here and stored in another input,"
            " or the other way round"
        )
    return ""


def _clash(column: ColumnDefinition, other: ColumnDefinition) -> bool:
    mine, theirs = affinity(column.declared_type), affinity(other.declared_type)
    return not column.generated and mine not in {theirs, "BLOB"}


def _shared(column: ColumnDefinition, other: ColumnDefinition | None) -> ColumnDefinition:
    """Return a column with those constraints that all files declare."""
    if column.generated and (other is None or other.generated):
        return column
    if other is None:
        kept = (text for text in column.constraints if not text.startswith(("NOT NULL", "DEFAULT")))
    else:
        kept = (text for text in column.constraints if text in other.constraints)
    return replace(column, constraints=tuple(kept))


def _with_shared_constraints(table: TableDefinition, new: TableDefinition) -> TableDefinition:
    return replace(
        table,
        uniques=tuple(terms for terms in table.uniques if terms in new.uniques),
        checks=tuple(check for check in table.checks if check in new.checks),
        foreign_keys=tuple(key for key in table.foreign_keys if key in new.foreign_keys),
        # STRICT knows no column without a type.
        strict=table.strict
        and new.strict
        and all(column.declared_type for column in table.columns),
    )


def _plain(terms: Iterable[str]) -> list[str]:
    return [" ".join(folded(term).split()).removesuffix(" desc") for term in terms]


def _collations(table: TableDefinition) -> set[tuple[str, str]]:
    return {
        (folded(column.name), folded(constraint))
        for column in table.columns
        for constraint in column.constraints
        if constraint.startswith("COLLATE")
    }
