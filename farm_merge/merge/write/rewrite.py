"""Rewrite: a file of any schema becomes a shard in a private folder, by its mapping."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from farm_merge.errors import ShardError
from farm_merge.merge.inputs.file import readable
from farm_merge.merge.tables.definition import SIMULATION_ID, folded
from farm_merge.merge.write.blame import blaming
from farm_merge.sqlite import (
    add_collations,
    connect,
    file_uri,
    make_disposable,
    quoted,
    transaction,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.inputs.mapping import TableMapping
    from farm_merge.merge.plan.target import Target
    from farm_merge.merge.tables.definition import TableDefinition
    from farm_merge.sqlite import sqlite3

__all__ = ["DEFAULT_PAGE_SIZE", "as_shard", "passing_file", "rewritten", "try_rewriting"]

DEFAULT_PAGE_SIZE = 4096
"""SQLite's own, which a shard has that is written here."""

_VERBS = {"first": "INSERT OR IGNORE", "last": "INSERT OR REPLACE"}


@contextmanager
def as_shard(source: Input, target: Target, folder: Path) -> Iterator[str]:
    """Yield the URI of a shard with the simulations of an input: its own, or a rewritten one.

    Args:
        source: The input; its simulations have their names.
        target: The tables of the output.
        folder: A private folder for the rewritten shard, which is gone afterwards.

    Raises:
        ShardError: If SQLite refuses a row, with the table it is in.
    """
    if target.fits(source):
        with readable(source.file) as uri:
            yield uri
    else:
        with rewritten(source, target, folder) as shard:
            yield file_uri(shard)


@contextmanager
def rewritten(
    source: Input, target: Target, folder: Path, *, with_indexes: bool = False
) -> Iterator[Path]:
    """Yield a new shard with the simulations of a file; it is gone afterwards.

    Args:
        source: The file; its simulations have their names.
        target: The tables of the output.
        folder: A private folder for the shard.
        with_indexes: Whether it gets the output's indexes too, once its rows are there.

    Raises:
        ShardError: If SQLite refuses a row, with the table it is in.
    """
    with passing_file(folder) as shard:
        _write(source, target, shard, with_indexes=with_indexes)
        yield shard


@contextmanager
def passing_file(folder: Path) -> Iterator[Path]:
    """Yield a new file in a private folder; it is gone afterwards."""
    descriptor, name = tempfile.mkstemp(suffix=".db", dir=folder)
    os.close(descriptor)
    file = Path(name)
    try:
        yield file
    finally:
        file.unlink()


def try_rewriting(source: Input, target: Target, folder: Path) -> ShardError | None:
    """Return why the tables of the output refuse rows of an input; None if they hold them all."""
    try:
        with as_shard(source, target, folder):
            return None
    except ShardError as exc:
        return exc


def _write(source: Input, target: Target, shard: Path, *, with_indexes: bool) -> None:
    with closing(connect(file_uri(shard))) as connection:
        make_disposable(connection)
        with transaction(connection):
            for statement in target.shard_tables(source.mapping):
                connection.execute(statement)
        with readable(source.file) as uri:
            connection.execute("ATTACH DATABASE ? AS source", (uri,))
            add_collations(connection, source.structure.collations)
            if source.traits.renamed:
                _write_names(connection, source)
            with transaction(connection):
                for table in source.mapping.tables:
                    _fill(connection, source, table, target.want.tables[folded(table.target)])
                with blaming(source.path):
                    for statement in target.shard_indexes(source.mapping) if with_indexes else ():
                        connection.execute(statement)


def _fill(
    connection: sqlite3.Connection, source: Input, table: TableMapping, target: TableDefinition
) -> None:
    """Fill a table of the shard; what the file lacks is NULL, not a default."""
    kept = None
    if source.contents:
        kept, _ = source.contents.choices.duplicate_rows.get(table.target, (None, 0))
    row_order = source.structure.tables[folded(table.source)].row_order if kept else ""
    verb = _VERBS[kept] if kept else "INSERT"
    order = f" ORDER BY {row_order}" if row_order else ""
    columns = dict(table.columns)
    if table.target != "experiments":
        columns = {SIMULATION_ID: table.simulation, **columns}
    given = set(map(folded, columns))
    for column in target.stored:
        if folded(column.name) not in given and not column.not_null:
            columns[column.name] = "NULL"
    names, expressions = ", ".join(map(quoted, columns)), ", ".join(columns.values())
    where = f" WHERE {table.simulation} IS NOT NULL" if _skips_orphans(source) else ""
    with blaming(source.path, table.source):
        connection.execute(
            f"{verb} INTO main.{quoted(table.target)} ({names})"
            f" SELECT {expressions} {table.origin}{where}{order}",
            source.bindings,
        )


def _skips_orphans(source: Input) -> bool:
    contents = source.contents
    return bool(contents and contents.choices.orphan_rows and not contents.choices.carries_orphans)


def _write_names(connection: sqlite3.Connection, source: Input) -> None:
    """Write what simulations are called that the file calls otherwise."""
    connection.execute("CREATE TEMP TABLE renamed (own_id PRIMARY KEY, name) WITHOUT ROWID")
    names = ((run.own_id, run.simulation_id) for run in source.simulations if run.own_id)
    connection.executemany("INSERT INTO temp.renamed VALUES (?, ?)", names)
