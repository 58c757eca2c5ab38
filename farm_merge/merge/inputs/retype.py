"""Retype: what another declared type would do to the values of a column of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from farm_merge.merge.inputs.file import opened
from farm_merge.merge.tables.definition import affinity, folded

if TYPE_CHECKING:
    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.inputs.mapping import TableMapping

__all__ = ["ChangedValues", "count_changed_values"]


class ChangedValues(NamedTuple):
    """How many values of a column another declared type would change.

    Attributes:
        different: Values that would become other values.
        equal: Numbers that would become equal numbers of another type (1 and 1.0).
    """

    different: int
    equal: int


def count_changed_values(
    source: Input, mapping: TableMapping, column: str, declared_type: str
) -> ChangedValues:
    """Let SQLite store a column of a file under another declared type, and count what changes."""
    expressions = {folded(name): text for name, text in mapping.columns}
    expression = expressions.get(folded(column))  # another file may call it `V` and not `v`
    if expression is None:
        return ChangedValues(0, 0)
    both_numbers = "typeof(before) IN ('integer', 'real') AND typeof(after) IN ('integer', 'real')"
    with opened(source.file) as connection:
        connection.execute("PRAGMA query_only=OFF")
        connection.execute(f"CREATE TABLE main.probe (before, after {affinity(declared_type)})")
        connection.execute(
            f"INSERT INTO main.probe SELECT {expression}, {expression} {mapping.origin}"
            f" WHERE typeof({expression}) <> 'null'",
            source.bindings,
        )
        changed, equal = connection.execute(
            "SELECT count(*), coalesce(sum("
            f"{both_numbers} AND before = after), 0) FROM main.probe"
            " WHERE typeof(before) <> typeof(after) OR before IS NOT after"
        ).fetchone()
    return ChangedValues(changed - equal, equal)
