"""Load: a shard in memory, read once, and hashed on the way."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from farm_merge.errors import ShardError
from farm_merge.merge.inputs.file import opened, require_unchanged
from farm_merge.merge.inputs.transcode import ExactText
from farm_merge.merge.tables.structure import read_structure
from farm_merge.schema import METADATA_TABLES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from farm_merge.merge.inputs.file import InputFile
    from farm_merge.merge.tables.structure import Structure
    from farm_merge.sqlite import sqlite3

__all__ = ["Loaded", "Metadata", "ReadBuffer", "Root", "load", "read_roots"]

Metadata = dict[str, tuple[list[str], list[tuple[object, ...]]]]
"""The rows of the tables about simulations, by table: columns, and rows."""


@dataclass(frozen=True, slots=True)
class Root:
    """Where a b-tree starts.

    Attributes:
        table: The table that it belongs to.
        page: The number of its root page, from 1.
    """

    table: str
    page: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """A shard in memory.

    Attributes:
        data: The whole file.
        file: The file that it was read from.
        fingerprint: The hash of its bytes, as `fingerprint` gives it.
        structure: Its tables.
        roots: Where its b-trees start, by name.
        metadata: Its rows about its simulations.
    """

    data: NDArray[np.uint8]
    file: InputFile
    fingerprint: str
    structure: Structure
    roots: dict[str, Root]
    metadata: Metadata


class ReadBuffer(threading.local):
    """Memory that a thread reads shards into, one after the other."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.uint8)

    def take(self, size: int) -> NDArray[np.uint8]:
        """Return so many bytes, whose content is what the last shard left."""
        if len(self._buffer) < size:
            self._buffer = np.empty(size, np.uint8)
        return self._buffer[:size]


def load(file: InputFile, buffer: ReadBuffer) -> Loaded:
    """Read a shard.

    Args:
        file: The shard.
        buffer: Where its bytes go, until the next is loaded.

    Raises:
        ShardError: If it changes meanwhile, or SQLite cannot read its schema.
    """
    with opened(file) as connection:
        structure, roots = read_structure(connection, "source"), read_roots(connection, "source")
        connection.text_factory = ExactText
        metadata = {}
        for table in METADATA_TABLES:
            cursor = connection.execute(f"SELECT * FROM source.{table}")
            metadata[table] = ([name for name, *_ in cursor.description], cursor.fetchall())
    data = _read(file, buffer.take(file.identity.size_bytes))
    digest = xxhash.xxh3_128_hexdigest(data.data)
    return Loaded(data, file, digest, structure, roots, metadata)


def read_roots(connection: sqlite3.Connection, schema: str = "main") -> dict[str, Root]:
    """Return where the b-trees of a database start, by name."""
    rows = connection.execute(
        f"SELECT name, tbl_name, rootpage FROM {schema}.sqlite_schema WHERE rootpage > 0"
    )
    return {name: Root(table, page) for name, table, page in rows}


def _read(file: InputFile, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Fill an array with a file. It is not mapped: a mapped file that shrinks kills the process."""
    view, at = data.data, 0
    with file.path.open("rb", buffering=0) as raw:
        while at < len(view) and (count := os.preadv(raw.fileno(), [view[at:]], at)):
            at += count
    require_unchanged(file)
    if at < len(view):
        raise ShardError("ends early", path=file.path)
    return data
