"""The door: what was made in a workshop appears under its final name, whole and durably."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from farm_merge.errors import OutputError
from farm_merge.publish.lock import locked
from farm_merge.publish.output import require_free
from farm_merge.publish.workshop import workshop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "new_folder",
    "new_output",
    "publish_new",
    "replacing",
    "require_empty",
    "require_new",
    "sync",
]

_PARTIAL = "partial"
_SYNCING_THREADS = 16


@contextmanager
def new_output(output: Path, folder: Path) -> Iterator[Path]:
    """Yield a path for a new file, which appears at `output` when the block succeeds.

    It is never half there, and never over something that is there.

    Args:
        output: The file, whose lock is held.
        folder: A workshop beside it.

    Raises:
        OutputError: If something is in the way, or appeared at `output` meanwhile.
    """
    require_new(output)
    links = _has_links(folder)
    partial = folder / _PARTIAL
    try:
        yield partial
        publish_new(partial, output, links=links)
    finally:
        partial.unlink(missing_ok=True)


def require_new(output: Path) -> None:
    """Refuse a name that something has, or that leftovers of SQLite's would spoil.

    Raises:
        OutputError: If something is in the way.
    """
    if output.exists():
        raise OutputError("is there already", path=output, remedy="choose another name")
    require_free(output)


def publish_new(partial: Path, output: Path, *, links: bool | None = None) -> None:
    """Let a finished, closed file appear under its final name, durably, and never over another.

    Where the file system has no hard links (exFAT, SMB), it is renamed; then the lock keeps others
    from making the same meanwhile.

    Args:
        partial: The file.
        output: Its name, whose lock is held.
        links: Whether it is linked, and stays where it is too; None if that is to be tried.

    Raises:
        OutputError: If there is something at `output`, or a companion that SQLite would replay;
            or if the file is not all that was written.
    """
    _require_whole(partial)
    sync(partial)
    try:
        if os.path.lexists(output):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))  # noqa: TRY301
        require_free(output)
        _move(partial, output, links=links)
    except FileExistsError as exc:
        raise OutputError(
            "appeared while it was being made",
            path=output,
            remedy="run the same again to extend it",
        ) from exc
    sync(output.parent)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill, which appears at `folder` when the block succeeds.

    The folder around it is private too, and gone afterwards.

    Raises:
        OutputError: If something other than an empty folder is there, or it cannot be made.
    """
    try:
        with locked(folder, _refuse(folder)), workshop(folder) as shop:
            require_empty(folder)
            partial = shop / _PARTIAL
            partial.mkdir()
            yield partial
            _sync_all(partial)
            partial.rename(folder)
            sync(folder.parent)
    except OSError as exc:
        raise OutputError(f"cannot be written ({exc.strerror or exc})", path=folder) from exc


def require_empty(folder: Path) -> None:
    """Refuse a folder that something is in, and anything that is no folder.

    Raises:
        OutputError: If it is that.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise OutputError(
            "is there already, and not empty", path=folder, remedy="choose another folder"
        )


@contextmanager
def replacing(output: Path, *, alike: int = 8) -> Iterator[Path]:
    """Yield a path for a file that takes the place of an older one when the block succeeds.

    Nothing else is replaced.

    Args:
        output: The file; where a link leads to.
        alike: In how many bytes an older one begins as it does.

    Raises:
        OutputError: If something else is there, or it cannot be made.
    """
    place = Path(os.path.realpath(output))
    with workshop(place) as folder:
        partial = folder / _PARTIAL
        yield partial
        if os.path.lexists(place) and not _is_older(place, partial, alike):
            raise OutputError(
                "is there already, and is something else", path=output, remedy="choose another name"
            )
        sync(partial)
        partial.replace(place)
        sync(place.parent)


def _is_older(place: Path, new: Path, alike: int) -> bool:
    """Return whether a file is of the kind of a new one, or empty."""
    if not place.is_file():
        return False
    with place.open("rb") as there, new.open("rb") as ours:
        return there.read(alike) in {b"", ours.read(alike)}


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as exc:
        # Some network file systems do not know what that means for a folder.
        if exc.errno not in {errno.EINVAL, errno.ENOTSUP} or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def _sync_all(folder: Path) -> None:
    """Wait until all that is in a folder is on the disk; many at once, or each waits for all."""
    with ThreadPoolExecutor(_SYNCING_THREADS) as pool:
        for _ in pool.map(sync, [*folder.rglob("*"), folder]):
            pass


def _move(partial: Path, output: Path, *, links: bool | None) -> None:
    if links is not False:
        try:
            os.link(partial, output)
        except OSError as exc:
            if links or isinstance(exc, FileExistsError):
                raise
        else:
            return
    partial.rename(output)


def _require_whole(partial: Path) -> None:
    """Refuse a database of which a part is in its WAL or its journal still.

    Raises:
        OutputError: If it has one; a full disk may have kept SQLite from emptying it.
    """
    for suffix in ("-wal", "-journal"):
        beside = partial.with_name(partial.name + suffix)
        if beside.exists() and beside.stat().st_size:
            raise OutputError(
                f"could not be completed; some of it is in its {suffix}", path=partial
            )


def _has_links(folder: Path) -> bool:
    """Return whether a file in a folder can have a second name."""
    probe = folder / "probe"
    probe.touch()
    try:
        os.link(probe, folder / "link")
    except OSError:
        return False
    finally:
        for path in (probe, folder / "link"):
            with suppress(FileNotFoundError):
                path.unlink()
    return True


def _refuse(folder: Path) -> Callable[[str], None]:
    def refuse(who: str) -> None:
        raise OutputError(f"is being written by {who}", path=folder)

    return refuse
