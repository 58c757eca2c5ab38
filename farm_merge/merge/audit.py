"""Audit: does an experiment database still hold what was merged into it?"""

from __future__ import annotations

import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from farm_merge.errors import FarmMergeError, OutputError, ShardError
from farm_merge.health import examining
from farm_merge.merge.inputs.file import look_into
from farm_merge.merge.inputs.find import Found, find_inputs, require_some
from farm_merge.merge.inputs.inspect import inspect_file
from farm_merge.merge.ledger import expected_rows
from farm_merge.merge.options import (
    EqualFiles,
    OnDuplicateRow,
    OnOrphanRows,
    Options,
    SourceSchema,
)
from farm_merge.merge.plan.harmonize import harmonized
from farm_merge.merge.plan.naming import with_names
from farm_merge.merge.plan.output import look_at_output
from farm_merge.merge.plan.parameters import with_parameters
from farm_merge.merge.plan.recognize import doubles
from farm_merge.merge.plan.rules import Rules
from farm_merge.merge.plan.target import make_target
from farm_merge.merge.tables.content import differing_tables, lacking_tables
from farm_merge.merge.tables.cost import is_affordable
from farm_merge.merge.tables.structure import read_structure
from farm_merge.merge.write.compare import side_by_side
from farm_merge.progress import counting
from farm_merge.publish import read_output, require_usable
from farm_merge.sqlite import quoted, sqlite3
from farm_merge.workers import WorkerDiedError, Workers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from os import PathLike

    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.plan.output import Output
    from farm_merge.progress import ReportCount

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
        notes: What a reader should know: rows that point nowhere, runs that are here under several
            names, and simulations that were written here and not merged.
    """

    output: Path
    simulations: int
    counted: int
    compared: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def audit(
    output: str | PathLike[str],
    shards: Iterable[str | PathLike[str]] | None = None,
    *,
    simulation_id: str | None = None,
    parameters_from_name: str | None = None,
    sidecars: Iterable[str] = (),
    join: bool = False,
    schema: SourceSchema | None = None,
    equal_files: EqualFiles | None = None,
    on_duplicate_row: OnDuplicateRow = "error",
    on_orphan_rows: OnOrphanRows = "keep",
    jobs: int | None = None,
    progress: ReportCount | bool | None = None,
) -> Audit:
    """Check an experiment database: its health, its references, its ledger, and its content.

    Args:
        output: The experiment database.
        shards: Files, folders and patterns whose simulations are compared with the output's, every
            table, every value and its type, in whatever order the rows are. A simulation that was
            joined from several files must have all rows of each. By default none is.
        simulation_id: What runs were called whose files do not name them, as for `merge_shards`.
        parameters_from_name: What found fields for that in paths, as for `merge_shards`.
        sidecars: Names of more files with parameters beside runs, as for `merge_shards`.
        join: Whether files of one name were made one simulation.
        schema: What the files were taken for, as for `merge_shards`.
        equal_files: What files with equal bytes were taken for, as for `merge_shards`.
        on_duplicate_row: Which of several rows with one key was carried.
        on_orphan_rows: What became of rows that belong to none of several simulations.
        jobs: Files that are compared at once; one a core by default.
        progress: Called with the number of shards compared, and of all; True draws a bar.

    Raises:
        InvalidOptionError: If an option has a value that it does not know.
        OutputError: If the output is no experiment database, or damaged beyond reading.
        ShardError: If a shard is not there, or there is none among those that are named.
    """
    output = Path(output)
    options = Options(
        simulation_id=simulation_id,
        parameters_from_name=parameters_from_name,
        sidecars=tuple(sidecars),
        join=join,
        schema=schema,
        equal_files=equal_files,
        on_duplicate_row=on_duplicate_row,
        on_orphan_rows=on_orphan_rows,
        jobs=jobs,
    )
    rules = Rules(options)
    if not output.exists():
        raise OutputError("no such file", path=output)
    require_usable(output)
    found = Found() if shards is None else _found(shards, output)
    try:
        before = look_at_output(output)
        if before.structure and not is_affordable(before.structure):
            raise OutputError(
                "has computed columns or indexes that may take very long to check",
                path=output,
                remedy=f"merge it into one without: farm-merge {output} -o NEW.db",
            )
        counted, problems, notes = _check(before)
        with counting(progress, "verify", "files") as report:
            comparison = _Comparison(before, found.files, rules, options)
            compared, differences = comparison.run(report)
    except sqlite3.DatabaseError as exc:
        raise OutputError(f"damaged, SQLite cannot read it ({exc})", path=output) from exc
    except WorkerDiedError as exc:
        raise OutputError(
            "a process that was comparing files was killed, perhaps for want of memory",
            path=output,
            remedy="verify again, with fewer `jobs=`",
        ) from exc
    return Audit(
        output,
        len(before.simulation_ids),
        counted,
        compared,
        (*problems, *differences),
        (*notes, *(f"not compared: {error}" for error in found.others.values())),
    )


def _found(shards: Iterable[str | PathLike[str]], output: Path) -> Found:
    """Return the files to compare with; what is not there would be no difference, and no check."""
    found = find_inputs(shards, output=output)
    require_some(found)
    for path in found.files:
        if not path.exists():
            raise ShardError("no such file", path=path)
    return found


def _check(output: Output) -> tuple[int, list[str], list[str]]:
    """Return how many simulations were counted against the ledger, problems, and notes."""
    ids = output.simulation_ids
    entries = expected_rows(output.ledger)
    with (
        examining(lambda: read_output(output.path), "integrity_check") as findings,
        read_output(output.path) as connection,
    ):
        problems: list[str] = []
        tables = read_structure(connection).content
        for simulation_id in sorted(ids & entries.keys()):
            problems += _miscounted(connection, tables, simulation_id, entries[simulation_id])
        problems += [
            f"simulation {simulation_id!r}: in the ledger, but not there"
            for simulation_id in entries.keys() - ids
        ]
        found = findings()
    # A merge keeps rows that refer to what does not exist as they were.
    notes = [
        *(
            f"{table}: {number:,} rows refer to rows that {parent} does not have"
            for (table, parent), number in found.dangling.items()
        ),
        *doubles(output, ()),
    ]
    if unmerged := ids - entries.keys():
        notes.append(f"{len(unmerged):,} simulations were written here, and never merged")
    damage = [f"damaged; SQLite's integrity_check reports: {it}" for it in found.damage]
    return len(ids & entries.keys()), [*damage, *problems], notes


def _miscounted(
    connection: sqlite3.Connection,
    tables: Collection[str],
    simulation_id: str,
    wanted: Mapping[str, int],
) -> Iterator[str]:
    for table in sorted({*tables, *wanted}):
        found = 0
        if table in tables:
            (found,) = connection.execute(
                f"SELECT count(*) FROM {quoted(table)} WHERE simulation_id = ?", (simulation_id,)
            ).fetchone()
        if found != wanted.get(table, 0):
            yield (
                f"simulation {simulation_id!r}, table {table}: {wanted.get(table, 0):,} rows were"
                f" merged, {found:,} are there"
            )


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Files beside the output that they were merged into.

    Attributes:
        output: The output.
        paths: The files.
        rules: What found parameters in paths and beside files.
        options: What decided about their merge.
    """

    output: Output
    paths: tuple[Path, ...]
    rules: Rules
    options: Options

    def run(self, report: ReportCount) -> tuple[int, list[str]]:
        """Return how many simulations were compared, and the problems."""
        workers = Workers(self.options.workers)
        compared, problems = 0, []
        with TemporaryDirectory(prefix="farm-merge-") as folder:

            def compare(number: int) -> tuple[int, list[str]]:
                if workers.forks:  # it may be killed, and what it needs for a while goes with ours
                    tempfile.tempdir = folder
                with TemporaryDirectory(dir=folder) as own:
                    return self._compare(self.paths[number], Path(own))

            with closing(workers.run(compare, len(self.paths))) as results:
                for number, future in results:
                    count, found = future.result()
                    compared += count
                    problems += found
                    report(number + 1, len(self.paths))
        return compared, problems

    def _compare(self, path: Path, folder: Path) -> tuple[int, list[str]]:
        try:
            source, alone = self._inspected(path, folder)
        except FarmMergeError as exc:
            return 0, [str(exc)]
        output, problems = self.output, []
        for simulation in source.simulations:
            simulation_id = simulation.simulation_id
            if simulation_id not in output.simulation_ids:
                problems.append(f"{path} [{simulation_id}]: not in {output.path}")
            elif differing := _differing(output, source, simulation_id, folder, alone=alone):
                tables = ", ".join(differing)
                problems.append(f"{path} [{simulation_id}]: differs from {output.path} in {tables}")
        return len(source.simulations), problems

    def _inspected(self, path: Path, folder: Path) -> tuple[Input, bool]:
        """Return an input as it was merged, with the names of its simulations."""
        output, options = self.output, self.options
        source = inspect_file(look_into(path, folder), options)
        sources, refused = with_parameters([source], self.rules)
        sources, alone = harmonized(sources, output.structure)

        def is_same(source: Input, _rival: Input | None, simulation_id: str) -> bool:
            return not _differing(output, source, simulation_id, folder, alone=alone)

        named = with_names(sources, self.paths, output, is_same, self.rules.template, options)
        for error in (*refused.values(), *named.refused.values()):
            raise error
        return named.sources[0], alone


def _differing(
    output: Output, source: Input, simulation_id: str, folder: Path, *, alone: bool
) -> list[str]:
    """Return in which tables a simulation differs from that of an input, or why it must.

    Of files that were joined each holds a part, so it is looked for in the whole.
    """
    joined = any(entry.is_joined for entry in output.ledger if entry.simulation_id == simulation_id)
    compare = lacking_tables if joined else differing_tables
    target, misfits = make_target([source], output, alone=alone)
    if source.path in misfits:
        return [misfits[source.path].reason]
    with (
        read_output(output.path) as connection,
        side_by_side(connection, source, target, folder) as (left, right),
    ):
        return list(compare(connection, simulation_id, left, right))
