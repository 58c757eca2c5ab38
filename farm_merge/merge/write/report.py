"""Report: what a merge did."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm_merge.errors import for_python
from farm_merge.merge.plan.describe import describe_left_out, describe_outcome
from farm_merge.merge.plan.plan import count_files
from farm_merge.merge.plan.shown import in_a_line, in_a_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from farm_merge.merge.plan.plan import Action, LeftOut, Outcome, Plan, SimulationPlan

__all__ = ["MergeReport", "describe_report"]


@dataclass(frozen=True, slots=True)
class MergeReport:
    """What a merge did.

    Attributes:
        output: The experiment database.
        simulations: What happened to each simulation of each input.
        left_out: What did not reach the output, and why.
        details: How inputs were carried, where that is not as they are.
        notes: What a reader should know: what was not carried, and what contradicts.
        archived: Inputs that were moved away, by `archive`: from where to where.
        seconds: Wall time of the whole merge.
    """

    output: Path
    simulations: tuple[Outcome, ...]
    left_out: tuple[LeftOut, ...]
    details: tuple[str, ...]
    notes: tuple[str, ...]
    archived: tuple[tuple[Path, Path], ...]
    seconds: float

    def __repr__(self) -> str:
        return f"<MergeReport {self._summary()}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return in_a_table(self._summary(), self.simulations, self.left_out)

    def _summary(self) -> str:
        return f"{in_a_line(self.output, self.simulations, self.left_out)} in {self.seconds:.2f} s"

    @classmethod
    def of(
        cls, plan: Plan, written: Iterable[SimulationPlan], left_out: Iterable[LeftOut]
    ) -> MergeReport:
        """Return what became of a plan.

        Args:
            plan: The plan.
            written: What was written, with the rows that were counted on the way.
            left_out: Inputs that changed, went, or turned out damaged meanwhile.
        """
        return cls(
            plan.output.path,
            (*(planned.outcome for planned in written), *plan.settled),
            (*left_out, *plan.left_out),
            plan.details,
            plan.notes,
            archived=(),
            seconds=0.0,
        )

    @property
    def in_output(self) -> list[Path]:
        """The inputs of which all simulations are in the output."""
        kept = {left_out.path for left_out in self.left_out}
        paths = dict.fromkeys(outcome.path for outcome in self.simulations)
        return [path for path in paths if path not in kept]

    @property
    def files(self) -> dict[str, int]:
        """How many files were found, by what became of them: each is counted once."""
        return count_files(self.simulations, self.left_out)

    @property
    def unfinished(self) -> int:
        """How many simulations were merged whose status is still running."""
        return sum(
            outcome.action.writes and outcome.status == "running" for outcome in self.simulations
        )

    @property
    def counts(self) -> dict[Action, int]:
        """The number of simulations by what happened to them."""
        return dict(Counter(outcome.action for outcome in self.simulations))

    @property
    def rows(self) -> int:
        """The number of data rows written."""
        return sum(outcome.rows for outcome in self.simulations if outcome.action.writes)

    @property
    def rows_per_second(self) -> float:
        """Data rows written by second of the whole merge."""
        return self.rows / self.seconds if self.seconds else 0.0


def describe_report(
    report: MergeReport, worded: Callable[[str], str] = for_python
) -> dict[str, Any]:
    """Return what a merge did as plain data.

    Args:
        report: What it did.
        worded: Writes the options in advice as its reader does.
    """
    return {
        "output": str(report.output),
        "files": report.files,
        "unfinished": report.unfinished,
        "simulations": list(map(describe_outcome, report.simulations)),
        "left_out": [describe_left_out(left_out, worded) for left_out in report.left_out],
        "details": list(report.details),
        "notes": list(map(worded, report.notes)),
        "archived": [[str(before), str(after)] for before, after in report.archived],
        "seconds": report.seconds,
    }
