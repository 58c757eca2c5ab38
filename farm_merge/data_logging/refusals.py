"""Refusals: what a logger could not take, counted, so that the end of a run can report it."""

from __future__ import annotations

from collections import Counter

__all__ = ["Refusals"]


class Refusals:
    """The rows that a logger refused: for a caller that catches every error and goes on.

    A caller that has dealt with them calls `clear`.

    Attributes:
        rows: How many, by the method that refused them.
        first: Why the first one was refused.
    """

    def __init__(self) -> None:
        self.rows: Counter[str] = Counter()
        self.first = ""

    def add(self, method: str, error: Exception) -> None:
        """Count a row."""
        self.rows[method] += 1
        self.first = self.first or f"{error}"

    def clear(self) -> None:
        """Forget them: the caller has seen to it."""
        self.rows.clear()
        self.first = ""

    def __bool__(self) -> bool:
        return bool(self.rows)

    def __str__(self) -> str:
        by_method = ", ".join(f"{method} {count}" for method, count in self.rows.items())
        return f"{self.rows.total()} rows were refused ({by_method}); the first: {self.first}"
