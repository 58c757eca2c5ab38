"""What many tests of a merge look at.

Rows are read and compared without the package: by name, by value and by type.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from farm_merge.merge import audit, merge_shards
from tests.conftest import query

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from farm_merge.merge import Action, MergeReport

REGISTRY = {"experiments", "simulations", "merged_shards"}

Rows = Counter[tuple[Any, ...]]


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


def tables_of(path: Path) -> list[str]:
    """Return the tables that simulations are made of."""
    found = query(path, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    return [name for (name,) in found if name not in REGISTRY and not name.startswith("sqlite_")]


def rows_of(path: Path, table: str, columns: Iterable[str], simulation_id: str | None) -> Rows:
    """Read rows with the types of their values; their order does not count."""
    asked = ", ".join(
        f"typeof({name}), CASE typeof({name}) WHEN 'text' THEN hex({name}) ELSE quote({name}) END"
        for name in columns
    )
    where, values = ("WHERE simulation_id = ?", [simulation_id]) if simulation_id else ("", [])
    return Counter(query(path, f"SELECT {asked} FROM {table} {where}", *values))


def columns_of(path: Path, table: str) -> list[str]:
    names = [name for _, name, *_ in query(path, f"PRAGMA table_xinfo({table})")]
    return [name for name in names if name != "simulation_id"]


def content_of(path: Path) -> dict[str, Rows]:
    """Return all rows of a database, by table, with the simulations that they belong to."""
    return {
        table: rows_of(path, table, ["simulation_id", *columns_of(path, table)], None)
        for table in tables_of(path)
    }


def counts_of(path: Path) -> dict[str, int]:
    """Return the number of rows by table, where there are any."""
    counts = {name: query(path, f"SELECT count(*) FROM {name}")[0][0] for name in tables_of(path)}
    return {name: number for name, number in counts.items() if number}


def require_arrived(output: Path, source: Path, simulation_id: str) -> None:
    """Check that an output has every row of an input under its simulation, and no other."""
    for table in tables_of(source):
        columns = columns_of(source, table)
        assert rows_of(output, table, columns, simulation_id) == rows_of(
            source, table, columns, None
        ), table
    for table in set(tables_of(output)) - set(tables_of(source)):
        assert not rows_of(output, table, ["simulation_id"], simulation_id), table


def require_sound(output: Path) -> None:
    """Let SQLite check a database, also the order of its rows."""
    assert query(output, "PRAGMA integrity_check") == [("ok",)]
