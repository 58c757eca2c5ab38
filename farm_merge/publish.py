"""Publish: a new file appears whole or not at all; an existing one grows by transactions."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote

from farm_merge.errors import OutputError
from farm_merge.schema import SCHEMA_VERSION, is_current, is_experiment
from farm_merge.sqlite import COMPANION_SUFFIXES, connect, file_uri, make_disposable, sqlite3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = [
    "building",
    "existing_output",
    "file_name",
    "link_new",
    "locked",
    "new_folder",
    "new_output",
    "read_output",
    "require_experiment",
    "require_usable",
    "settle",
    "settle_output",
    "sync",
    "workshop",
]

_LONGEST_NAME_BYTES = 200


def file_name(name: str, safe: str = " ") -> str:
    """Return a name for a file or a folder, whatever it is the name of: always one in its folder.

    What a file system may not like is percent-encoded, and a long name is cut and made unique by a
    digest.

    Args:
        name: Of a table or a simulation, for example.
        safe: What is kept beside letters, digits and `_.-~`.
    """
    encoded = quote(name, safe=safe)
    if encoded in {".", ".."}:
        encoded = encoded.replace(".", "%2E")
    if len(encoded) > _LONGEST_NAME_BYTES:
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        encoded = f"{encoded[: _LONGEST_NAME_BYTES - 17]}-{digest}"
    return encoded


@contextmanager
def locked(output: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock beside an output; wait for whoever holds it.

    The lock is a file of its own, since opening and closing the database itself would drop
    SQLite's locks on it. The kernel lets go of it when its holder dies, however that happens.

    Args:
        output: The output.
        on_wait: Called once with who holds the lock, if waiting is needed.

    Raises:
        OutputError: If the lock cannot be made in the output's folder.
    """
    path = output.with_name(f".{output.name}.merge-lock")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _lock(path, on_wait)
    except OSError as exc:
        reason = f"its folder cannot be written to ({exc.strerror})"
        raise OutputError(reason, path=output) from exc
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {platform.node()}".encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: who waits for it looks whether it moved
        os.close(descriptor)


def _lock(path: Path, on_wait: Callable[[str], None]) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait(os.read(descriptor, 200).decode(errors="replace") or "another process")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        except BaseException:
            os.close(descriptor)
            raise
        if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
        os.close(descriptor)  # its holder was done and took the file away


@contextmanager
def workshop(output: Path) -> Iterator[Path]:
    """Yield a private folder beside an output, whose lock is held; nothing of it stays.

    Raises:
        OutputError: If it cannot be made.
    """
    folder = output.with_name(f".{output.name}.work")
    try:
        shutil.rmtree(folder, ignore_errors=True)  # what a killed merge left
        folder.mkdir()
    except OSError as exc:
        raise OutputError(f"cannot be made ({exc.strerror})", path=folder) from exc
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def require_usable(output: Path) -> None:
    """Refuse an output that cannot become, or is not, an experiment database of today's schema.

    Raises:
        OutputError: With what is in the way, and the remedy.
    """
    if output.exists():
        _require_current(output)
        return
    if output.is_symlink():
        raise OutputError(
            "is a link that points nowhere", path=output, remedy="remove it or mend it"
        )
    for suffix in COMPANION_SUFFIXES:
        beside = output.with_name(output.name + suffix)
        if beside.exists():
            raise OutputError(
                "is there without its database, and SQLite would replay it over the new one",
                path=beside,
                remedy="move it away, or put its database back",
            )


def require_experiment(output: Path) -> None:
    """Refuse an output that cannot become, or is not, an experiment database.

    Raises:
        OutputError: With what is in the way, and the remedy.
    """
    require_usable(output)
    if not output.exists():
        return
    with read_output(output) as connection:
        if not is_experiment(connection):
            raise OutputError(
                "is the shard of a simulation, and a merge would put the others into it",
                path=output,
                remedy=f"choose another output: farm-merge {output} … -o NEW.db",
            )


def _require_current(output: Path) -> None:
    if not output.is_file():
        raise OutputError("not a regular file, so it cannot be the output", path=output)
    try:
        with read_output(output) as connection:
            if is_current(connection):
                return
        why = ""
    except sqlite3.DatabaseError as exc:
        why = f" ({exc})"
    raise OutputError(
        "not an experiment database of today's schema"
        f" (version {SCHEMA_VERSION}){why}, so it can be an input, but not an output",
        path=output,
        remedy=f"choose another: farm-merge {output} … -o NEW.db",
    )


@contextmanager
def read_output(output: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that only reads the output, as any other reader would."""
    # Not mode=ro: the WAL of a killed merge has to be recovered before it can be read.
    with closing(connect(file_uri(output, mode="rw"), read_only=True)) as connection:
        yield connection


@contextmanager
def new_output(output: Path) -> Iterator[Path]:
    """Yield a path for a new database, which appears at `output` when the block succeeds.

    It is built beside its place under another name, synced, and linked: never half there, and
    never over a file that is there. What a killed merge left under that name is taken away first;
    the lock is held, so nobody else can be at work on it.

    Raises:
        OutputError: If something appeared at `output` meanwhile.
    """
    partial = output.with_name(f".{output.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        yield partial
        link_new(partial, output)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill, which appears at `folder` when the block succeeds.

    Raises:
        OutputError: If something other than an empty folder is there, or it cannot be made.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise OutputError(
            "is there already, and not empty", path=folder, remedy="choose another folder"
        )
    partial = folder.with_name(f".{folder.name}.partial")
    try:
        with locked(folder, _refuse(folder)):
            shutil.rmtree(partial, ignore_errors=True)  # what a killed process left
            partial.mkdir(parents=True)
            try:
                yield partial
                partial.rename(folder)
                sync(folder.parent)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as exc:
        raise OutputError(f"cannot be written ({exc.strerror or exc})", path=folder) from exc


def _refuse(folder: Path) -> Callable[[str], None]:
    def refuse(who: str) -> None:
        raise OutputError(f"is being written by {who}", path=folder)

    return refuse


@contextmanager
def building(partial: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to a database that nobody else can have open, and nobody would miss."""
    with closing(connect(file_uri(partial))) as connection:
        make_disposable(connection)
        connection.execute("PRAGMA cache_size=-65536")
        yield connection


def link_new(partial: Path, output: Path) -> None:
    """Let a finished, closed file appear under its final name, durably, and never over another.

    Raises:
        OutputError: If there is something at `output`.
    """
    sync(partial)
    try:
        os.link(partial, output)
    except FileExistsError as exc:
        raise OutputError(
            "appeared while it was being made",
            path=output,
            remedy="run the same again to extend it",
        ) from exc
    sync(output.parent)


@contextmanager
def existing_output(output: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that extends an existing database; its readers go on reading (WAL)."""
    with closing(connect(file_uri(output, mode="rw"))) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        try:
            yield connection
        finally:
            settle(connection)


def settle_output(output: Path) -> None:
    """Make one file again of a database that a killed merge left in WAL mode."""
    with closing(connect(file_uri(output, mode="rw"))) as connection:
        if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
            settle(connection)


def settle(connection: sqlite3.Connection) -> None:
    """Move the WAL into the file and leave the file alone, unless others have it open."""
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=1000")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError:
        pass  # it stays in WAL mode, which is as safe; the last one to close it cleans up


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
