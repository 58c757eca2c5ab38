"""Reconcile: one table that holds the rows of two, where files declare it differently.

What one declaration asks for and the other does not is not asked of the rows of both. A table that
the output has already can be loosened too, but for its key and what is unique in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from farm_merge.merge.tables.definition import ColumnDefinition, affinity, folded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from farm_merge.merge.tables.definition import TableDefinition

__all__ = ["Reconciled", "is_stricter", "plain_key", "reconcile"]

_MOST_COLUMNS = 2000
"""SQLite's default limit (www.sqlite.org/limits.html), with the `simulation_id`."""

_STRICT_TYPES = frozenset({"int", "integer", "real", "text", "blob", "any"})


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
    have: TableDefinition, new: TableDefinition, source: str, *, is_ours: bool, is_there: bool
) -> Reconciled:
    """Return a table that holds the rows of two.

    Args:
        have: The table so far.
        new: The table of another file, under the same name.
        source: What the table is called in the other file.
        is_ours: Whether it is one of today's tables, which only gain columns.
        is_there: Whether the output has it already.
    """
    if plain_key(have.key) != plain_key(new.key):
        where = "the output" if is_there else "another input"
        return Reconciled(
            have,
            refusal=f"table {source}: its key is ({', '.join(new.key)}), that of {have.name} in"
            f" {where} is ({', '.join(have.key)})",
        )
    added = [column for column in new.columns if not have.column(column.name)]
    if len(have.columns) + len(added) >= _MOST_COLUMNS:
        return Reconciled(
            have,
            refusal=f"table {source}: {have.name} would have {len(have.columns) + len(added):,}"
            f" columns, and SQLite allows {_MOST_COLUMNS - 1:,}",
        )
    pairs = [(column, new.column(column.name)) for column in have.columns]
    refusals = [text for pair in pairs if (text := _why_not(*pair, source, is_ours=is_ours))]
    clashes = [column.name for column, other in pairs if other and _clash(column, other)]
    notes = [
        f"computed column {column.name} of {new.name} is not carried"
        for column in added
        if column.generated
    ]
    columns = (
        *(column if is_ours else _shared(column, other) for column, other in pairs),
        *(_added(column, have) for column in added if not column.generated),
    )
    table = replace(have, columns=columns)
    if not is_ours:
        table = _with_shared_constraints(table, new, is_there=is_there)
    return Reconciled(table, tuple(clashes), tuple(notes), "; ".join(refusals))


def is_stricter(have: TableDefinition, new: TableDefinition) -> bool:
    """Return whether a table of the output could refuse rows that another table holds."""
    return bool(
        (have.strict and not new.strict)
        or _ordering(have) - _ordering(new)
        or set(have.uniques) - set(new.uniques)
    )


def plain_key(terms: Iterable[str]) -> list[str]:
    """Return the terms of a key without their direction, as SQLite compares names."""
    return [" ".join(folded(term).split()).removesuffix(" desc") for term in terms]


def _why_not(
    column: ColumnDefinition, other: ColumnDefinition | None, source: str, *, is_ours: bool
) -> str:
    """Return why a column cannot hold the values of another; empty if it can."""
    if other is None:
        lacks = is_ours and column.not_null and not column.generated
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
        kept = (
            text
            for text in column.constraints
            if text in other.constraints or text.startswith("COLLATE")
        )
    return replace(column, constraints=tuple(kept))


def _added(column: ColumnDefinition, table: TableDefinition) -> ColumnDefinition:
    """Return a column as a table gains it: without constraints, with a type that it may have."""
    fits = not table.strict or folded(column.declared_type) in _STRICT_TYPES
    return ColumnDefinition(column.name, column.declared_type if fits else "ANY")


def _with_shared_constraints(
    table: TableDefinition, new: TableDefinition, *, is_there: bool
) -> TableDefinition:
    checks = tuple(check for check in table.checks if check in new.checks)
    foreign_keys = tuple(key for key in table.foreign_keys if key in new.foreign_keys)
    table = replace(table, checks=checks, foreign_keys=foreign_keys)
    if is_there:  # what is unique has an index, and STRICT was asked of the rows that are there
        return table
    return replace(
        table,
        uniques=tuple(terms for terms in table.uniques if terms in new.uniques),
        # STRICT knows no column without a type.
        strict=table.strict
        and new.strict
        and all(column.declared_type for column in table.columns),
    )


def _ordering(table: TableDefinition) -> set[tuple[str, str]]:
    return {
        (folded(column.name), folded(constraint))
        for column in table.columns
        for constraint in column.constraints
        if constraint.startswith("COLLATE")
    }
