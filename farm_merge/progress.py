"""Progress: how work that takes long reports how far it is; the command line draws bars of it."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["ReportCount", "silent"]

ReportCount = Callable[[int, int], None]
"""Called with how much is done, and how much there is."""


def silent(*_: object) -> None:
    """Report to nobody."""
