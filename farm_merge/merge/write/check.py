"""Check: what arrived is what was in the input, and SQLite finds the output in order."""

from __future__ import annotations

import os
from collections import Counter, defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from farm_merge.errors import DamagedGraftError, OutputError
from farm_merge.merge.tables.content import differing_tables, lacking_tables
from farm_merge.merge.tables.definition import folded
from farm_merge.merge.tables.structure import read_structure, today
from farm_merge.merge.write.compare import side_by_side
from farm_merge.publish import building, sync
from farm_merge.schema import METADATA_TABLES
from farm_merge.sqlite import connect, file_uri, quoted, sqlite3
from farm_merge.workers import taken_from

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from farm_merge.merge.plan.plan import SimulationPlan
    from farm_merge.merge.plan.target import Target
    from farm_merge.merge.tables.definition import TableDefinition
    from farm_merge.merge.tables.structure import Structure

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
                f" {rows} in the output, and nothing of it was kept"
            )


def require_same(
    connection: sqlite3.Connection,
    simulation_id: str,
    output: Structure,
    shard: Structure,
    *,
    joined: bool = False,
) -> None:
    """Check that a simulation in `main` has the content of that in `shard`.

    Args:
        connection: A connection with both databases.
        simulation_id: The simulation.
        output: The structure of `main`.
        shard: The structure of `shard`.
        joined: Whether it may have more, from other files.

    Raises:
        OutputError: If a table differs in any value or type.
    """
    compare = lacking_tables if joined else differing_tables
    for table in compare(connection, simulation_id, output, shard):
        raise OutputError(
            f"simulation {simulation_id!r}, table {table}: the output differs from the shard;"
            " nothing of it was kept"
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
    partial: Path,
    written: Sequence[SimulationPlan],
    meanwhile: Callable[[Path], None] = sync,
) -> None:
    """Let SQLite prove a new output, table by table on all cores, while the file goes to the disk.

    It is `integrity_check` that proves it: `quick_check` does not look at the order of rows in
    tables WITHOUT ROWID, nor at indexes.

    Args:
        partial: The output in the making, which nobody writes any more.
        written: What was merged into it.
        meanwhile: What is done with the file, which is only read.

    Raises:
        DamagedGraftError: If the check fails, or a simulation has more or fewer rows than it had.
    """
    expected: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for planned in written:
        for table, rows in (planned.outcome.row_counts or {}).items():
            expected[folded(table)][planned.simulation_id] += rows
    # An input with one simulation was seen to begin and end with rows of it, or got its id when it
    # was rewritten. Where rows are in order, all between are of it too: nobody has to look at ids.
    by_simulation = any(len(planned.source.simulations) > 1 for planned in written)
    with _computed_ids_hidden(partial) as structure:
        # The largest first, so that no core waits long for the last.
        tables = deque(sorted(structure.tables, key=lambda table: -expected[table].total()))

        def prove() -> None:
            with closing(connect(file_uri(partial, mode="ro", immutable=1))) as connection:
                # Pages are read once, so that all they need is room in the processor's own cache.
                connection.execute("PRAGMA cache_size=-256")
                for table in taken_from(tables):
                    _prove(connection, structure.tables[table], expected[table], by_simulation)

        cores = os.cpu_count() or 1
        with ThreadPoolExecutor(cores + 1) as pool:
            work = [pool.submit(meanwhile, partial), *(pool.submit(prove) for _ in range(cores))]
        for done in work:
            done.result()


@contextmanager
def _computed_ids_hidden(partial: Path) -> Iterator[Structure]:
    """Take `agent_states.id` out of the schema for a while, and yield what tables there are.

    A virtual column is not stored (https://www.sqlite.org/gencol.html), so the pages that SQLite
    checks stay the same; but it would compute the id of every row, a third of its work on the
    largest table, only to see that the parts of a key, joined as text, are text.
    """
    with building(partial) as connection:
        structure = read_structure(connection)
        states = structure.tables.get("agent_states")
        sql = None
        is_todays = states == today().tables["agent_states"]
        if states and is_todays and not structure.indexes.get("agent_states"):
            sql = _replace_sql(connection, replace(states, columns=states.stored).create())
    yield structure
    if sql is not None:
        with building(partial) as connection:
            _replace_sql(connection, sql)


def _replace_sql(connection: sqlite3.Connection, sql: str) -> str:
    """Change the text of `agent_states` in `sqlite_schema`, as ALTER TABLE does; return the old.

    What is not stored can be changed so (https://www.sqlite.org/lang_altertable.html, section 7).
    """
    where = "WHERE type = 'table' AND name = 'agent_states'"
    (old,) = connection.execute(f"SELECT sql FROM sqlite_schema {where}").fetchone()
    connection.execute("PRAGMA writable_schema=ON")
    connection.execute(f"UPDATE sqlite_schema SET sql = ? {where}", (sql,))
    return str(old)


def _prove(
    connection: sqlite3.Connection,
    table: TableDefinition,
    expected: Counter[str],
    by_simulation: bool,
) -> None:
    """Let SQLite check a table, and count its rows.

    Raises:
        DamagedGraftError: If anything is wrong.
    """
    name = quoted(table.name)
    try:
        (verdict,) = connection.execute(f"PRAGMA integrity_check({name})").fetchone()
        problem = None if verdict == "ok" else str(verdict)
        if problem is None and table.name not in METADATA_TABLES:
            problem = _miscount(connection, name, expected, by_simulation and table.merged)
    except sqlite3.DatabaseError as exc:  # a page is none
        raise DamagedGraftError(str(exc), table=table.name) from exc
    if problem:
        raise DamagedGraftError(problem, table=table.name)


def _miscount(
    connection: sqlite3.Connection, table: str, expected: Counter[str], by_simulation: bool
) -> str | None:
    """Return where a table has more or fewer rows than the shards had; None if nowhere."""
    if not by_simulation:
        (rows,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return _difference(expected.total(), rows)
    found = Counter(
        dict(connection.execute(f"SELECT simulation_id, count(*) FROM {table} GROUP BY 1"))
    )
    for simulation_id in {*expected, *found}:
        if difference := _difference(expected[simulation_id], found[simulation_id]):
            return f"simulation {simulation_id!r}: {difference}"
    return None


def _difference(before: int, after: int) -> str | None:
    if before == after:
        return None
    return f"{before:,} rows in the shards, {after:,} in the output"
