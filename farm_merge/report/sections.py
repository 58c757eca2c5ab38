"""Sections: what a page shows beside charts; one that has nothing to say is left out."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm_merge.read.open import reading
from farm_merge.report.layout import label
from farm_merge.report.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from farm_merge.report.runs import Runs

__all__ = ["Section", "read_sections"]

_UNKNOWN = "no reason was recorded"


@dataclass(frozen=True, slots=True)
class Section:
    """A section of the page.

    Attributes:
        title: Its title, and its entry among the sections.
        paragraphs: What it says.
        tables: Its tables; those with a summary are folded.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


def read_sections(database: Path, runs: Runs) -> Iterator[Section]:
    """Yield the sections that have something to say, in order."""
    for read in _SECTIONS:
        if section := read(database, runs):
            yield section


def _failures(database: Path, runs: Runs) -> Section | None:
    """Return the runs that failed, by reason, and each of them."""
    failed = runs.all[runs.all["status"].eq("failed")]
    if failed.empty:
        return None
    records = _recorded(database)
    by_reason: dict[str, list[str]] = defaultdict(list)
    rows = []
    for simulation_id, run in failed.iterrows():
        record = records.get(str(simulation_id), {})
        reason = _reason(record)
        by_reason[reason].append(str(simulation_id))
        found = [record.get(name) for name in ("stage", "attempts", "seconds", "traceback")]
        rows.append((simulation_id, label(run, runs.layout.by), reason, *found))
    reasons = [
        (len(ids), reason, ", ".join(ids[:3]) + (", …" if len(ids) > len(ids[:3]) else ""))
        for reason, ids in sorted(by_reason.items(), key=lambda item: -len(item[1]))
    ]
    names = ["simulation", "parameter set", "reason", "while", "attempts", "seconds", "traceback"]
    said = f"{len(failed):,} of {len(runs.all):,} runs failed, and are in no chart and no mean."
    return Section(
        "Failures",
        (said,),
        (
            Table(["runs", "reason", "simulations"], reasons),
            Table(names, rows, f"Each of the {len(failed):,} runs that failed"),
        ),
    )


def _recorded(database: Path) -> dict[str, dict[str, Any]]:
    """Return what a sweep recorded of runs that failed."""
    with reading(database) as connection:
        return {
            simulation_id: json.loads(record)
            for simulation_id, record in connection.execute(
                "SELECT simulation_id, results_summary -> '$.failure' FROM simulations"
                " WHERE status = 'failed' AND json_valid(results_summary)"
                " AND json_type(results_summary, '$.failure') = 'object'"
            )
        }


def _reason(record: dict[str, Any]) -> str:
    parts = (record.get("exception"), record.get("message"))
    return ": ".join(str(part) for part in parts if part) or _UNKNOWN


_SECTIONS: tuple[Callable[[Path, Runs], Section | None], ...] = (_failures,)
"""What else a page shows, after its charts. To add a section, add the function that reads it."""
