"""Unpack: an input that is compressed is read from a private copy."""

from __future__ import annotations

import gzip
import math
import zlib
from typing import IO, TYPE_CHECKING, Any

from farm_merge.errors import FarmMergeError, ShardError
from farm_merge.merge.inputs.formats import GZIP, SQLITE, format_of
from farm_merge.merge.pages.header import HEADER_BYTES, read_header

if TYPE_CHECKING:
    from pathlib import Path

    from farm_merge.merge.inputs.formats import Format

__all__ = ["starts_like_a_database", "unpack"]

_CHUNK_BYTES = 1 << 20
_SLACK = 2
"""A file may be longer than its database; a few kilobytes can hold a billion zeros."""


def starts_like_a_database(path: Path, packed: Format) -> bool:
    """Return whether what a compressed file holds is a SQLite database, by its first bytes.

    A Zstandard file counts as one where it cannot be looked into, so that it is reported.
    """
    try:
        with _opened(path, packed) as file:
            return format_of(file.read(HEADER_BYTES)) is SQLITE
    except FarmMergeError:
        return True
    except _damages():
        return False


def unpack(path: Path, packed: Format, copy: Path) -> None:
    """Write what a compressed file holds into a private copy.

    Args:
        path: The file.
        packed: What it is.
        copy: The copy, which is new.

    Raises:
        ShardError: If it is damaged, holds no database or much more than one, or there is no room
            for it.
    """
    try:
        with _opened(path, packed) as file, copy.open("xb") as plain:
            chunk = file.read(_CHUNK_BYTES)
            most = _most_bytes(chunk[:HEADER_BYTES])
            while chunk:
                plain.write(chunk)
                if plain.tell() > most:
                    raise ShardError("holds much more than a database of its size", path=path)
                chunk = file.read(_CHUNK_BYTES)
    except FarmMergeError as exc:
        raise ShardError(exc.reason, path=path, remedy=exc.remedy) from exc
    except _damages() as exc:
        raise ShardError(f"cannot be unpacked ({exc})", path=path) from exc


def _most_bytes(head: bytes) -> float:
    """Return how large a file may be by the header of its database, if it is one."""
    try:
        size = read_header(head).size_bytes
    except ValueError:
        return _CHUNK_BYTES  # enough to see what it is
    # Where a very old SQLite wrote, the number of pages was not kept.
    is_kept = size and head[24:28] == head[92:96]
    return max(_CHUNK_BYTES, _SLACK * size) if is_kept else math.inf


def _opened(path: Path, packed: Format) -> IO[bytes]:
    if packed is GZIP:
        return gzip.open(path, "rb")  # type: ignore[return-value]
    stream: IO[bytes] = _zstandard().open(path, "rb")
    return stream


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as exc:
        raise FarmMergeError(
            "is a Zstandard file, and the package zstandard is not installed",
            remedy="unpack it (zstd -d), or install the package",
        ) from exc
    return zstandard


def _damages() -> tuple[type[Exception], ...]:
    """Return what reading a damaged file raises."""
    try:
        import zstandard
    except ImportError:
        return OSError, EOFError, zlib.error
    return OSError, EOFError, zlib.error, zstandard.ZstdError
