"""Nearest: of the names that there are, the one that was probably meant."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["with_nearest"]


def with_nearest(reason: str, name: str, known: Iterable[str]) -> str:
    """Return why a name is wrong, with the nearest that is right, if one is near."""
    close = get_close_matches(name, list(known), n=1)
    return f"{reason}; the nearest is {close[0]}" if close else reason
