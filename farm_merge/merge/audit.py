"""Audit: does an experiment database still hold what was merged into it?"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from farm_merge.driver import quoted, sqlite3
from farm_merge.errors import FarmMergeError, OutputError
from farm_merge.merge.definition import folded
from farm_merge.merge.find import find_shards
from farm_merge.merge.inspect import inspect_shard, with_common_keys
from farm_merge.merge.naming import named
from farm_merge.merge.pipeline import read_state
from farm_merge.merge.publish import read_output, require_usable
from farm_merge.merge.rewrite import as_shard, count_changes
from farm_merge.merge.source import attached
from farm_merge.merge.structure import read_structure
from farm_merge.merge.target import make_target
from farm_merge.merge.verify import differences
from farm_merge.schema import LEDGER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from os import PathLike

    from farm_merge.merge.inspect import Inspection, OnDuplicateRow

__all__ = ["Audit", "audit"]


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found.

    Attributes:
        output: The experiment database.
        simulations: Simulations in it.
        counted: Simulations whose rows were counted against the ledger.
        compared: Simulations that were compared with their shards, value by value.
        problems: What is not as it was merged; empty if all is well.
        notes: What a reader should know: rows that point nowhere, and simulations that were written
            here and not merged.
    """

    output: Path
    simulations: int
    counted: int
    compared: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def audit(
    output: str | PathLike[str],
    shards: Iterable[str | PathLike[str]] = (),
    *,
    template: str | None = None,
    on_duplicate_row: OnDuplicateRow = "error",
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Check an experiment database: its health, its references, its ledger, and its content.

    Args:
        output: The experiment database.
        shards: Files, folders and patterns whose simulations are compared with the output's, every
            table, every value and its type, in whatever order the rows stand.
        template: What runs were called whose files do not tell it, as for `merge_shards`.
        on_duplicate_row: Which of several rows with one key was carried.
        progress: Called with the number of shards compared, and of all.

    Raises:
        OutputError: If the output is no experiment database, or damaged beyond reading.
    """
    output = Path(output)
    if not output.exists():
        raise OutputError(f"{output}: no such file")
    require_usable(output)
    try:
        return _audited(output, shards, template, on_duplicate_row, progress or _silent)
    except sqlite3.DatabaseError as exc:
        raise OutputError(f"{output}: damaged, SQLite cannot read it ({exc})") from exc


def _audited(
    output: Path,
    shards: Iterable[str | PathLike[str]],
    template: str | None,
    on_duplicate_row: OnDuplicateRow,
    progress: Callable[[int, int], None],
) -> Audit:
    with read_output(output) as connection:
        problems = [*_damage(connection)]
        ids = {each for (each,) in connection.execute("SELECT simulation_id FROM simulations")}
        entries = _ledger(connection)
        for simulation_id in sorted(ids & entries.keys()):
            problems += _miscounted(connection, simulation_id, entries[simulation_id])
        problems += [
            f"simulation {each!r}: in the ledger, but not there" for each in entries.keys() - ids
        ]
        notes = [*_dangling(connection)]
    if unmerged := ids - entries.keys():
        notes.append(f"{len(unmerged):,} simulations were written here, and never merged")
    paths = find_shards(shards, output=output)
    compared = 0
    found: list[str] = []
    if paths:
        inspect = partial(inspect_shard, on_duplicate_row=on_duplicate_row)
        compared, found = _compare(output, paths, template, inspect, progress)
    return Audit(
        output,
        len(ids),
        len(ids & entries.keys()),
        compared,
        (*problems, *found),
        tuple(notes),
    )


def _silent(_done: int, _total: int) -> None:
    """Report to nobody."""


def _damage(connection: sqlite3.Connection) -> Iterator[str]:
    for (verdict,) in connection.execute("PRAGMA main.quick_check"):
        if verdict != "ok":
            yield f"damaged; SQLite's quick_check says: {verdict}"


def _dangling(connection: sqlite3.Connection) -> Iterator[str]:
    """Count the rows that refer to rows which do not exist; a merge keeps them as they were."""
    rows = connection.execute("PRAGMA main.foreign_key_check")
    for (table, parent), number in Counter((table, parent) for table, _, parent, _ in rows).items():
        yield f"{table}: {number:,} rows refer to rows that {parent} does not have"


def _ledger(connection: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """Return the rows by table that every simulation had when it was merged last."""
    rows = connection.execute(f"SELECT simulation_id, row_counts FROM {LEDGER} ORDER BY merged_at")
    return {simulation_id: json.loads(counts) for simulation_id, counts in rows}


def _miscounted(
    connection: sqlite3.Connection, simulation_id: str, expected: dict[str, int]
) -> Iterator[str]:
    content = read_structure(connection).content
    for table in sorted({*content, *(folded(name) for name in expected)}):
        wanted = next((rows for name, rows in expected.items() if folded(name) == table), 0)
        found = 0
        if table in content:
            (found,) = connection.execute(
                f"SELECT count(*) FROM {quoted(table)} WHERE simulation_id = ?", (simulation_id,)
            ).fetchone()
        if found != wanted:
            yield (
                f"simulation {simulation_id!r}, table {table}: {wanted:,} rows were merged,"
                f" {found:,} are there"
            )


def _compare(
    output: Path,
    paths: tuple[Path, ...],
    template: str | None,
    inspect: Callable[[Path], Inspection],
    progress: Callable[[int, int], None],
) -> tuple[int, list[str]]:
    """Compare shards with the output, one by one."""
    compared, problems = 0, []
    state = read_state(output)
    with TemporaryDirectory(prefix="farm-merge-") as name:
        folder = Path(name)

        def different(source: Inspection, simulation_id: str) -> list[str]:
            target, misfits = make_target([source], state.structure, count_changes)
            if source.path in misfits:
                return [misfits[source.path]]
            with (
                read_output(output) as connection,
                as_shard(source, target, folder) as uri,
                attached(connection, uri, "shard"),
            ):
                left, right = read_structure(connection), read_structure(connection, "shard")
                return list(differences(connection, simulation_id, left, right))

        def same(source: Inspection, _rival: None, simulation_id: str) -> bool:
            return not different(source, simulation_id)

        for number, path in enumerate(paths, start=1):
            try:
                (source,) = named(
                    with_common_keys([inspect(path)], state.structure), state, same, template
                )
            except FarmMergeError as exc:
                problems.append(str(exc))
                continue
            for found in source.simulations:
                simulation_id = str(found.simulation_id)
                compared += 1
                if simulation_id not in state.simulation_ids:
                    problems.append(f"{path} [{simulation_id}]: not in {output}")
                elif tables := different(source, simulation_id):
                    problems.append(
                        f"{path} [{simulation_id}]: differs from {output} in {', '.join(tables)}"
                    )
            progress(number, len(paths))
    return compared, problems
