"""Equals: files of equal bytes whose paths name them: copies of one run, or replicates."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from farm_merge.errors import ShardError
from farm_merge.merge.inputs.formats import without_packed_ending
from farm_merge.merge.ledger import path_text
from farm_merge.merge.plan.recognize import and_others

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from farm_merge.merge.ledger import Origin
    from farm_merge.merge.options import EqualFiles
    from farm_merge.merge.plan.recognize import Run

__all__ = ["Equals", "find_equals", "is_packed_twin"]

_SHOWN = 5
"""How many files a note names."""


@dataclass(slots=True)
class Equals:
    """What files of equal bytes are to each other.

    Attributes:
        copies: The runs that are another one again, each with that.
        refused: The inputs that cannot be merged, and why.
        notes: What a reader should know.
    """

    copies: dict[tuple[Path, int], Run] = field(default_factory=dict)
    refused: dict[Path, ShardError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def find_equals(runs: Iterable[Run], decision: EqualFiles | None) -> Equals:
    """Find the runs whose files have equal bytes.

    Args:
        runs: Runs that their paths name.
        decision: What the user decided; by default they are separate runs.
    """
    groups: dict[Origin, list[Run]] = defaultdict(list)
    for run in runs:
        if not run.simulation.is_unattributed:
            for origin in run.origins:
                groups[origin].append(run)
    equals = Equals()
    for first, *others in groups.values():
        here = path_text(first.path)
        packed = [run for run in others if is_packed_twin(path_text(run.path), here)]
        equals.copies |= {run.key: first for run in packed}
        equals.notes += [f"{run.path}: is {first.path} again" for run in packed]
        if alike := [run for run in others if run not in packed]:
            _decide(equals, first, alike, decision)
    return equals


def _decide(equals: Equals, first: Run, others: list[Run], decision: EqualFiles | None) -> None:
    paths = ", ".join(str(run.path) for run in others[:_SHOWN])
    more = and_others(len(others) - _SHOWN)
    note = f"{first.path}: has the same bytes as {paths}{more}"
    if decision == "error":
        for run, other in [(first, others[0]), *((run, first) for run in others)]:
            equals.refused[run.path] = ShardError(
                f"has the same bytes as {other.path}",
                path=run.path,
                remedy="`equal_files=separate` carries both, `equal_files=fold` makes them one run",
            )
    elif decision == "fold":
        equals.notes.append(f"{note}; they are one run")
        equals.copies |= {run.key: first for run in others}
    else:
        equals.notes.append(f"{note}; they are separate runs (`equal_files=fold` makes them one)")


def is_packed_twin(path: str, other: str) -> bool:
    """Return whether one file is the other compressed, by their paths: `a.db` and `a.db.gz`."""
    return path != other and without_packed_ending(path) == without_packed_ending(other)
