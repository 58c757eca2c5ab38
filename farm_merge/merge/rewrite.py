"""Rewrite: a file of any schema becomes a shard in a private folder, by its mapping."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from farm_merge.driver import file_uri, quoted, sqlite3
from farm_merge.errors import ShardError
from farm_merge.merge.definition import SIMULATION_ID, affinity, folded
from farm_merge.merge.source import connect_untrusted, opened, readable
from farm_merge.merge.target import Changes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farm_merge.merge.definition import TableDefinition
    from farm_merge.merge.inspect import Inspection
    from farm_merge.merge.mapping import TableMapping
    from farm_merge.merge.target import Target

__all__ = ["as_shard", "count_changes", "rewrite"]

_VERBS = {"first": "INSERT OR IGNORE", "last": "INSERT OR REPLACE"}


@contextmanager
def as_shard(source: Inspection, target: Target, folder: Path) -> Iterator[str]:
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
        return
    descriptor, name = tempfile.mkstemp(suffix=".db", dir=folder)
    os.close(descriptor)
    shard = Path(name)
    try:
        rewrite(source, target, shard)
        yield file_uri(shard)
    finally:
        shard.unlink()


def count_changes(
    source: Inspection, mapping: TableMapping, column: str, declared_type: str
) -> Changes:
    """Let SQLite store a column of a file under another declared type, and count what changes."""
    expression = dict(mapping.columns).get(column)
    if expression is None:
        return Changes(0, 0)
    both_numbers = "typeof(before) IN ('integer', 'real') AND typeof(after) IN ('integer', 'real')"
    with opened(source.file) as connection:
        connection.execute("PRAGMA query_only=OFF")
        connection.execute(f"CREATE TABLE main.probe (before, after {affinity(declared_type)})")
        connection.execute(
            f"INSERT INTO main.probe SELECT {expression}, {expression} {mapping.origin}"
            f" WHERE typeof({expression}) <> 'null'",
            {SIMULATION_ID: source.simulations[0].simulation_id},
        )
        different, equal = connection.execute(
            "SELECT count(*), coalesce(sum("
            f"{both_numbers} AND before = after), 0) FROM main.probe"
            " WHERE typeof(before) <> typeof(after) OR before IS NOT after"
        ).fetchone()
    return Changes(different - equal, equal)


def rewrite(source: Inspection, target: Target, shard: Path, *, with_indexes: bool = False) -> None:
    """Write the simulations of a file into a new shard.

    Args:
        source: The file; its simulations have their names.
        target: The tables of the output.
        shard: Where the shard is made.
        with_indexes: Whether it gets the output's indexes too, once its rows are there.

    Raises:
        ShardError: If SQLite refuses a row, with the table it is in.
    """
    with closing(connect_untrusted(file_uri(shard))) as connection:
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
            connection.execute(f"PRAGMA {pragma}")
        connection.execute("BEGIN")
        for statement in target.statements:
            connection.execute(statement)
        connection.execute("COMMIT")
        with readable(source.file) as uri:
            connection.execute("ATTACH DATABASE ? AS source", (uri,))
            connection.execute("BEGIN")
            for mapping in source.mapping:
                _fill(connection, source, mapping, target.tables[folded(mapping.target)])
            for statement in target.index_statements if with_indexes else ():
                connection.execute(statement)
            connection.execute("COMMIT")


def _fill(
    connection: sqlite3.Connection,
    source: Inspection,
    mapping: TableMapping,
    target: TableDefinition,
) -> None:
    """Fill a table of the shard; what the file lacks is NULL, not a default."""
    choice = source.choices.get("duplicate_rows")
    kept = choice.get(mapping.target, {}).get("kept") if isinstance(choice, dict) else None
    row_order = source.structure.tables[folded(mapping.source)].row_order if kept else ""
    verb, order = _VERBS.get(kept or "", "INSERT"), f" ORDER BY {row_order}" if row_order else ""
    columns = dict(mapping.columns)
    if mapping.target != "experiments":
        columns = {SIMULATION_ID: mapping.simulation, **columns}
    given = set(map(folded, columns))
    for column in target.stored:
        if folded(column.name) not in given and not column.not_null:
            columns[column.name] = "NULL"
    names, expressions = ", ".join(map(quoted, columns)), ", ".join(columns.values())
    try:
        connection.execute(
            f"{verb} INTO main.{quoted(mapping.target)} ({names})"
            f" SELECT {expressions} {mapping.origin}{order}",
            {SIMULATION_ID: source.simulations[0].simulation_id or ""},
        )
    except sqlite3.IntegrityError as exc:
        raise ShardError(f"{source.path}: table {mapping.source}: {exc}") from exc
