"""Engine: which shards can be grafted, and how their files are read."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import xxhash

from farm_merge.errors import ShardError
from farm_merge.merge.definition import affinity, folded
from farm_merge.merge.graft import HEADER_BYTES, read_header
from farm_merge.merge.source import MAGIC, companions, identify, opened
from farm_merge.merge.structure import read_structure
from farm_merge.merge.transcode import ExactText
from farm_merge.schema import METADATA_TABLES

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from farm_merge.driver import sqlite3
    from farm_merge.merge.definition import ColumnDefinition, IndexDefinition, TableDefinition
    from farm_merge.merge.graft import Header
    from farm_merge.merge.source import Identity
    from farm_merge.merge.structure import Structure

__all__ = [
    "Engine",
    "Loaded",
    "Metadata",
    "Scratch",
    "is_graftable_file",
    "load",
    "matching_trees",
    "roots",
    "smallest_worth_grafting",
]

Engine = Literal["auto", "attach", "graft"]

_SMALLEST_BYTES = 256 << 10
"""Below it, opening a file and joining its trees costs more than its rows: 2,000 shards of 64 KB
took 4.9 s row by row and 6.4 s page by page, 40 of 4 MB 2.9 s and 0.9 s."""

_UTF_8, _SCHEMA_FORMAT = 1, 4
_LARGEST_BYTES = 64 << 20
"""A shard is read whole; a larger one is copied row by row, so that memory stays flat."""


Metadata = dict[str, tuple[list[str], list[tuple[object, ...]]]]
"""The rows of the tables that tell about simulations, by table: columns, and rows."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A shard in memory.

    Attributes:
        data: The whole file.
        header: Its header.
        fingerprint: The hash of its bytes, as `fingerprint` gives it.
        structure: Its tables.
        roots: The root pages of its b-trees, by name.
        metadata: What it tells about its simulations.
    """

    data: NDArray[np.uint8]
    header: Header
    fingerprint: str
    structure: Structure
    roots: dict[str, int]
    metadata: Metadata


def smallest_worth_grafting(engine: Engine) -> int:
    """Return the size from which on copying pages is faster than copying rows, in bytes."""
    return 0 if engine == "graft" else _SMALLEST_BYTES


def is_graftable_file(path: Path, smallest: int, page_size: int | None = None) -> bool:
    """Tell whether the form of a file allows its pages to be copied, and whether it is worth it.

    Args:
        path: The file, which is not open in this process.
        smallest: Its least size in bytes.
        page_size: The page size that it has to have; None for any.
    """
    with path.open("rb", buffering=0) as file:
        head = file.read(HEADER_BYTES)
        size = os.fstat(file.fileno()).st_size
    if len(head) < HEADER_BYTES or not head.startswith(MAGIC):
        return False
    header = read_header(head)
    return (
        header.page_size == (page_size or header.page_size)
        and header.reserved == 0
        and not header.auto_vacuum
        and header.encoding == _UTF_8
        and header.schema_format == _SCHEMA_FORMAT
        and header.pages * header.page_size == size
        and smallest <= size <= _LARGEST_BYTES
        and not companions(path)
    )


class Scratch(threading.local):
    """Memory that a thread reads shards into, one after the other."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.uint8)

    def take(self, size: int) -> NDArray[np.uint8]:
        """Return so many bytes, whose content is what the last shard left."""
        if len(self._buffer) < size:
            self._buffer = np.empty(size, np.uint8)
        return self._buffer[:size]


