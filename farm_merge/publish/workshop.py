"""Workshop: a private folder beside an output, in which it is made."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from pwd import getpwuid
from typing import TYPE_CHECKING

from farm_merge.errors import OutputError
from farm_merge.publish.lock import hold, lock_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["is_workshop", "left_by_others", "workshop"]

_LOCK = "lock"
_SUFFIX = ".work"


class _HeldError(Exception):
    """A process holds the lock of a workshop: it lives, and so what it makes is no leftover."""


@contextmanager
def workshop(output: Path) -> Iterator[Path]:
    """Yield a folder beside an output that is this call's own; nothing of it stays.

    Its name is new, nobody else may enter it, and a lock in it shows that its process lives: what
    has none was left by one that was killed, and is removed.

    Raises:
        OutputError: If it cannot be made.
    """
    try:
        _remove_leftovers(output)
        folder, descriptor = _made(output)
    except OSError as exc:
        reason = f"its folder cannot be written to ({exc.strerror})"
        raise OutputError(reason, path=output) from exc
    try:
        yield folder
    finally:
        with suppress(OSError):  # the folder around it may have gone, or be full
            _remove(folder)
        os.close(descriptor)


def is_workshop(folder: Path) -> bool:
    """Return whether a folder is the workshop of any output: what is in it is nobody's data."""
    name = folder.name
    return name.startswith(".") and name.endswith(_SUFFIX) and os.path.lexists(folder / _LOCK)


def left_by_others(output: Path) -> Iterator[str]:
    """Yield what commands of other users left beside an output, and who can remove it."""
    for path in (*_workshops(output), lock_of(output)):
        with suppress(FileNotFoundError):
            owner = path.lstat().st_uid
            if owner != os.geteuid():
                yield (
                    f"{path} is of user {_user(owner)}, for a command that works, or was killed;"
                    f" it is in nobody's way, and they can remove it: rm -r '{path}'"
                )


def _user(number: int) -> str:
    try:
        return getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _workshops(output: Path) -> Iterator[Path]:
    return output.parent.glob(f".{escape(output.name)}.*{_SUFFIX}")


def _made(output: Path) -> tuple[Path, int]:
    while True:
        prefix = f".{output.name}."
        folder = Path(tempfile.mkdtemp(prefix=prefix, suffix=_SUFFIX, dir=output.parent))
        try:
            return folder, hold(folder / _LOCK, _spare)
        except (FileNotFoundError, _HeldError):
            continue  # taken for a leftover before it was locked
        except BaseException:
            with suppress(OSError):
                _remove(folder)
            raise


def _remove_leftovers(output: Path) -> None:
    for leftover in _workshops(output):
        # At work, another user's, or none of ours: then it stays, and is in nobody's way.
        with suppress(OSError, OutputError, _HeldError):
            _remove_leftover(leftover)


def _remove_leftover(leftover: Path) -> None:
    if leftover.is_symlink():
        return
    if not any(leftover.iterdir()):
        leftover.rmdir()
    elif os.path.lexists(leftover / _LOCK):
        descriptor = hold(leftover / _LOCK, _spare)
        _remove(leftover)
        os.close(descriptor)


def _remove(folder: Path) -> None:
    """Remove a workshop, its lock last: by it, what is left of one is known."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != _LOCK:
            with suppress(OSError):
                path.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _spare(holder: str) -> None:
    raise _HeldError(holder)
