"""Nearest: of the names that there are, the one that was probably meant."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from farm_merge.errors import FarmMergeError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

__all__ = ["require_known", "with_nearest"]

_MOST_NAMED = 12
"""How many names a message lists; where there are more, only the nearest helps."""


def with_nearest(reason: str, name: str, known: Iterable[str]) -> str:
    """Return why a name is wrong, with the nearest that is right, or else with a few that are.

    Args:
        reason: Why it is wrong.
        name: What was typed.
        known: The names that there are.
    """
    names = list(dict.fromkeys(known))
    folded = {name.lower(): name for name in reversed(names)}
    if close := get_close_matches(name.lower(), folded, n=1):
        return f"{reason}; the nearest is {folded[close[0]]}"
    if 0 < len(names) <= _MOST_NAMED:
        return f"{reason}; there {'is' if len(names) == 1 else 'are'} {', '.join(names)}"
    return reason


def require_known(
    kind: str,
    names: Iterable[str],
    known: Iterable[str],
    *,
    path: str | PathLike[str] | None = None,
    error: type[FarmMergeError] = FarmMergeError,
) -> None:
    """Refuse names that there are not, each with the nearest that there is.

    Args:
        kind: What they are names of, such as "simulation".
        names: What was typed.
        known: The names that there are.
        path: The file that should have them.
        error: What is raised.

    Raises:
        FarmMergeError: If there is no such name.
    """
    there = list(known)
    unknown = [name for name in dict.fromkeys(names) if name not in {*there}]
    lacks = "there is no" if path is None else "has no"
    if unknown:
        reasons = (with_nearest(f"{lacks} {kind} {name}", name, there) for name in unknown)
        raise error("; ".join(reasons), path=path)
