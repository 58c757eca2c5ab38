"""Archive: move inputs away whose simulations are safe in the output."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from farm_merge.errors import OutputError
from farm_merge.merge.find import SIDE_SUFFIXES

if TYPE_CHECKING:
    from pathlib import Path

    from farm_merge.merge.plan import Plan

__all__ = ["archive_shards"]


def archive_shards(plan: Plan, folder: Path) -> tuple[tuple[Path, Path], ...]:
    """Move every input to `folder` of which all simulations are in the output.

    Args:
        plan: A merge that was carried out and verified.
        folder: Where they go; made if it is not there. Nothing in it is ever replaced.

    Returns:
        From where to where.

    Raises:
        OutputError: If a file cannot be moved; those before it were.
    """
    left_out = {each.path for each in plan.left_out}
    sources = dict.fromkeys(
        each.source.path for each in plan.simulations if each.source.path not in left_out
    )
    moved = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in sources:
            destination = _free(folder, path)
            for suffix in ("", *SIDE_SUFFIXES):
                beside = path.with_name(path.name + suffix)
                if beside.exists():
                    shutil.move(beside, destination.with_name(destination.name + suffix))
            moved.append((path, destination))
    except OSError as exc:
        raise OutputError(
            f"{folder}: cannot take the merged files ({exc}); all are merged"
        ) from exc
    return tuple(moved)


def _free(folder: Path, path: Path) -> Path:
    """Return a name that nothing in the folder has, with as many parent folders as that takes."""
    parts = path.absolute().with_suffix("").parts[1:]
    for number in range(1, len(parts) + 1):
        candidate = folder / ("_".join(parts[-number:]) + path.suffix)
        if not candidate.exists():
            return candidate
    raise OutputError(f"{folder}: has a file for every name that {path} could get")
