"""Match: which b-trees of a shard hold rows exactly as the output's tables store them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from farm_merge.merge.tables.definition import affinity, folded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm_merge.merge.tables.definition import (
        ColumnDefinition,
        IndexDefinition,
        TableDefinition,
    )
    from farm_merge.merge.tables.structure import Structure

__all__ = ["matching_trees"]


@lru_cache(maxsize=64)
def matching_trees(output: Structure, shard: Structure) -> Mapping[str, str] | None:
    """Pair the b-trees of an output's content with those of a shard, by their names.

    Returns:
        For every tree of the output that of the shard, where the shard has the table; None, if a
        table of the shard is not built like the output's.
    """
    pairs: dict[str, str] = {}
    for table, theirs in shard.content.items():
        mine = output.content.get(table)
        if mine is None:
            return None
        indexes = output.indexes.get(table, ())
        uniques = range(len(mine.uniques))
        named = {_shape(index): index.name for index in shard.indexes.get(table, ())}
        if not _is_prefix(theirs, mine) or any(_shape(index) not in named for index in indexes):
            return None
        pairs[mine.name] = theirs.name
        pairs |= {index.name: named[_shape(index)] for index in indexes}
        pairs |= {_unique_name(mine, n): _unique_name(theirs, n) for n in uniques}
    return pairs


def _is_prefix(shard: TableDefinition, output: TableDefinition) -> bool:
    """Return whether the rows of a shard's table are rows of the output's as they are stored.

    Columns may lack at the end where they may be NULL and have no default: that is how a row looks
    after ALTER TABLE ADD COLUMN.
    """
    mine, theirs = _stored(output), _stored(shard)
    missing = mine[len(theirs) :]
    return (
        shard.merged
        and output.merged
        and shard.key == output.key
        and shard.uniques == output.uniques
        and list(map(_storage, theirs)) == list(map(_storage, mine[: len(theirs)]))
        and not any(column.generated for column in missing)
        and not any(
            constraint.startswith(("NOT NULL", "DEFAULT"))
            for column in missing
            for constraint in column.constraints
        )
    )


def _stored(table: TableDefinition) -> list[ColumnDefinition]:
    """Return the columns that a record holds, computed ones that are stored among them."""
    return [column for column in table.columns if column.is_stored]


def _storage(column: ColumnDefinition) -> tuple[object, ...]:
    """Return what of a column decides how its values are stored, ordered, and read where they lack.

    A row that is shorter than its table reads as the defaults of the columns that it lacks.
    """
    ordering = tuple(
        text for text in column.constraints if text.startswith(("COLLATE", "DEFAULT", "GENERATED"))
    )
    return folded(column.name), affinity(column.declared_type), ordering


def _shape(index: IndexDefinition) -> tuple[object, ...]:
    return index.terms, index.unique, index.where


def _unique_name(table: TableDefinition, number: int) -> str:
    # The primary key of a table WITHOUT ROWID takes the first number, and is the table itself.
    return f"sqlite_autoindex_{table.name}_{number + 2}"
