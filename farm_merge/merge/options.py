"""Options: what a user decides about a merge, and how it reports."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from farm_merge.errors import InvalidOptionError, require_choice

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "Engine",
    "EqualFiles",
    "OnBadShard",
    "OnConflict",
    "OnDuplicateRow",
    "OnOrphanRows",
    "Options",
    "Progress",
    "ReportProgress",
    "SourceSchema",
    "Verification",
]

Engine = Literal["auto", "attach", "graft"]
OnBadShard = Literal["stop", "skip"]
OnConflict = Literal["error", "skip", "replace"]
OnDuplicateRow = Literal["error", "first", "last"]
OnOrphanRows = Literal["keep", "skip", "error"]
EqualFiles = Literal["separate", "fold", "error"]
SourceSchema = Literal["foreign", "agentfarm"]
Verification = Literal["none", "counts", "content"]

_CHOICES = {
    "engine": get_args(Engine),
    "on_bad_shard": get_args(OnBadShard),
    "on_conflict": get_args(OnConflict),
    "on_duplicate_row": get_args(OnDuplicateRow),
    "on_orphan_rows": get_args(OnOrphanRows),
    "equal_files": (None, *get_args(EqualFiles)),
    "schema": (None, *get_args(SourceSchema)),
    "verify": get_args(Verification),
}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a merge has come.

    Attributes:
        phase: "wait", "inspect", "plan", "copy" or "verify".
        done: Files inspected, or rows copied.
        total: Files to inspect, or rows to copy; judged by the size of the files until all rows
            are counted.
        message: What just happened, as a sentence.
    """

    phase: Literal["wait", "inspect", "plan", "copy", "verify"]
    done: int
    total: int
    message: str = ""


ReportProgress = Callable[[Progress], None]
"""Called as the work goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a user decides about a merge; `merge_shards` explains each.

    Raises:
        InvalidOptionError: If an option has a value that it does not know.
    """

    experiment_id: str | None = None
    name: str | None = None
    description: str | None = None
    simulation_id: str | None = None
    parameters_from_name: str | None = None
    sidecars: tuple[str, ...] = ()
    join: bool = False
    schema: SourceSchema | None = None
    include_running: bool = False
    settle: float = 60.0
    equal_files: EqualFiles | None = None
    on_conflict: OnConflict = "error"
    on_bad_shard: OnBadShard = "stop"
    on_duplicate_row: OnDuplicateRow = "error"
    on_orphan_rows: OnOrphanRows = "keep"
    verify: Verification = "counts"
    engine: Engine = "auto"
    jobs: int | None = None
    archive: Path | None = None

    @property
    def workers(self) -> int:
        """How many processes or threads work; one a core by default."""
        return self.jobs or os.cpu_count() or 1

    def __post_init__(self) -> None:
        """Refuse values that no option has: a typo must not decide about rows."""
        for option, choices in _CHOICES.items():
            require_choice(option, getattr(self, option), choices)
        if self.jobs is not None and (not isinstance(self.jobs, int) or self.jobs < 1):
            raise InvalidOptionError(f"jobs is {self.jobs!r}; it takes a number from 1")
        if self.archive and self.verify == "none":
            raise InvalidOptionError(
                "inputs are only moved away once they are verified: not with verify='none'"
            )
