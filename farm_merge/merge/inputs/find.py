"""Find: from what a user names to the files that are meant.

A folder is searched by content: what starts like a SQLite database is one, whatever it is called.
What is not taken, and could have been meant, is named with the reason.
"""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from farm_merge.errors import OutputError, ShardError
from farm_merge.merge.inputs.formats import HEAD_BYTES, SQLITE, format_of, has_known_ending
from farm_merge.merge.inputs.unpack import starts_like_a_database
from farm_merge.publish import is_workshop
from farm_merge.sqlite import COMPANION_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from farm_merge.merge.inputs.formats import Format

__all__ = ["Found", "find_inputs", "is_database", "require_some"]


@dataclass(slots=True)
class Found:
    """What was found.

    Attributes:
        files: The inputs, each once, in a stable order. What is named and does not exist is among
            them, so that it is reported with everything else that is wrong.
        searched: Those of them that nobody named, and that were found in a folder.
        others: What is not taken, and why.
        links: Other names under which inputs were found, each with the name that is used.
    """

    files: tuple[Path, ...] = ()
    searched: frozenset[Path] = frozenset()
    others: dict[Path, ShardError] = field(default_factory=dict)
    links: dict[Path, Path] = field(default_factory=dict)


def find_inputs(paths: Iterable[str | PathLike[str]], *, output: Path | None = None) -> Found:
    """Return the files that `paths` mean.

    Args:
        paths: Files, folders (searched through and through, links to folders included) and glob
            patterns.
        output: The output, which is never its own input: not in a folder, and not by name.

    Raises:
        OutputError: If the output is named among the inputs.
    """
    search = _Search(output)
    for path in paths:
        search.add(Path(path))
    return search.found()


def require_some(found: Found) -> None:
    """Refuse inputs among which there is nothing that could be one.

    Raises:
        ShardError: If neither a database was found, nor what could be meant for one.
    """
    if not (found.files or found.others):
        raise ShardError("no database found among the inputs")


class _Search:
    """What was found so far."""

    def __init__(self, output: Path | None) -> None:
        self._output = output
        self._files: dict[str, Path] = {}
        self._named: set[str] = set()
        self._folders: set[tuple[int, int]] = set()
        self._others: dict[Path, ShardError] = {}
        self._links: dict[Path, str] = {}

    def found(self) -> Found:
        files = tuple(self._files.values())
        searched = (file for real, file in self._files.items() if real not in self._named)
        links = {path: self._files[real] for path, real in self._links.items()}
        links = {path: file for path, file in links.items() if path != file}
        return Found(files, frozenset(searched), self._others, links)

    def add(self, path: Path) -> None:
        """Add a file, a folder, or what a pattern matches."""
        if path.is_dir():
            self._search(path)
        elif not path.exists() and glob.has_magic(str(path)):
            matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  (absolute too)
            for match in matches:
                self.add(Path(match))
            if not matches:
                self._take(path, named=True)
        elif not path.name.endswith(COMPANION_SUFFIXES):
            if self._is_output(path):
                raise OutputError(
                    "is the output, and named among the inputs",
                    path=path,
                    remedy="take it out of the inputs, or choose another output",
                )
            self._take(path, named=True)

    def _take(self, path: Path, *, named: bool) -> None:
        real = os.path.realpath(path)
        have = self._files.get(real)
        if named:
            self._named.add(real)
        if have is None:
            self._files[real] = path
            return
        # A run is called by its own name rather than by that of a link to it.
        is_real = os.path.abspath(path) == real  # noqa: PTH100  (no link is resolved)
        kept, other = (path, have) if is_real else (have, path)
        self._files[real] = kept
        if kept != other:
            self._links[other] = real

    def _search(self, folder: Path) -> None:
        """Search a folder and those in it, each once."""
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in self._folders:
                return  # a link that leads back
            self._folders.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as exc:
            reason = f"cannot be searched ({exc.strerror})"
            self._others[folder] = ShardError(reason, path=folder)
            return
        for entry in entries:
            if not entry.is_dir():
                self._consider(Path(folder, entry.name))
        for entry in entries:
            path = Path(folder, entry.name)
            if entry.is_dir() and not (self._is_ours(path) or is_workshop(path)):
                self._search(path)

    def _consider(self, path: Path) -> None:
        """Take a file of a folder, pass over it, or keep why it is not taken."""
        if self._is_output(path) or self._is_ours(path):
            return
        if path.name.endswith(COMPANION_SUFFIXES):
            self._consider_companion(path)
        elif path.name.startswith("."):
            if is_database(path):
                self._leave(path, "is hidden", "name it to merge it")
        elif has_known_ending(path.name) or is_database(path):
            self._take(path, named=False)
        elif (found := _format(path)) and found.is_database:
            self._leave(path, f"is {found.name}", found.remedy)

    def _consider_companion(self, path: Path) -> None:
        suffix = next(ending for ending in COMPANION_SUFFIXES if path.name.endswith(ending))
        database = path.with_name(path.name.removesuffix(suffix))
        if suffix != "-shm" and not database.exists() and _size(path):
            remedy = "put its database back beside it, or move it away"
            self._leave(path, "is there without its database", remedy)

    def _leave(self, path: Path, reason: str, remedy: str) -> None:
        self._others[path] = ShardError(reason, path=path, remedy=remedy)

    def _is_output(self, path: Path) -> bool:
        try:
            return self._output is not None and path.samefile(self._output)
        except OSError:
            return False

    def _is_ours(self, path: Path) -> bool:
        """Return whether a hidden file or folder is what this merge works with."""
        return (
            self._output is not None
            and path.name.startswith(f".{self._output.name}.")
            and path.parent.absolute() == self._output.parent.absolute()
        )


def is_database(path: Path) -> bool:
    """Return whether a file starts like a SQLite database, packed or not."""
    found = _format(path)
    if found is None:
        return False
    return found is SQLITE or (found.is_packed and starts_like_a_database(path, found))


def _format(path: Path) -> Format | None:
    """Return what a regular file is; None for what is none, or cannot be read."""
    try:
        if not path.is_file():
            return None
        with path.open("rb", buffering=0) as file:
            return format_of(file.read(HEAD_BYTES))
    except OSError:
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
