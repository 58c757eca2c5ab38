"""Trial: SQLite makes the tables of an experiment database in memory, and shows what it refuses.

What it would refuse later costs a merge; what it refuses here is left out, and reported.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from farm_merge.errors import ShardError
from farm_merge.merge.tables.structure import read_structure
from farm_merge.schema import create_schema
from farm_merge.sqlite import connect, quoted, sqlite3

if TYPE_CHECKING:
    from collections.abc import Iterable

    from farm_merge.merge.tables.definition import IndexDefinition, TableDefinition

__all__ = ["Candidate", "accepted"]


class Candidate(NamedTuple):
    """A table that is to be made, beside today's.

    Attributes:
        definition: The table.
        indexes: Its indexes.
        notes: What of it SQLite refused.
    """

    definition: TableDefinition
    indexes: tuple[IndexDefinition, ...] = ()
    notes: tuple[str, ...] = ()


def accepted(candidates: Iterable[Candidate], *, alone: bool = False) -> list[Candidate]:
    """Return tables as SQLite makes them: without the constraints and indexes that it refuses.

    Args:
        candidates: Tables that today's schema does not have, of one database.
        alone: Whether there are no tables of today's schema beside them but the registry.

    Raises:
        ShardError: If SQLite makes no table of these columns at all; it names no file.
    """
    with closing(connect()) as connection:
        create_schema(connection, registry_only=alone)
        made = [_made(connection, candidate) for candidate in candidates]
        made = [_with_indexes(connection, candidate) for candidate in made]
        made = [_with_valid_references(connection, candidate) for candidate in made]
        tables = read_structure(connection).tables
    return [
        candidate
        if candidate.definition.is_like(tables[candidate.definition.folded_name])
        else _relaxed(candidate, "SQLite reads it in another way")
        for candidate in made
    ]


def _made(connection: sqlite3.Connection, candidate: Candidate) -> Candidate:
    reason = _refusal(connection, candidate.definition.create())
    if reason is None:
        return candidate
    relaxed = _relaxed(candidate, reason)
    try:
        connection.execute(relaxed.definition.create())
    except sqlite3.Error as exc:
        raise ShardError(
            f"SQLite makes no such table with what a merge adds to its columns ({exc})",
            table=candidate.definition.name,
            remedy="split it into two tables of one key",
        ) from exc
    return relaxed


def _relaxed(candidate: Candidate, reason: str) -> Candidate:
    definition = candidate.definition
    generated = [column.name for column in definition.columns if column.generated]
    lost = f"; computed columns not carried: {', '.join(generated)}" if generated else ""
    note = f"table {definition.name}: its constraints are not carried ({reason}){lost}"
    return Candidate(definition.relaxed(), (), (*candidate.notes, note))


def _with_indexes(connection: sqlite3.Connection, candidate: Candidate) -> Candidate:
    kept, notes = [], []
    for index in candidate.indexes:
        if reason := _refusal(connection, index.create()):
            notes.append(f"index {index.name} is not carried ({reason})")
        else:
            kept.append(index)
    return candidate._replace(indexes=tuple(kept), notes=(*candidate.notes, *notes))


def _with_valid_references(connection: sqlite3.Connection, candidate: Candidate) -> Candidate:
    definition = candidate.definition
    if not definition.foreign_keys:
        return candidate
    reason = _refusal(connection, f"PRAGMA foreign_key_check({quoted(definition.name)})")
    if reason is None:
        return candidate
    note = f"table {definition.name}: its references are not declared ({reason})"
    return candidate._replace(
        definition=replace(definition, foreign_keys=()), notes=(*candidate.notes, note)
    )


def _refusal(connection: sqlite3.Connection, statement: str) -> str | None:
    try:
        connection.execute(statement).fetchall()
    except sqlite3.Error as exc:
        return str(exc)
    return None
