"""Locks: is another process in the middle of a transaction on a file?"""

from __future__ import annotations

import fcntl
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path

__all__ = ["is_locked", "is_wal_locked"]

# The bytes that SQLite locks (https://www.sqlite.org/fileformat2.html, section 1.3.2, and
# https://www.sqlite.org/walformat.html, section 2.3.1).
_PENDING_BYTE, _LOCKED_BYTES = 0x40000000, 512
_WAL_WRITE_LOCK = 120

# struct flock: its fields are in another order on macOS.
_LINUX, _MACOS = "hhqqi", "qqihh"


def is_locked(file: FileIO) -> bool:
    """Return whether another process is in a transaction that writes a database.

    It must not be open in this process: closing a descriptor drops the process's own locks.
    """
    return _has_lock(file, _PENDING_BYTE, _LOCKED_BYTES)


def is_wal_locked(path: Path) -> bool:
    """Return whether another process is in a transaction that writes the WAL of a database.

    Raises:
        OSError: If the file cannot be opened.
    """
    index = path.with_name(f"{path.name}-shm")
    if not index.exists():
        return False
    with index.open("rb", buffering=0) as file:
        return _has_lock(file, _WAL_WRITE_LOCK, 1)


def _has_lock(file: FileIO, start: int, length: int) -> bool:
    """Ask the kernel, which disturbs nobody."""
    if sys.platform == "darwin":
        asked = struct.pack(_MACOS, start, length, 0, fcntl.F_RDLCK, 0)
        *_, kind, _ = struct.unpack(_MACOS, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    else:
        asked = struct.pack(_LINUX, fcntl.F_RDLCK, 0, start, length, 0)
        kind, *_ = struct.unpack(_LINUX, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return bool(kind != fcntl.F_UNLCK)
