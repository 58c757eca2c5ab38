"""Who writes a file at this moment? The kernel knows, and asking it disturbs nobody."""

from __future__ import annotations

import fcntl
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["is_being_written"]

# The bytes that SQLite locks (https://www.sqlite.org/fileformat2.html, section 1.3.2, and
# https://www.sqlite.org/walformat.html, section 2.3.1).
_PENDING_BYTE, _LOCKED_BYTES = 0x40000000, 512
_WAL_WRITE_LOCK = 120

# struct flock: its fields stand in another order on macOS.
_LINUX, _MACOS = "hhqqi", "qqihh"


def is_being_written(path: Path) -> bool:
    """Tell whether another process is in the middle of a transaction that writes.

    It must not be open in this process: closing a descriptor drops the process's own locks.

    Raises:
        OSError: If the file cannot be opened.
    """
    if _has_write_lock(path, _PENDING_BYTE, _LOCKED_BYTES):
        return True
    index = path.with_name(f"{path.name}-shm")
    return index.exists() and _has_write_lock(index, _WAL_WRITE_LOCK, 1)


def _has_write_lock(path: Path, start: int, length: int) -> bool:
    with path.open("rb", buffering=0) as file:
        if sys.platform == "darwin":
            asked = struct.pack(_MACOS, start, length, 0, fcntl.F_RDLCK, 0)
            *_, kind, _ = struct.unpack(_MACOS, fcntl.fcntl(file, fcntl.F_GETLK, asked))
        else:
            asked = struct.pack(_LINUX, fcntl.F_RDLCK, 0, start, length, 0)
            kind, *_ = struct.unpack(_LINUX, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    return bool(kind != fcntl.F_UNLCK)
