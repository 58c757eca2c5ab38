"""Formats: what a file is that is no SQLite database, and what its owner can do about it."""

from __future__ import annotations

from typing import NamedTuple

from farm_merge.merge.pages.header import MAGIC

__all__ = [
    "GZIP",
    "HEAD_BYTES",
    "SQLITE",
    "Format",
    "format_of",
    "has_known_ending",
    "without_known_ending",
    "without_packed_ending",
]

HEAD_BYTES = 100
"""How many bytes at the start of a file identify it."""

_PACKED_ENDINGS = (".gz", ".zst")
_KNOWN_ENDINGS = (".db", ".sqlite", ".sqlite3", ".db3", ".s3db", ".sl3", ".sqlitedb", ".gpkg")
"""How the names of databases end, in lower case; what is called so is meant as one."""


class Format(NamedTuple):
    """What a file is.

    Attributes:
        name: As a noun.
        remedy: How it becomes an input.
        is_packed: Whether it is a compressed file that is read as it is.
        is_database: Whether it is one, whatever it is called.
    """

    name: str
    remedy: str = ""
    is_packed: bool = False
    is_database: bool = False


SQLITE = Format("a SQLite database", is_database=True)
GZIP = Format("a gzip file", is_packed=True)
ZSTANDARD = Format("a Zstandard file", is_packed=True)

_STARTS = (
    (MAGIC, SQLITE),
    (b"\x1f\x8b", GZIP),
    (b"\x28\xb5\x2f\xfd", ZSTANDARD),
    (b"\xfd7zXZ\0", Format("an xz file", "unpack it: unxz")),
    (b"BZh", Format("a bzip2 file", "unpack it: bunzip2")),
    (b"PK\x03\x04", Format("a zip archive", "unpack it: unzip")),
    (b"\x89HDF\r\n\x1a\n", Format("an HDF5 file", "export its tables to SQLite first")),
    (b"PAR1", Format("a Parquet file", "export its rows to SQLite first")),
    (
        b"version https://git-lfs.github.com/spec/",
        Format("a Git LFS pointer, and not the file itself", "get the file: git lfs pull"),
    ),
    (
        b"** This file contains an SQLite 2",
        Format(
            "a SQLite 2 database", "convert it: sqlite .dump | sqlite3 NEW.db", is_database=True
        ),
    ),
    (b"PRAGMA foreign_keys=OFF;", Format("a SQL dump", "load it: sqlite3 NEW.db < the file")),
)
_DUCKDB = Format(
    "a DuckDB database",
    "export it: duckdb, INSTALL sqlite, ATTACH 'NEW.db' (TYPE sqlite), COPY FROM DATABASE",
    is_database=True,
)
_UNKNOWN = Format("not a SQLite database (or an encrypted one)")


def format_of(head: bytes) -> Format:
    """Return what a file is by its first bytes."""
    if (
        head[8:12] == b"DUCK"
    ):  # behind a checksum (https://duckdb.org/docs/stable/internals/storage)
        return _DUCKDB
    return next((found for start, found in _STARTS if head.startswith(start)), _UNKNOWN)


def has_known_ending(name: str) -> bool:
    """Return whether a file is called like a database, packed or not."""
    return without_known_ending(name) != without_packed_ending(name)


def without_known_ending(name: str) -> str:
    """Return the name of a file without the ending of a database, packed or not."""
    return _without(without_packed_ending(name), _KNOWN_ENDINGS)


def without_packed_ending(name: str) -> str:
    """Return the name of the file that a compressed one holds; others keep theirs."""
    return _without(name, _PACKED_ENDINGS)


def _without(name: str, endings: tuple[str, ...]) -> str:
    found = next((ending for ending in endings if name.lower().endswith(ending)), "")
    return name[: -len(found)] if found and len(found) < len(name) else name
