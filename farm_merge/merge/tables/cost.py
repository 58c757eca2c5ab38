"""Cost: which expressions of a file may be computed, here and by whoever reads the output.

An expression is as much data as the values are, and one line of it can take hours or gigabytes:
`hex(zeroblob(400000000))`, a LIKE with many wildcards, or computed columns of which each is twice
the one before. So only those are carried, and let run, whose every function is known and cheap.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from farm_merge.merge.tables.definition import folded
from farm_merge.merge.tables.tokens import tokens

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from farm_merge.merge.tables.definition import (
        ColumnDefinition,
        IndexDefinition,
        TableDefinition,
    )
    from farm_merge.merge.tables.structure import Structure

__all__ = [
    "Affordable",
    "affordable",
    "costly_columns",
    "is_affordable",
    "is_cheap",
    "is_costly",
    "may_be_extended",
]

_CHEAP = frozenset((
    "abs", "ceil", "ceiling", "coalesce", "date", "datetime", "floor", "ifnull", "iif", "instr",
    "json_extract", "json_type", "json_valid", "julianday", "length", "lower", "ltrim", "max",
    "min", "nullif", "octet_length", "round", "rtrim", "sign", "strftime", "substr",
    "substring", "time", "trim", "typeof", "unicode", "unixepoch", "upper",
))  # fmt: skip
"""Functions that take time and memory by the size of their arguments, at most."""

_BEFORE_PARENTHESES = frozenset((
    "all", "always", "and", "as", "between", "by", "case", "cast", "check", "collate",
    "decimal", "default", "else", "escape", "from", "generated", "in", "is", "isnull", "not",
    "notnull", "numeric", "or", "over", "then", "values", "varchar", "when",
))  # fmt: skip
"""Words that are no functions, though parentheses may follow."""

_COSTLY = frozenset(["GLOB", "LIKE", "MATCH", "REGEXP", "SELECT"])
_MOST_TOKENS = 200


class Affordable(NamedTuple):
    """A table with its indexes, without the expressions that may not be computed.

    Attributes:
        table: The table; a computed column that is stored has become one of values.
        indexes: Its indexes.
        lost: What is not there any more.
    """

    table: TableDefinition
    indexes: tuple[IndexDefinition, ...]
    lost: tuple[str, ...]


def is_cheap(sql: str, computed: Collection[str] = ()) -> bool:
    """Return whether an expression may be computed.

    Args:
        sql: The expression, or a constraint with one.
        computed: The lower-case names of computed columns, which it may not build upon.
    """
    words = list(tokens(sql))
    if len(words) > _MOST_TOKENS:
        return False
    for word, after in zip_longest(words, words[1:]):
        name = folded(word.name)
        is_called = after is not None and after.text == "(" and word.kind in {"word", "quoted"}
        if is_called and name not in _CHEAP and name not in _BEFORE_PARENTHESES:
            return False
        if word.keyword in _COSTLY or (word.kind in {"word", "quoted"} and name in computed):
            return False
    return True


def costly_columns(table: TableDefinition) -> frozenset[str]:
    """Return the lower-case names of columns whose values may not be computed."""
    computed = {folded(column.name) for column in table.columns if column.generated}
    return frozenset(
        folded(column.name)
        for column in table.columns
        if column.generated and not all(is_cheap(text, computed) for text in column.constraints)
    )


def is_costly(table: TableDefinition, indexes: Iterable[IndexDefinition]) -> bool:
    """Return whether SQLite may not check a table: it would compute what may take long."""
    return bool(costly_columns(table) or _costly_indexes(table, indexes))


@lru_cache(maxsize=256)
def is_affordable(structure: Structure) -> bool:
    """Return whether SQLite may check all tables of a file."""
    return not any(
        is_costly(table, structure.indexes.get(name, ()))
        for name, table in structure.tables.items()
    )


@lru_cache(maxsize=256)
def may_be_extended(structure: Structure) -> bool:
    """Return whether SQLite may write to all tables of a file: that computes defaults as well."""
    return not any(
        affordable(table, structure.indexes.get(name, ())).lost
        for name, table in structure.tables.items()
    )


def affordable(table: TableDefinition, indexes: tuple[IndexDefinition, ...]) -> Affordable:
    """Return a table and its indexes without what may not be computed."""
    costly = costly_columns(table)
    dropped = {
        folded(column.name)
        for column in table.columns
        if folded(column.name) in costly and not column.is_stored
    }
    columns = tuple(
        _with_cheap_constraints(column, costly)
        for column in table.columns
        if folded(column.name) not in dropped
    )
    checks = tuple(check for check in table.checks if is_cheap(check, costly))
    left = _costly_indexes(table, indexes)
    lost = [
        *(f"column {name}" for name in sorted(dropped)),
        *(f"index {index.name}" for index in left),
        *(
            f"how column {after.name} is computed"
            if folded(after.name) in costly
            else f"a constraint of column {after.name}"
            for after in columns
            if after != table.column(after.name)
        ),
        *(["a CHECK"] if len(checks) < len(table.checks) else []),
    ]
    if not lost:
        return Affordable(table, indexes, ())
    kept = tuple(index for index in indexes if index not in left)
    return Affordable(replace(table, columns=columns, checks=checks), kept, tuple(lost))


def _costly_indexes(
    table: TableDefinition, indexes: Iterable[IndexDefinition]
) -> list[IndexDefinition]:
    costly = costly_columns(table)
    return [
        index
        for index in indexes
        if not all(is_cheap(text, costly) for text in (*index.terms, index.where))
    ]


def _with_cheap_constraints(column: ColumnDefinition, costly: Collection[str]) -> ColumnDefinition:
    if folded(column.name) in costly:  # its values are stored, and stay
        return replace(column, constraints=(), generated=False)
    kept = tuple(text for text in column.constraints if is_cheap(text, costly))
    return replace(column, constraints=kept)
