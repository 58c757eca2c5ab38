"""Digest: a short text that a simulation's content, and no other, has.

It can be printed in a paper and checked years later without the shards. It depends on the names of
tables and columns and on every value with its type, and on nothing else: not on the order of rows
or columns, the layout of pages, the machine, the simulation's name, clocks, nor metadata.

The digest of a table is that of the sum of the BLAKE2b digests of its rows modulo 2^256, and of
their number; the digest of a simulation is that of the digests of its tables, by name. A row is
its values that are not NULL, by the name of their columns, each with a letter for its type and
with its length: `i` and decimal digits, `f` and the eight bytes of a double, `t` and UTF-8, `b` and
the bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from farm_merge.merge.ledger import keep_digest, read_digests
from farm_merge.merge.tables.definition import SIMULATION_ID, folded
from farm_merge.merge.tables.structure import read_structure
from farm_merge.progress import counting, silent
from farm_merge.publish import existing_output, locked
from farm_merge.read.open import reading
from farm_merge.read.where import chosen_simulations
from farm_merge.schema import CLOCK_COLUMNS
from farm_merge.sqlite import quoted, transaction

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from farm_merge.merge.tables.definition import TableDefinition
    from farm_merge.merge.tables.structure import Structure
    from farm_merge.progress import ReportCount
    from farm_merge.sqlite import sqlite3

__all__ = ["Digest", "digest_simulations", "store_digests"]

_MODULUS = 2**256


class _Text(bytes):
    """Text as SQLite has it, whether or not it is valid, and not to be taken for a blob."""


@dataclass(frozen=True, slots=True)
class Digest:
    """The digest of a simulation.

    Attributes:
        simulation_id: The simulation.
        digest: 32 hexadecimal digits.
        tables: The digest of each table that has rows of it.
        stored: What the ledger has; None if it has none.
    """

    simulation_id: str
    digest: str
    tables: dict[str, str]
    stored: str | None

    @property
    def is_as_stored(self) -> bool:
        """Whether the content is what it was when the digest was stored, as far as is known."""
        return self.stored in {None, self.digest}


def digest_simulations(
    database: str | PathLike[str],
    simulations: Iterable[str] = (),
    *,
    where: Iterable[str] = (),
    progress: ReportCount | bool | None = None,
) -> list[Digest]:
    """Return the digests of simulations, in the order of their names.

    Args:
        database: A shard or experiment database.
        simulations: Their ids; all by default.
        where: Conditions that all have to hold, as `compare_simulations` takes them.
        progress: Called with the number of simulations digested, and of all; True draws a
            bar.

    Raises:
        FarmMergeError: If one of them is not there.
        ShardError: If the database cannot be read.
    """
    path = Path(database)
    digests = []
    with reading(path) as connection, counting(progress, "digest", "simulations") as report:
        chosen = chosen_simulations(connection, where, simulations, path=path)
        structure = read_structure(connection)
        stored = read_digests(connection)
        connection.text_factory = _Text
        for number, simulation_id in enumerate(chosen, start=1):
            tables = _tables(connection, structure, simulation_id)
            digest = _of_tables(tables)
            digests.append(Digest(simulation_id, digest, tables, stored.get(simulation_id)))
            report(number, len(chosen))
    return digests


def store_digests(database: str | PathLike[str], digests: Iterable[Digest]) -> int:
    """Keep digests in the ledger; return of how many simulations.

    A simulation that was never merged has no ledger to keep it in.

    Raises:
        OutputError: If the database cannot be written.
    """
    path = Path(database)
    with (
        locked(path, silent),
        existing_output(path) as connection,
        transaction(connection, "IMMEDIATE"),
    ):
        return sum(keep_digest(connection, it.simulation_id, it.digest) for it in digests)


def _tables(
    connection: sqlite3.Connection, structure: Structure, simulation_id: str
) -> dict[str, str]:
    """Return the digest of each table that has rows of a simulation."""
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
        f"SELECT {columns} FROM {quoted(definition.name)} WHERE {SIMULATION_ID} = ?",
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


def _of_tables(tables: dict[str, str]) -> str:
    text = "".join(f"{table}\0{digest}\0" for table, digest in sorted(tables.items()))
    return blake2b(text.encode(), digest_size=16).hexdigest()


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
