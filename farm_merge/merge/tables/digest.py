"""Digest: a short text that the content of a simulation, and no other, has.

The digest of a table is that of the sum of the BLAKE2b digests of its rows modulo 2^256, and of
their number; the digest of a simulation is that of the digests of its tables, by name. A row is
its values that are not NULL, by the name of their columns, each with a letter for its type and
with its length: `i` and decimal digits, `f` and the eight bytes of a double, `t` and UTF-8, `b` and
the bytes.
"""

from __future__ import annotations

import struct
from hashlib import blake2b
from typing import TYPE_CHECKING

from farm_merge.merge.tables.definition import SIMULATION_ID, folded
from farm_merge.merge.tables.structure import read_structure
from farm_merge.schema import CLOCK_COLUMNS
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm_merge.merge.tables.definition import TableDefinition
    from farm_merge.merge.tables.structure import Structure
    from farm_merge.sqlite import sqlite3

__all__ = ["content_digest", "digest_of", "digests_by_table"]

_MODULUS = 2**256


class _Text(bytes):
    """Text as SQLite has it, whether or not it is valid, and not to be taken for a blob."""


def content_digest(connection: sqlite3.Connection, simulation_id: str) -> str:
    """Return the digest of a simulation in `main`."""
    structure = read_structure(connection)
    return digest_of(digests_by_table(connection, structure, simulation_id))


def digests_by_table(
    connection: sqlite3.Connection, structure: Structure, simulation_id: str
) -> dict[str, str]:
    """Return the digest of each table of `main` that has rows of a simulation.

    Args:
        connection: A connection to the database.
        structure: Its structure.
        simulation_id: The simulation.
    """
    before, connection.text_factory = connection.text_factory, _Text
    try:
        return _by_table(connection, structure, simulation_id)
    finally:
        connection.text_factory = before


def digest_of(tables: Mapping[str, str]) -> str:
    """Return the digest of a simulation, made of those of its tables."""
    text = "".join(f"{table}\0{digest}\0" for table, digest in sorted(tables.items()))
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _by_table(
    connection: sqlite3.Connection, structure: Structure, simulation_id: str
) -> dict[str, str]:
    digests = {}
    for table, definition in sorted(structure.content.items()):
        if definition.merged and (digest := _table(connection, definition, simulation_id)):
            digests[folded(table)] = digest
    return digests


def _table(
    connection: sqlite3.Connection, definition: TableDefinition, simulation_id: str
) -> str | None:
    """Return the digest of the rows that a simulation has in a table; None if it has none."""
    ignored = CLOCK_COLUMNS.get(folded(definition.name), frozenset())
    names = {folded(column.name): quoted(column.name) for column in definition.stored}
    if definition.is_numbered:  # their numbers are ours, and no values of the run
        ignored = ignored | set(map(folded, definition.key_names))
    kept = sorted(name for name in names if name not in ignored)
    columns = ", ".join(names[name] for name in kept) or "NULL"
    heads = [_framed(name.encode()) for name in kept]
    total, number = 0, 0
    for row in connection.execute(
        f"SELECT {columns} FROM main.{quoted(definition.name)} WHERE {SIMULATION_ID} = ?",
        (simulation_id,),
    ):
        encoded = b"".join(
            head + _encoded(value)
            for head, value in zip(heads, row, strict=bool(kept))
            if value is not None
        )
        total += int.from_bytes(blake2b(encoded, digest_size=32).digest(), "big")
        number += 1
    if not number:
        return None
    summed = (total % _MODULUS).to_bytes(32, "big") + str(number).encode()
    return blake2b(summed, digest_size=16).hexdigest()


def _encoded(value: object) -> bytes:
    """Return a value with its type and its length."""
    match value:
        case int():
            return b"i" + _framed(str(value).encode())
        case float():
            return b"f" + struct.pack(">d", value + 0.0)  # -0.0 is 0.0: SQLite does not keep it
        case _Text():
            return b"t" + _framed(value)
        case bytes():
            return b"b" + _framed(value)
    raise TypeError(type(value))


def _framed(data: bytes) -> bytes:
    return struct.pack(">Q", len(data)) + data
