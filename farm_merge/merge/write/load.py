"""Load: the pages of a shard, read once, and hashed on the way."""

from __future__ import annotations

import mmap
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xxhash

from farm_merge.errors import ShardError
from farm_merge.merge.inputs.file import opened, require_unchanged
from farm_merge.merge.inputs.transcode import ExactText
from farm_merge.merge.pages.cells import Pages
from farm_merge.merge.pages.partial import PartialPages
from farm_merge.merge.pages.transplant import read_at
from farm_merge.merge.tables.structure import read_structure
from farm_merge.schema import METADATA_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farm_merge.merge.inputs.file import InputFile
    from farm_merge.merge.pages.cells import Bytes
    from farm_merge.merge.tables.structure import Structure
    from farm_merge.sqlite import sqlite3

__all__ = ["Loaded", "Metadata", "ReadBuffer", "Root", "load", "read_metadata", "read_roots"]

_WHOLE_BYTES = 64 << 20
"""A shard up to this size is read whole."""

_PARTIAL_BYTES = 64 << 20
"""So much of a larger one may be in memory."""

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
    """A shard whose pages can be looked at.

    Attributes:
        pages: All of them.
        is_whole: Whether all were read; else they are read when they are copied.
        file: The file that it was read from.
        fingerprint: The hash of its bytes, as `fingerprint` gives it; empty of one that is ours.
        structure: Its tables.
        roots: Where its b-trees start, by name.
        metadata: Its rows about its simulations.
    """

    pages: Pages
    is_whole: bool
    file: InputFile
    fingerprint: str
    structure: Structure
    roots: dict[str, Root]
    metadata: Metadata


class ReadBuffer(threading.local):
    """Memory that a thread reads shards into, one after the other."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.uint8)

    def take(self, size: int) -> Bytes:
        """Return so many bytes, whose content is what the last shard left."""
        if len(self._buffer) < size:
            self._buffer = np.empty(size, np.uint8)
        return self._buffer[:size]


@contextmanager
def load(file: InputFile, buffer: ReadBuffer, *, is_ours: bool = False) -> Iterator[Loaded]:
    """Read a shard: whole, or of a large one what is needed as it is needed.

    Args:
        file: The shard.
        buffer: Where its bytes go, until the next is loaded.
        is_ours: Whether it was made by this merge: it is mapped then, since nobody else has it.

    Raises:
        ShardError: If it changes meanwhile, or SQLite cannot read its schema.
        ValueError: If it is not as long as its header claims, or so much of a large one is needed
            that it would fill the memory.
    """
    with opened(file) as connection:
        structure, roots = read_structure(connection, "source"), read_roots(connection, "source")
        metadata = read_metadata(connection, "source")
    digest = xxhash.xxh3_128()
    size = file.identity.size_bytes
    with file.path.open("rb", buffering=0) as raw:
        is_whole = size <= _WHOLE_BYTES
        if is_whole and is_ours:
            data = np.frombuffer(mmap.mmap(raw.fileno(), size, mmap.MAP_PRIVATE), np.uint8)
            yield Loaded(Pages(data, file.header), True, file, "", structure, roots, metadata)
            return
        if is_whole:
            data = buffer.take(size)
            _fill(data, raw.fileno(), file)
            digest.update(data.data)
            pages: Pages = Pages(data, file.header)
        else:
            pages = PartialPages(raw.fileno(), file.header, _PARTIAL_BYTES, digest.update)
            require_unchanged(file)
        yield Loaded(pages, is_whole, file, digest.hexdigest(), structure, roots, metadata)


def read_metadata(connection: sqlite3.Connection, schema: str) -> Metadata:
    """Return the rows of the tables about simulations, bit for bit."""
    metadata = {}
    connection.text_factory = ExactText
    for table in METADATA_TABLES:
        cursor = connection.execute(f"SELECT * FROM {schema}.{table}")
        metadata[table] = ([name for name, *_ in cursor.description], cursor.fetchall())
    connection.text_factory = str
    return metadata


def read_roots(connection: sqlite3.Connection, schema: str = "main") -> dict[str, Root]:
    """Return where the b-trees of a database start, by name."""
    rows = connection.execute(
        f"SELECT name, tbl_name, rootpage FROM {schema}.sqlite_schema WHERE rootpage > 0"
    )
    return {name: Root(table, page) for name, table, page in rows}


def _fill(data: Bytes, descriptor: int, file: InputFile) -> None:
    """Fill an array with a file. It is not mapped: one that shrinks would kill the process."""
    read = read_at(descriptor, data.data, 0)
    require_unchanged(file)
    if read < len(data):
        raise ShardError("ends early", path=file.path)
