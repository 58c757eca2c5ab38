"""Archive: move inputs away whose simulations are safe in the output.

A database and its WAL are one. So the WAL is in the archive before the database is, and goes from
its old place after it: whenever that stops, one of the places has both, and the next run finishes.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from farm_merge.errors import OutputError, ShardError
from farm_merge.merge.inputs.file import identify
from farm_merge.merge.inputs.find import find_inputs
from farm_merge.progress import silent
from farm_merge.publish import locked, sync, workshop
from farm_merge.sqlite import COMPANION_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

    from farm_merge.merge.inputs.file import Identity
    from farm_merge.merge.ledger import LedgerEntry

__all__ = ["archive_inputs", "archived_before", "finish_moves"]


def archive_inputs(paths: Iterable[Path], folder: Path) -> tuple[tuple[Path, Path], ...]:
    """Move inputs of which all simulations are in the output.

    Args:
        paths: The inputs; those that are in the folder stay.
        folder: Where they go; made if it is not there. Nothing in it is ever replaced.

    Returns:
        From where to where.

    Raises:
        OutputError: If a file cannot be moved; those before it were.
    """
    moved = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / "archive", silent), workshop(folder / "archive") as shop:
            for path in paths:
                if path.absolute().parent.samefile(folder):
                    continue  # it is in the archive
                destination = _place(folder, path)
                _move(path, destination, shop)
                moved.append((path, destination))
    except OSError as exc:
        raise OutputError(
            f"cannot take the merged files ({exc}); all are merged", path=folder
        ) from exc
    return tuple(moved)


def finish_moves(strays: Iterable[Path], folder: Path) -> None:
    """Remove companions whose databases are in the archive, each with the same companion.

    Args:
        strays: Companions without a database beside them.
        folder: The archive.
    """
    for stray in strays:
        suffix = next((end for end in COMPANION_SUFFIXES if stray.name.endswith(end)), None)
        if suffix is None:
            continue
        path = stray.with_name(stray.name.removesuffix(suffix))
        for destination in _names(folder, path):
            if destination.exists() and _is_same(stray, _beside(destination, suffix)):
                stray.unlink()
                break


def archived_before(
    paths: Iterable[str | PathLike[str]], ledger: Iterable[LedgerEntry], folder: Path
) -> dict[Path, int]:
    """Return inputs that hold nothing any more, since all of it was merged and archived.

    Args:
        paths: What the user named.
        ledger: What the output holds.
        folder: The archive.

    Returns:
        Each with the number of its files that the archive has.
    """
    empty = [Path(path) for path in paths if not _holds_any(Path(path))]
    sources = {Path(it.source_path): it.identity for it in ledger} if empty else {}
    there = [source for source, identity in sources.items() if _has(folder, source, identity)]
    found = {path: sum(_is_meant(source, path) for source in there) for path in empty}
    return {path: number for path, number in found.items() if number}


def _holds_any(path: Path) -> bool:
    return any(os.path.lexists(file) for file in find_inputs([path]).files)


def _is_meant(source: Path, path: Path) -> bool:
    place = path.absolute()
    return place in (source, *source.parents) or fnmatch(str(source), str(place))


def _has(folder: Path, source: Path, identity: Identity) -> bool:
    """Return whether an archive has a file: neither a link nor a copy changes size and time."""
    for place in _names(folder, source):
        with suppress(OSError, ShardError):
            found = identify(place)
            if (found.size_bytes, found.mtime_ns) == (identity.size_bytes, identity.mtime_ns):
                return True
    return False


def _move(path: Path, destination: Path, shop: Path) -> None:
    companions = [suffix for suffix in COMPANION_SUFFIXES if _beside(path, suffix).exists()]
    for suffix in (*companions, ""):
        _put(_beside(path, suffix), _beside(destination, suffix), shop)
    sync(destination.parent)
    for suffix in ("", *companions):
        _beside(path, suffix).unlink()


def _put(path: Path, destination: Path, shop: Path) -> None:
    """Let a file be in the archive too; where it was archived already, that is done."""
    if os.path.lexists(destination):
        return
    if path.is_symlink():
        destination.symlink_to(path.resolve())
        return
    try:
        os.link(path, destination)
    except OSError:  # another file system, or one that has no hard links
        copy = shop / "copy"
        shutil.copy2(path, copy)
        sync(copy)
        copy.rename(destination)


def _place(folder: Path, path: Path) -> Path:
    """Return a name that nothing in the folder has, but what a move that was stopped put there."""
    for candidate in _names(folder, path):
        pairs = [(_beside(path, suffix), _beside(candidate, suffix))
                 for suffix in ("", *COMPANION_SUFFIXES)]  # fmt: skip
        if all(not os.path.lexists(there) or _is_same(here, there) for here, there in pairs):
            return candidate
    raise OutputError(f"has a file for every name that {path} could get", path=folder)


def _names(folder: Path, path: Path) -> Iterator[Path]:
    """Yield the names that a file may get, with as many parent folders as that takes."""
    parts = path.absolute().with_suffix("").parts[1:]
    for number in range(1, len(parts) + 1):
        yield folder / ("_".join(parts[-number:]) + path.suffix)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _is_same(one: Path, other: Path) -> bool:
    """Return whether there are two files with the same bytes, and one of them may go."""
    if other.is_symlink():  # to the file itself, perhaps
        return one.is_symlink() and other.readlink() == one.resolve()
    try:
        return one.samefile(other) or filecmp.cmp(one, other, shallow=False)
    except FileNotFoundError:
        return False
