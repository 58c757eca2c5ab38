"""Exclusions: every file that was found and is not merged, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from farm_merge.merge.inputs.file import NotADatabaseError
from farm_merge.merge.inputs.find import require_some
from farm_merge.merge.plan.plan import LeftOut, unmergeable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from farm_merge.errors import ShardError
    from farm_merge.merge.inputs.find import Found
    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.options import OnBadShard
    from farm_merge.merge.plan.plan import Plan

__all__ = ["Exclusions"]


class Exclusions:
    """What is not merged so far.

    Args:
        found: What was found.
        may_be_none: Whether it may be nothing.

    Raises:
        ShardError: If there is nothing that could be merged, nor that was left out.
    """

    def __init__(self, found: Found, *, may_be_none: bool = False) -> None:
        if not may_be_none:
            require_some(found)
        self._found = found
        self._bad: dict[Path, ShardError] = {}
        self._others: dict[Path, ShardError] = dict(found.others)

    def add(self, bad: Mapping[Path, ShardError], running: Mapping[Path, ShardError]) -> None:
        """Add inputs that cannot be merged, and those that are being written.

        What is no database and was only found in a folder is nobody's mistake.
        """
        for path, error in bad.items():
            is_strange = isinstance(error, NotADatabaseError) and path in self._found.searched
            (self._others if is_strange else self._bad)[path] = error
        self._others |= running

    def without(self, sources: list[Input], refused: Mapping[Path, ShardError]) -> list[Input]:
        """Return inputs without those that are refused, which are added."""
        self._bad |= refused
        return [source for source in sources if source.path not in refused]

    def require_no_bad(self, on_bad_shard: OnBadShard) -> None:
        """Stop if an input cannot be merged, and the user does not allow to leave it out.

        Raises:
            ShardError: If so; all are named.
        """
        if self._bad and on_bad_shard == "stop":
            raise unmergeable(
                [LeftOut.because_of(path, error) for path, error in self._bad.items()]
            )

    def complete(self, plan: Plan, notes: tuple[str, ...]) -> Plan:
        """Return a plan with everything that is not merged, and with more notes."""
        excluded = [
            LeftOut.because_of(path, error) for path, error in (self._bad | self._others).items()
        ]
        links = tuple(
            f"{link}: is another name of {path}" for link, path in self._found.links.items()
        )
        return replace(
            plan,
            left_out=(*excluded, *plan.left_out),
            notes=(*plan.notes, *notes),
            details=(*plan.target.notes, *plan.details, *links),
        )
