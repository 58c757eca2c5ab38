"""What many tests of a merge look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm_merge.merge import audit, merge_shards
from tests.conftest import query

if TYPE_CHECKING:
    from pathlib import Path

    from farm_merge.merge import Action, MergeReport


def merge_checked(output: Path, *sources: Path, **options: Any) -> MergeReport:
    """Merge files, verified by content, and check the output's health and each value again."""
    report = merge_shards(sources, output, **{"verify": "content", **options})
    assert audit(output, sources).problems == ()
    assert query(output, "PRAGMA integrity_check") == [("ok",)]
    return report


def actions(report: MergeReport) -> dict[str, Action]:
    """Return what happened to each simulation."""
    return {outcome.simulation_id: outcome.action for outcome in report.simulations}


def ids(output: Path) -> list[str]:
    """Return the simulations of a database, in the order of their keys."""
    return [name for (name,) in query(output, "SELECT simulation_id FROM simulations ORDER BY 1")]


def snapshot(folder: Path) -> dict[Path, tuple[int, int, bytes]]:
    """Return the files of a folder and below, with their times, sizes and bytes."""
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_size, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def typed(path: Path, table: str, *names: str) -> list[tuple[Any, ...]]:
    """Return columns of a table with the types of their values, in no order of their own."""
    asked = ", ".join(f'quote("{name}"), typeof("{name}")' for name in names)
    return sorted(query(path, f'SELECT {asked} FROM "{table}"'))
