"""Pack: small shards are copied into one, whose pages are grafted then.

To take a file apart and join its trees costs more than the rows of a small one. Copied row by row
into the output they would wait for each other; into shards of their own they are copied by all
workers at once.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from farm_merge.merge.inputs.file import fingerprint, readable, require_unchanged
from farm_merge.merge.inputs.input import Contents
from farm_merge.merge.inputs.reading import require_ok
from farm_merge.merge.tables.cost import is_affordable
from farm_merge.merge.tables.structure import read_structure
from farm_merge.merge.write.blame import blaming
from farm_merge.merge.write.load import read_metadata
from farm_merge.merge.write.registry import copy_statement
from farm_merge.merge.write.rewrite import passing_file
from farm_merge.sqlite import attached, connect, file_uri, make_disposable, transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.plan.target import Target
    from farm_merge.merge.write.load import Metadata
    from farm_merge.sqlite import sqlite3

__all__ = ["Packed", "may_be_packed", "packed"]

Packed = list[tuple[Contents, "Metadata"]]
"""What was read of each shard on the way."""


def may_be_packed(source: Input) -> bool:
    """Return whether SQLite may check a shard, and copy its rows, whatever is in it."""
    return not source.structure.virtual and is_affordable(source.structure)


@contextmanager
def packed(
    sources: Sequence[Input], target: Target, folder: Path, page_size: int
) -> Iterator[tuple[Path, Packed]]:
    """Yield a new shard with the rows of several, and what was read of each; it is gone afterwards.

    Args:
        sources: Shards of one mapping, in the order of their simulations.
        target: The tables of the output.
        folder: A private folder.
        page_size: Of the new shard.

    Raises:
        ShardError: If one of them changed, is damaged, or holds what the output refuses.
    """
    mapping = sources[0].mapping
    with passing_file(folder) as shard:
        with closing(connect(file_uri(shard))) as connection:
            connection.execute(f"PRAGMA page_size = {page_size}")
            make_disposable(connection)
            with transaction(connection):
                for statement in target.shard_tables(mapping):
                    connection.execute(statement)
            read = _fill(connection, sources, target)
            with transaction(connection):
                for statement in target.shard_indexes(mapping):
                    connection.execute(statement)
        yield shard, read


def _fill(connection: sqlite3.Connection, sources: Iterable[Input], target: Target) -> Packed:
    read: Packed = []
    statements: dict[str, str] = {}
    for source in sources:
        require_unchanged(source.file)
        digest = fingerprint(source.file)
        with (
            readable(source.file) as uri,
            blaming(source.path),
            attached(connection, uri, "shard"),
        ):
            if source.contents is None:
                require_ok(connection, "shard", "integrity_check(1)", source.path)
            if not statements:  # they are the same for all of one mapping
                statements = {
                    definition.name: copy_statement(definition, target.want.tables[table])
                    for table, definition in read_structure(connection, "shard").content.items()
                }
            with transaction(connection):
                counts = [_copy(connection, statements, run.own_id) for run in source.simulations]
            read.append((Contents(digest, tuple(counts)), read_metadata(connection, "shard")))
        require_unchanged(source.file)
    return read


def _copy(
    connection: sqlite3.Connection, statements: Mapping[str, str], simulation_id: str | None
) -> dict[str, int]:
    """Copy the rows of a simulation; return how many there are, by table."""
    counts = {
        table: connection.execute(statement, (simulation_id,)).rowcount
        for table, statement in statements.items()
    }
    return {table: rows for table, rows in counts.items() if rows}
