"""Shown: a plan or report as Python and notebooks show it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from farm_merge.merge.plan.plan import LeftOut, Outcome

__all__ = ["in_a_line", "in_a_table"]


_PLANNED = {
    "merged": "to merge",
    "replaced": "to replace",
    "joined": "to join",
    "skipped": "to skip",
    "left out": "to leave out",
}


def in_a_line(
    output: Path,
    outcomes: Sequence[Outcome],
    left_out: Sequence[LeftOut],
    *,
    planned: bool = False,
) -> str:
    """Return how many simulations have which outcome, and the rows that are written.

    Args:
        output: The experiment database.
        outcomes: What happens, or happened, to each simulation.
        left_out: What does not reach the output.
        planned: Whether nothing of it has happened yet.
    """
    counts = Counter(outcome.action.value for outcome in outcomes)
    counts["left out"] = len(left_out)
    parts = [
        f"{number:,} {_PLANNED.get(what, what) if planned else what}"
        for what, number in counts.items()
        if number
    ]
    rows = sum(outcome.rows for outcome in outcomes if outcome.action.writes)
    return f"{output}: {', '.join(parts) or 'nothing'}{f'; {rows:,} rows' if rows else ''}"


def in_a_table(caption: str, outcomes: Sequence[Outcome], left_out: Sequence[LeftOut]) -> str:
    """Return the outcome of each simulation as HTML, those first that were left out."""
    from farm_merge.notebook import html_table  # only notebooks ask

    rows = [
        *((it.simulation_id, it.path, "left out", None, it.explained()) for it in left_out),
        *((it.simulation_id, it.path, it.action, it.rows, it.reason) for it in outcomes),
    ]
    return html_table(caption, ["simulation", "file", "what", "rows", "why"], rows, len(rows))
