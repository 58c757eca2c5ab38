"""Changes: the statements that give a database the tables of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farm_merge.merge.tables.structure import Structure

__all__ = ["index_changes", "table_changes"]


def table_changes(have: Structure, want: Structure) -> Iterator[str]:
    """Yield the statements that give a database the tables and columns that it lacks.

    Args:
        have: What it has.
        want: What it is to have.
    """
    for table, definition in want.tables.items():
        present = have.tables.get(table)
        if present is None:
            yield definition.create()
            continue
        for column in definition.columns:
            if not present.column(column.name):
                yield f"ALTER TABLE main.{quoted(present.name)} ADD COLUMN {column}"


def index_changes(have: Structure, want: Structure) -> Iterator[str]:
    """Yield the statements that give a database the indexes that it lacks."""
    for table, indexes in want.indexes.items():
        present = have.indexes.get(table, ())
        yield from (index.create() for index in indexes if index not in present)
