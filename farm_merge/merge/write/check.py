"""Check: what arrived is what was in the input, and SQLite finds the output in order."""

from __future__ import annotations

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import groupby
from typing import TYPE_CHECKING

from farm_merge.errors import DamagedGraftError, OutputError
from farm_merge.merge.tables.content import differing_tables
from farm_merge.merge.tables.definition import folded
from farm_merge.merge.tables.structure import read_structure
from farm_merge.merge.write.compare import side_by_side
from farm_merge.publish import sync
from farm_merge.sqlite import connect, file_uri, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from farm_merge.merge.options import Verification
    from farm_merge.merge.plan.plan import SimulationPlan
    from farm_merge.merge.plan.target import Target
    from farm_merge.merge.tables.structure import Structure
    from farm_merge.sqlite import sqlite3

__all__ = [
    "check_new_output",
    "count_rows",
    "require_counts",
    "require_same",
    "require_same_as_inputs",
]


def count_rows(
    connection: sqlite3.Connection, simulation_id: str, tables: Iterable[str]
) -> Counter[str]:
    """Return the rows that a simulation has in the output, by table."""
    return Counter(
        {
            table: connection.execute(
                f"SELECT count(*) FROM main.{quoted(table)} WHERE simulation_id = ?",
                (simulation_id,),
            ).fetchone()[0]
            for table in tables
        }
    )


def require_counts(
    connection: sqlite3.Connection,
    simulation_id: str,
    tables: Iterable[str],
    expected: Mapping[str, int],
) -> None:
    """Check the number of rows that a simulation has in tables of the output.

    Args:
        connection: The output.
        simulation_id: The simulation.
        tables: The tables that its shard has, in lower case.
        expected: Rows by table, where there are any.

    Raises:
        OutputError: If a table holds more or fewer rows than its source.
    """
    wanted: Counter[str] = Counter()
    for table, rows in expected.items():
        wanted[folded(table)] += rows
    for table, rows in count_rows(connection, simulation_id, wanted.keys() | {*tables}).items():
        if rows != wanted[table]:
            raise OutputError(
                f"simulation {simulation_id!r}, table {table}: {wanted[table]} rows in the shard,"
                f" {rows} in the output; nothing of it was kept. Please report this"
            )


def require_same(
    connection: sqlite3.Connection, simulation_id: str, output: Structure, shard: Structure
) -> None:
    """Check that a simulation in `main` has the content of that in `shard`.

    Raises:
        OutputError: If a table differs in any value or type.
    """
    for table in differing_tables(connection, simulation_id, output, shard):
        raise OutputError(
            f"simulation {simulation_id!r}, table {table}: the output differs from the shard;"
            " nothing of it was kept. Please report this"
        )


def require_same_as_inputs(
    connection: sqlite3.Connection, written: Sequence[SimulationPlan], target: Target, folder: Path
) -> None:
    """Compare simulations with the inputs that they came from, value by value.

    Raises:
        OutputError: If what arrived differs.
    """
    for source, group in groupby(written, key=lambda planned: planned.source):
        with side_by_side(connection, source, target, folder) as (output, shard):
            for planned in group:
                require_same(connection, planned.simulation_id, output, shard)


def check_new_output(
    partial: Path, written: Sequence[SimulationPlan], verification: Verification
) -> None:
    """Let SQLite check every table, on all cores, while the file goes to the disk.

    Args:
        partial: The output in the making, which nobody writes any more.
        written: What was merged into it.
        verification: "content" for a check that also compares indexes with their tables.

    Raises:
        DamagedGraftError: If the check fails, or rows are missing.
    """
    expected: Counter[str] = Counter()
    for planned in written:
        for table, rows in (planned.outcome.row_counts or {}).items():
            expected[folded(table)] += rows
    with closing(_reading(partial)) as connection:
        tables = list(read_structure(connection).tables)
    tables.sort(key=lambda table: -expected[table])
    pragma = "integrity_check" if verification == "content" else "quick_check"
    with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:
        on_disk = pool.submit(sync, partial)
        verdicts = pool.map(lambda table: _verdict(partial, table, pragma), tables)
        for table, (verdict, rows) in zip(tables, verdicts, strict=True):
            if verdict != "ok":
                raise DamagedGraftError(verdict, table=table)
            if table in expected and rows != expected[table]:
                raise DamagedGraftError(
                    f"{expected[table]:,} rows in the shards, {rows:,} in the output", table=table
                )
        on_disk.result()


def _reading(path: Path) -> sqlite3.Connection:
    return connect(file_uri(path, mode="ro", immutable=1))


def _verdict(path: Path, table: str, pragma: str) -> tuple[str, int]:
    with closing(_reading(path)) as connection:
        (verdict,) = connection.execute(f"PRAGMA {pragma}({quoted(table)})").fetchone()
        (rows,) = connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()
    return verdict, rows