def load(path: Path, scratch: Scratch) -> Loaded:
    """Read a shard, once, and hash it on the way.

    Args:
        path: The shard.
        scratch: Where its bytes go, until the next is loaded.

    Raises:
        ShardError: If it changes meanwhile, or SQLite cannot read its schema.
    """
    before = identify(path)
    with opened(path) as connection:
        structure, found = read_structure(connection, "source"), roots(connection, "source")
        connection.text_factory = ExactText
        metadata = {}
        for table in METADATA_TABLES:
            cursor = connection.execute(f"SELECT * FROM source.{table}")
            metadata[table] = ([name for name, *_ in cursor.description], cursor.fetchall())
    data = _read(path, before, scratch.take(before.size_bytes))
    header = read_header(data[:HEADER_BYTES].tobytes())
    return Loaded(data, header, xxhash.xxh3_128_hexdigest(data.data), structure, found, metadata)


def _read(path: Path, expected: Identity, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fill an array with a file. It is not mapped: a mapped file that shrinks kills the process."""
    view, at = data.data, 0
    with path.open("rb", buffering=0) as file:
        while at < len(view) and (count := os.preadv(file.fileno(), [view[at:]], at)):
            at += count
    if at < len(view) or identify(path) != expected:
        raise ShardError(f"{path}: changed while it was read; run the merge again when it rests")
    return data


def roots(connection: sqlite3.Connection, schema: str = "main") -> dict[str, int]:
    """Return the root pages of all b-trees of a database, by name."""
    return dict(
        connection.execute(f"SELECT name, rootpage FROM {schema}.sqlite_schema WHERE rootpage > 0")
    )


@lru_cache(maxsize=64)
def matching_trees(
    output: Structure, shard: Structure
) -> tuple[tuple[str, str | None], ...] | None:
    """Pair the b-trees of an output's content with those of a shard, by name.

    Returns:
        For every tree of the output that of the shard, None where the shard has no such table; or
        None for the whole, if a table of the shard is not built like the output's.
    """
    if shard.content.keys() - output.content.keys():
        return None
    pairs: list[tuple[str, str | None]] = []
    for table, mine in output.content.items():
        theirs = shard.content.get(table)
        indexes = output.indexes.get(table, ())
        if theirs is None:
            pairs += [(mine.name, None), *((each.name, None) for each in indexes)]
            pairs += [(_unique_name(mine, number), None) for number in range(len(mine.uniques))]
            continue
        named = {_shape(each): each.name for each in shard.indexes.get(table, ())}
        if not _is_prefix(theirs, mine) or any(_shape(each) not in named for each in indexes):
            return None
        pairs.append((mine.name, theirs.name))
        pairs += [(each.name, named[_shape(each)]) for each in indexes]
        pairs += [
            (_unique_name(mine, number), _unique_name(theirs, number))
            for number in range(len(mine.uniques))
        ]
    return tuple(pairs)


def _is_prefix(shard: TableDefinition, output: TableDefinition) -> bool:
    """Tell whether the rows of a shard's table are rows of the output's as they are stored.

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
        and [_storage(each) for each in theirs] == [_storage(each) for each in mine[: len(theirs)]]
        and not any(each.generated for each in missing)
        and not any(
            c.startswith(("NOT NULL", "DEFAULT")) for each in missing for c in each.constraints
        )
    )


def _stored(table: TableDefinition) -> list[ColumnDefinition]:
    """Return the columns that a record holds, computed ones that are stored among them."""
    return [
        each
        for each in table.columns
        if not each.generated or any(c.endswith(" STORED") for c in each.constraints)
    ]


def _storage(column: ColumnDefinition) -> tuple[object, ...]:
    """Return what of a column decides how its values are stored, ordered, and read where they lack.

    A row that is shorter than its table reads as the defaults of the columns that it lacks.
    """
    ordering = tuple(
        c for c in column.constraints if c.startswith(("COLLATE", "DEFAULT", "GENERATED"))
    )
    return folded(column.name), affinity(column.declared_type), ordering


def _shape(index: IndexDefinition) -> tuple[object, ...]:
    return index.terms, index.unique, index.where


def _unique_name(table: TableDefinition, number: int) -> str:
    # The primary key of a table WITHOUT ROWID takes the first number, and is the table itself.
    return f"sqlite_autoindex_{table.name}_{number + 2}"
