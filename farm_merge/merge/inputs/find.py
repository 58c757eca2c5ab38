"""Find: from what a user names to the files that are meant."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from farm_merge.sqlite import COMPANION_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

__all__ = ["SUFFIXES", "find_shards"]

SUFFIXES = (".db", ".sqlite", ".sqlite3")
"""What a folder is searched for; a file that is named itself may have any ending."""


def find_shards(
    paths: Iterable[str | PathLike[str]], *, output: Path | None = None
) -> tuple[Path, ...]:
    """Return the files that `paths` mean, each once, in a stable order.

    Args:
        paths: Files, folders (searched through and through) and glob patterns. What does not exist
            stays in the list, so that it is reported with everything else that is wrong.
        output: The output, which is never its own input.
    """
    found: dict[str, Path] = {}
    for path in paths:
        for candidate in _expand(Path(path)):
            if not candidate.name.endswith(COMPANION_SUFFIXES) and not (
                output and _is_same(candidate, output)
            ):
                found.setdefault(os.path.realpath(candidate), candidate)
    return tuple(found.values())


def _expand(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from _search(path)
    elif not path.exists() and glob.has_magic(str(path)):
        matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207  (absolute ones too)
        for match in matches:
            yield from _expand(Path(match))
        if not matches:
            yield path
    else:
        yield path


def _search(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.endswith(SUFFIXES) and not name.startswith("."):
                yield Path(parent, name)


def _is_same(path: Path, output: Path) -> bool:
    try:
        return path.samefile(output)
    except OSError:
        return False
