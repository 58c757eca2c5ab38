"""Audit: does an experiment database still hold what was merged into it?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, get_args

from farm_merge.errors import FarmMergeError, OutputError, require_choice
from farm_merge.merge.inputs.find import find_shards
from farm_merge.merge.inputs.inspect import inspect_shard, with_common_keys
from farm_merge.merge.options import OnDuplicateRow
from farm_merge.merge.plan.naming import with_names
from farm_merge.merge.plan.output import look_at_output
from farm_merge.merge.plan.target import make_target
from farm_merge.merge.tables.content import differing_tables
from farm_merge.merge.tables.definition import folded
from farm_merge.merge.tables.structure import read_structure
from farm_merge.merge.write.check import side_by_side
from farm_merge.publish import read_output, require_usable
from farm_merge.sqlite import quoted, sqlite3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from os import PathLike

    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.plan.output import Output

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
    simulation_id: str | None = None,
    on_duplicate_row: OnDuplicateRow = "error",
    progress: Callable[[int, int], None] | None = None,
) -> Audit:
    """Check an experiment database: its health, its references, its ledger, and its content.

    Args:
        output: The experiment database.
        shards: Files, folders and patterns whose simulations are compared with the output's, every
            table, every value and its type, in whatever order the rows are.
        simulation_id: What runs were called whose files do not name them, as for `merge_shards`.
        on_duplicate_row: Which of several rows with one key was carried.
        progress: Called with the number of shards compared, and of all.

    Raises:
        InvalidOptionError: If an option has a value that it does not know.
        OutputError: If the output is no experiment database, or damaged beyond reading.
    """
    output = Path(output)
    require_choice("on_duplicate_row", on_duplicate_row, get_args(OnDuplicateRow))
    if not output.exists():
        raise OutputError("no such file", path=output)
    require_usable(output)
    try:
        before = look_at_output(output)
        counted, problems, notes = _check(before)
        paths = find_shards(shards, output=output)
        compared, differences = _compare(
            before, paths, simulation_id, on_duplicate_row, progress or _silent
        )
    except sqlite3.DatabaseError as exc:
        raise OutputError(f"damaged, SQLite cannot read it ({exc})", path=output) from exc
    return Audit(
        output,
        len(before.simulation_ids),
        counted,
        compared,
        (*problems, *differences),
        tuple(notes),
    )


def _silent(_done: int, _total: int) -> None:
    """Report to nobody."""


def _check(output: Output) -> tuple[int, list[str], list[str]]:
    """Return how many simulations were counted against the ledger, problems, and notes."""
    ids = output.simulation_ids
    entries = {entry.simulation_id: entry for entry in output.ledger}  # the newest of each
    with read_output(output.path) as connection:
        problems = [*_damage(connection)]
        for simulation_id in sorted(ids & entries.keys()):
            problems += _miscounted(connection, simulation_id, entries[simulation_id].row_counts)
        problems += [
            f"simulation {simulation_id!r}: in the ledger, but not there"
            for simulation_id in entries.keys() - ids
        ]
        notes = [*_dangling(connection)]
    if unmerged := ids - entries.keys():
        notes.append(f"{len(unmerged):,} simulations were written here, and never merged")
    return len(ids & entries.keys()), problems, notes


def _damage(connection: sqlite3.Connection) -> Iterator[str]:
    for (verdict,) in connection.execute("PRAGMA main.integrity_check"):
        if verdict != "ok":
            yield f"damaged; SQLite's integrity_check says: {verdict}"


def _dangling(connection: sqlite3.Connection) -> Iterator[str]:
    """Count the rows that refer to rows which do not exist; a merge keeps them as they were."""
    rows = connection.execute("PRAGMA main.foreign_key_check")
    for (table, parent), number in Counter((table, parent) for table, _, parent, _ in rows).items():
        yield f"{table}: {number:,} rows refer to rows that {parent} does not have"


def _miscounted(
    connection: sqlite3.Connection, simulation_id: str, expected: Mapping[str, int]
) -> Iterator[str]:
    content = read_structure(connection).content
    wanted = {folded(table): rows for table, rows in expected.items()}
    for table in sorted({*content, *wanted}):
        found = 0
        if table in content:
            (found,) = connection.execute(
                f"SELECT count(*) FROM {quoted(table)} WHERE simulation_id = ?", (simulation_id,)
            ).fetchone()
        if found != wanted.get(table, 0):
            yield (
                f"simulation {simulation_id!r}, table {table}: {wanted.get(table, 0):,} rows were"
                f" merged, {found:,} are there"
            )


def _compare(
    output: Output,
    paths: tuple[Path, ...],
    template: str | None,
    on_duplicate_row: OnDuplicateRow,
    progress: Callable[[int, int], None],
) -> tuple[int, list[str]]:
    """Compare shards with the output, one by one; return how many simulations, and the problems."""
    compared, problems = 0, []
    with TemporaryDirectory(prefix="farm-merge-") as name:
        folder = Path(name)

        def is_same(source: Input, _rival: None, simulation_id: str) -> bool:
            return not _differing(output, source, simulation_id, folder)

        for number, path in enumerate(paths, start=1):
            try:
                source = inspect_shard(path, on_duplicate_row)
                (source,) = with_names(
                    with_common_keys([source], output.structure), output, is_same, template
                )
            except FarmMergeError as exc:
                problems.append(str(exc))
                continue
            for simulation in source.simulations:
                simulation_id = str(simulation.simulation_id)
                compared += 1
                if simulation_id not in output.simulation_ids:
                    problems.append(f"{path} [{simulation_id}]: not in {output.path}")
                elif differing := _differing(output, source, simulation_id, folder):
                    problems.append(
                        f"{path} [{simulation_id}]: differs from {output.path} in"
                        f" {', '.join(differing)}"
                    )
            progress(number, len(paths))
    return compared, problems


def _differing(output: Output, source: Input, simulation_id: str, folder: Path) -> list[str]:
    """Return in which tables a simulation differs from that of an input, or why it must."""
    target, misfits = make_target([source], output.structure)
    if source.path in misfits:
        return [misfits[source.path].reason]
    with (
        read_output(output.path) as connection,
        side_by_side(connection, source, target, folder) as (left, right),
    ):
        return list(differing_tables(connection, simulation_id, left, right))
