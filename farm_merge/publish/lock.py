"""Lock: one process at a time makes an output, or extends it.

A lock is a file of its own beside what it protects, since opening and closing a database would drop
SQLite's locks on it. The kernel lets go of it when its holder dies, however that happens. Others
may write to the folder too, so nothing is believed about a file for its name alone: no link is
followed, and nothing is written to what is no lock of ours.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from farm_merge.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["hold", "lock_of", "locked"]

_HOLDER = re.compile(r"process \d+ on [\w.-]*")
_TORN = re.compile(r"p?r?o?c?e?s?s? ?\d* ?o?n? ?[\w.-]*")
"""What is there if its holder was killed while it wrote that."""

_LONGEST_HOLDER_BYTES = 200


@contextmanager
def locked(output: Path, on_wait: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock beside an output; wait for whoever holds it.

    Args:
        output: The output.
        on_wait: Called once with who holds the lock, if waiting is needed.

    Raises:
        OutputError: If the lock cannot be made in the output's folder, or is something else.
    """
    path = lock_of(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        descriptor = hold(path, on_wait)
    except OSError as exc:
        raise _refusal(output, path, exc) from exc
    try:
        yield
    finally:
        # While it is held: who waits for it looks whether it moved. In a folder in which users
        # keep off each other's files, another's stays, and is free.
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def lock_of(output: Path) -> Path:
    """Return where the lock of an output is: beside the file, by whatever link that is named.

    Raises:
        OutputError: If it is the root of all files.
    """
    path = Path(os.path.realpath(output))
    if not path.name:
        raise OutputError("cannot be made anew", path=output, remedy="choose another name")
    return path.with_name(f".{path.name}.merge-lock")


def hold(path: Path, on_wait: Callable[[str], None]) -> int:
    """Return the descriptor of a lock that is held until it is closed.

    Args:
        path: The lock; made if it is not there.
        on_wait: Called once with who holds the lock, if waiting is needed.

    Raises:
        OutputError: If there is something else at `path`.
        OSError: If it cannot be made or opened.
    """
    while True:
        descriptor = _open(path)
        try:
            _require_plain(path, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait(_holder(descriptor) or "another process")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(path, descriptor):
                _sign(path, descriptor)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder was done and took the file away


def _open(path: Path) -> int:
    """Open a lock; one that another user's process left can be held without being written to."""
    flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o666)
    except PermissionError:
        with suppress(OSError):
            return os.open(path, os.O_RDONLY | flags)
        raise


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))


def _require_plain(path: Path, descriptor: int) -> None:
    """Refuse what is no file, or has another name too: to write to it would be to write there."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        raise _not_a_lock(path)


def _holder(descriptor: int) -> str:
    """Return what a lock says about its holder; empty if that is nothing of ours."""
    text = _text(descriptor)
    return text if _HOLDER.fullmatch(text) else ""


def _text(descriptor: int) -> str:
    return os.pread(descriptor, _LONGEST_HOLDER_BYTES, 0).decode(errors="replace")


def _sign(path: Path, descriptor: int) -> None:
    """Write down who holds a lock, where that is possible: it is only for people.

    Raises:
        OutputError: If the file holds something else.
    """
    if not _TORN.fullmatch(_text(descriptor)):
        raise _not_a_lock(path)
    with suppress(OSError):  # a full disk, or the lock of another user
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)


def _not_a_lock(path: Path) -> OutputError:
    return OutputError("is no lock of farm-merge", path=path, remedy="move it away")


def _refusal(output: Path, path: Path, error: OSError) -> OutputError:
    if error.errno == errno.ELOOP and path.is_symlink():
        return _not_a_lock(path)
    if isinstance(error, PermissionError) and os.path.lexists(path):
        remedy = f"remove it, if nobody is writing {output.name}"
        return OutputError("is another user's, and may not be opened", path=path, remedy=remedy)
    return OutputError(f"its folder cannot be written to ({error.strerror})", path=output)
