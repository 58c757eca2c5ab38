"""Archive: move inputs away whose simulations are safe in the output."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from farm_merge.errors import OutputError
from farm_merge.sqlite import COMPANION_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["archive_inputs"]


def archive_inputs(paths: Iterable[Path], folder: Path) -> tuple[tuple[Path, Path], ...]:
    """Move inputs of which all simulations are in the output.

    Args:
        paths: The inputs.
        folder: Where they go; made if it is not there. Nothing in it is ever replaced.

    Returns:
        From where to where.

    Raises:
        OutputError: If a file cannot be moved; those before it were.
    """
    moved = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            destination = _free(folder, path)
            for suffix in ("", *COMPANION_SUFFIXES):
                beside = path.with_name(path.name + suffix)
                if beside.exists():
                    shutil.move(beside, destination.with_name(destination.name + suffix))
            moved.append((path, destination))
    except OSError as exc:
        raise OutputError(
            f"cannot take the merged files ({exc}); all are merged", path=folder
        ) from exc
    return tuple(moved)


def _free(folder: Path, path: Path) -> Path:
    """Return a name that nothing in the folder has, with as many parent folders as that takes."""
    parts = path.absolute().with_suffix("").parts[1:]
    for number in range(1, len(parts) + 1):
        candidate = folder / ("_".join(parts[-number:]) + path.suffix)
        if not candidate.exists():
            return candidate
    raise OutputError(f"has a file for every name that {path} could get", path=folder)
