"""Snapshot: what one commit left in a database, whoever writes it meanwhile.

Bytes are only read where nobody can change them; everywhere else SQLite itself copies, whose locks
keep a copy and a writer apart.
"""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

from farm_merge.errors import ShardError, StillWrittenError
from farm_merge.merge.inputs.file import InputFile, identify, look_at, require_unchanged
from farm_merge.sqlite import connect, file_uri, sqlite3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

    from farm_merge.merge.inputs.running import OpenFiles

__all__ = ["at_rest", "held", "snapshot"]

_PATIENCE_SECONDS = 10
"""How long a run may keep readers out before its file is left out."""

_FINE_TICK_NS, _COARSE_TICK_NS = 100_000_000, 2_500_000_000
"""Within which two writes may get one time: of the kernel's clock, and of file systems that keep
whole seconds."""


def snapshot(path: Path, copy: Path) -> InputFile:
    """Copy what is committed in a file that a run is writing, as any reader of it would see it.

    This is the one way in which an input is opened together with its run: SQLite's own locks keep
    the two apart.

    Raises:
        StillWrittenError: If the run keeps readers out.
        ShardError: If SQLite cannot read the file.
    """
    identity = identify(path)
    unopened = _unopened(path)
    how = {"mode": "ro"} if unopened is None else {"mode": "ro", "immutable": 1}
    deadline = time.monotonic() + _PATIENCE_SECONDS

    def give_up(_: int, remaining: int, total: int) -> None:
        if remaining == total and time.monotonic() > deadline:
            raise TimeoutError

    try:
        with (
            closing(connect(file_uri(path, **how), timeout=1)) as live,
            closing(connect(file_uri(copy))) as taken,
        ):
            # In one step: one that is interrupted starts anew whenever the run commits.
            live.backup(taken, pages=-1, progress=give_up)
            taken.execute("PRAGMA journal_mode=DELETE")
    except TimeoutError as exc:
        raise StillWrittenError(
            f"its run has held a lock for {_PATIENCE_SECONDS} seconds that keeps readers out",
            path=path,
            remedy="merge it when the run has ended",
        ) from exc
    except sqlite3.DatabaseError as exc:
        raise ShardError(f"SQLite cannot read it ({exc})", path=path) from exc
    if unopened is not None and _unopened(path) != unopened:
        return snapshot(path, copy)  # somebody opened it after all
    return InputFile(path, identity, look_at(copy).header, snapshot=copy)


def _unopened(path: Path) -> InputFile | None:
    """Return a database in WAL mode that nobody has open, once a write would give it a later time.

    Others cannot be read as they are; but beside this one SQLite would make a WAL and its index
    only to read it, and leave them there, or fail where it may not.
    """
    try:
        file = look_at(path)
    except ShardError:
        return None
    index = path.with_name(f"{path.name}-shm")
    if not file.header.is_wal or file.companions or index.exists():
        return None
    tick = _tick_ns(file)
    time.sleep(min(max(0, tick - _age_ns(file)), tick) / 1e9)  # its time may lie in the future
    return file


@contextmanager
def at_rest(path: Path, folder: Path, open_files: OpenFiles) -> Iterator[Path]:
    """Yield a file with what is committed in a database, which stays as it is.

    It is the database itself where nobody seems to write it, which is looked at again in the end,
    and a copy of it everywhere else.

    Args:
        path: The database.
        folder: A private folder for the copy.
        open_files: What other processes have open.

    Raises:
        ShardError: If it cannot be read, or changed all the same.
    """
    file = _resting(path, open_files)
    if file is None:
        copy = Path(mkdtemp(dir=folder), path.name)
        snapshot(path, copy)
        yield copy
        copy.unlink()
        return
    yield path
    try:
        require_unchanged(file)
    except ShardError as exc:
        raise ShardError("changed while it was read", path=path, remedy="run it again") from exc


def _resting(path: Path, open_files: OpenFiles) -> InputFile | None:
    """Return a database that nobody seems to write; None if somebody does, or did just now."""
    try:
        file = look_at(path)
    except ShardError:
        return None  # what is wrong with it, its snapshot reports
    in_use = file.companions or open_files.writer(file) or _age_ns(file) < _tick_ns(file)
    return None if in_use else file


def _age_ns(file: InputFile) -> int:
    """Return how long ago a file was written."""
    return time.time_ns() - file.identity.mtime_ns


def _tick_ns(file: InputFile) -> int:
    """Return how long after it was written a file may be written again at the same time."""
    return _FINE_TICK_NS if file.identity.mtime_ns % 1_000_000_000 else _COARSE_TICK_NS


@contextmanager
def held(path: Path) -> Iterator[FileIO]:
    """Yield the bytes of a database, which nobody can change as long as they are open.

    So it is in rollback mode, while a reader holds its lock; a writer that wants in waits for that.

    Raises:
        StillWrittenError: If it is in WAL mode, where readers and writers keep each other from
            nothing.
        ShardError: If it cannot be read, or is open in this process.
    """
    if look_at(path).header.is_wal:
        raise StillWrittenError("may be written at any time", path=path)
    # The file is closed last: closing it drops the lock.
    with path.open("rb", buffering=0) as file:
        try:
            with closing(connect(file_uri(path, mode="ro"), timeout=1, read_only=True)) as reader:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM sqlite_schema").fetchone()
                yield file
        except sqlite3.DatabaseError as exc:
            raise ShardError(f"SQLite cannot read it ({exc})", path=path) from exc
