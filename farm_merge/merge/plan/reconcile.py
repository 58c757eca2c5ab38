"""Reconcile: one table that holds the rows of two, where files declare it differently.

What one declaration asks for and the other does not is not asked of the rows of both. A table that
the output has already can be loosened too, but for its key and what is unique in it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from farm_merge.merge.tables.definition import ColumnDefinition, affinity, folded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from farm_merge.merge.tables.definition import TableDefinition

__all__ = ["Reconciled", "is_stricter", "plain_key", "reconcile", "without_strict"]

_MOST_COLUMNS = 2000
"""SQLite's default limit (www.sqlite.org/limits.html), with the `simulation_id`."""


class Reconciled(NamedTuple):
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
    is_strict = have.strict
    if have.strict != new.strict:
        have, new = without_strict(have), without_strict(new)
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
        # Without constraints: the rows that are there have no value in it.
        *(ColumnDefinition(it.name, it.declared_type) for it in added if not it.generated),
    )
    table = replace(have, columns=columns)
    if not is_ours:
        table = _with_shared_constraints(table, new, is_there=is_there)
        if is_strict and not table.strict:
            notes.append(f"table {have.name} is not STRICT, since another file's values may differ")
        if lost := ", ".join(_lost(have, table) | _lost(new, table)):
            notes.append(f"table {have.name} does not ask for {lost}, since not all files do")
    return Reconciled(table, tuple(clashes), tuple(notes), "; ".join(refusals))


def is_stricter(have: TableDefinition, new: TableDefinition) -> bool:
    """Return whether a table of the output could refuse rows that another table holds."""
    return bool(_ordering(have) - _ordering(new) or set(have.uniques) - set(new.uniques))


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


def _with_shared_constraints(
    table: TableDefinition, new: TableDefinition, *, is_there: bool
) -> TableDefinition:
    checks = tuple(check for check in table.checks if check in new.checks)
    foreign_keys = tuple(key for key in table.foreign_keys if key in new.foreign_keys)
    table = replace(table, checks=checks, foreign_keys=foreign_keys)
    if not is_there:  # what is unique in a table that is there has an index
        uniques = tuple(terms for terms in table.uniques if terms in new.uniques)
        table = replace(table, uniques=uniques)
    return without_strict(table) if table.strict and _types_differ(table, new) else table


def _types_differ(table: TableDefinition, new: TableDefinition) -> bool:
    """Return whether STRICT would refuse values of another STRICT table."""
    return any(
        folded(column.declared_type) not in {folded(other.declared_type), "any"}
        for column in table.columns
        if (other := new.column(column.name))
    )


def without_strict(table: TableDefinition) -> TableDefinition:
    """Return a table that is not STRICT; ANY, which leaves values as they are, is no type there."""
    if not table.strict:
        return table
    columns = tuple(
        replace(column, declared_type="") if folded(column.declared_type) == "any" else column
        for column in table.columns
    )
    return replace(table, columns=columns, strict=False)


def _lost(table: TableDefinition, after: TableDefinition) -> dict[str, None]:
    """Return what a table asks of its rows, and the table of all files does not, in words."""
    lost = [
        f"{constraint} of {column.name}"
        for column in table.stored
        if (kept := after.column(column.name))
        for constraint in column.constraints
        if constraint.startswith(("NOT NULL", "CHECK")) and constraint not in kept.constraints
    ]
    lost += [f"UNIQUE ({', '.join(it)})" for it in table.uniques if it not in after.uniques]
    lost += [f"CHECK {check}" for check in table.checks if check not in after.checks]
    lost += [
        f"({', '.join(key.columns)}) REFERENCES {key.parent}"
        for key in table.foreign_keys
        if key not in after.foreign_keys
    ]
    return dict.fromkeys(lost)


def _ordering(table: TableDefinition) -> set[tuple[str, str]]:
    return {
        (folded(column.name), folded(constraint))
        for column in table.columns
        for constraint in column.constraints
        if constraint.startswith("COLLATE")
    }
