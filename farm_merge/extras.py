"""Extras: packages that not everybody needs, and how to get them where one is missing."""

from __future__ import annotations

import re

from farm_merge.errors import FarmMergeError

__all__ = ["missing_extra"]

_REQUIREMENT = re.compile(r"""\s*([^;]+?)\s*;.*\bextra\s*==\s*["']([\w-]+)["']""")


def missing_extra(reason: str, extra: str) -> FarmMergeError:
    """Return the error that names the packages of an extra.

    The packages, and not `farm-merge[…]`: that would look for farm-merge itself in a package index,
    which does not have what was installed from a folder.

    Args:
        reason: What cannot be done without them.
        extra: Its name in `pyproject.toml`.
    """
    return FarmMergeError(reason, remedy=f"pip install {' '.join(map(repr, _packages(extra)))}")


def _packages(extra: str) -> list[str]:
    """Return the packages of an extra with their versions, as they were when we were installed."""
    from importlib.metadata import PackageNotFoundError, requires  # it is slow, and seldom needed

    try:
        lines = requires("farm-merge") or []
    except PackageNotFoundError:
        return [f"farm-merge[{extra}]"]
    found = (_REQUIREMENT.fullmatch(line) for line in lines)
    return [match[1] for match in found if match and match[2] == extra]
