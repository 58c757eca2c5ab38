"""Blame: what SQLite refuses while an input is copied is the input's fault, or the machine's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from farm_merge.errors import ShardError
from farm_merge.sqlite import sqlite3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["blaming"]

_DAMAGED = frozenset([sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB])
_OF_THE_MACHINE = frozenset(
    [
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
    ]
)
"""What stops a merge whichever input is copied (https://www.sqlite.org/rescode.html)."""


@contextmanager
def blaming(source: Path, table: str | None = None, *, is_sound: bool = False) -> Iterator[None]:
    """Let an error of SQLite name the input that is copied, unless it is the machine's.

    Args:
        source: The input.
        table: The table of it that is copied.
        is_sound: Whether the input was checked, so that what is damaged is another file.

    Raises:
        ShardError: If SQLite refuses what the input holds.
        sqlite3.Error: If nothing can be written, whatever the input.
    """
    try:
        yield
    except sqlite3.Error as exc:
        # Errors of the Python module itself have no code.
        code = int(getattr(exc, "sqlite_errorcode", 0) or 0) & 0xFF
        if code in _OF_THE_MACHINE or (is_sound and code in _DAMAGED):
            raise
        if isinstance(exc, sqlite3.IntegrityError):
            raise ShardError(str(exc), path=source, table=table) from exc
        raise ShardError(f"SQLite cannot copy it ({exc})", path=source, table=table) from exc
