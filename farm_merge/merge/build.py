"""Build: a new output, from shards whose pages are grafted and rows that are copied."""

from __future__ import annotations

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from farm_merge.driver import file_uri, quoted, sqlite3
from farm_merge.errors import FarmMergeError, OutputError, ShardError
from farm_merge.merge.copy import register_simulation
from farm_merge.merge.definition import SIMULATION_ID
from farm_merge.merge.engine import Scratch, is_graftable_file, load, matching_trees, roots
from farm_merge.merge.graft import (
    HEADER_BYTES,
    Grafting,
    dissect,
    is_index_tree,
    read_header,
    transplant,
)
from farm_merge.merge.publish import building, sync
from farm_merge.merge.rewrite import as_shard, rewrite
from farm_merge.merge.source import attached, identify
from farm_merge.merge.structure import read_structure
from farm_merge.merge.transcode import insert_exactly
from farm_merge.merge.verify import require_same
from farm_merge.merge.workers import WorkerDiedError, Workers
from farm_merge.schema import METADATA_TABLES, create_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from farm_merge.merge.copy import Registration, Verification
    from farm_merge.merge.engine import Loaded, Metadata
    from farm_merge.merge.graft import Branch, Dissected
    from farm_merge.merge.inspect import Inspection
    from farm_merge.merge.plan import Plan, SimulationPlan
    from farm_merge.merge.structure import Structure
    from farm_merge.merge.target import Target

__all__ = [
    "DamagedGraftError",
    "Grafted",
    "check",
    "compare_grafted",
    "create",
    "graft",
    "register_grafted",
]

_DEFAULT_PAGE_SIZE = 4096
_METADATA = "metadata.db"


class DamagedGraftError(FarmMergeError):
    """What was grafted is not sound; the same merge row by row tells which input is to blame."""


@dataclass(slots=True)
class Grafted:
    """What became of the simulations whose pages were to be copied.

    Attributes:
        simulations: Those that were, with the rows and the fingerprint that were read on the way.
        copied: Those that have to be copied row by row.
        damaged: Inputs that are not what the file format says, with the reason.
    """

    simulations: list[SimulationPlan] = field(default_factory=list)
    copied: list[SimulationPlan] = field(default_factory=list)
    damaged: dict[Path, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Transplanted:
    """What a worker tells of a shard whose leaves it wrote.

    Attributes:
        fingerprint: The hash of its bytes.
        metadata: What it tells about its simulations.
        row_counts: Its rows by table.
        branches: Its trees.
    """

    fingerprint: str
    metadata: Metadata
    row_counts: dict[str, int]
    branches: list[Branch]


def create(partial: Path, plan: Plan) -> Structure:
    """Make the tables of a new output, with the page size of the first shard."""
    page_size = next(map(_page_size, (each.source for each in plan.to_write)), _DEFAULT_PAGE_SIZE)
    with building(partial) as connection:
        connection.execute(f"PRAGMA page_size={page_size}")
        create_schema(connection)
        for statement in plan.target.additions:
            connection.execute(statement)
        return read_structure(connection)


def graft(
    partial: Path,
    plan: Plan,
    output: Structure,
    folder: Path,
    jobs: int,
    smallest: int,
    advance: Callable[[SimulationPlan, int], None],
) -> Grafted:
    """Copy the pages of all shards that allow it into a new output.

    Args:
        partial: The output in the making, with empty tables; nobody has it open.
        plan: What is merged.
        output: The tables of the output.
        folder: A private folder, for files that are rewritten first.
        jobs: Processes or threads that rewrite, read and write.
        smallest: The size from which on a shard is grafted, in bytes.
        advance: Called for every simulation that was grafted, with its rows.
    """
    with closing(sqlite3.connect(file_uri(partial, mode="ro"), uri=True)) as connection:
        root_pages = roots(connection)
    trees = [name for name in root_pages if _is_content(name, output)]
    workers = Workers(jobs)
    grafting = Grafting(partial, [root_pages[name] for name in trees], workers.lock)
    result = Grafted()
    groups = list(_groups(plan, grafting.header.page_size, smallest, result))
    scratch = Scratch()

    def transplanted(number: int) -> _Transplanted | None:
        source = groups[number][0].source
        loaded = _loaded(source, plan.target, folder, scratch)
        shard = _dissected(loaded, output, trees)
        if shard is None:
            return None
        counts = _count(shard, output, trees)
        branches = transplant(shard, grafting.file, grafting.pages)
        return _Transplanted(loaded.fingerprint, loaded.metadata, counts, branches)

    try:
        with (
            _metadata(partial, folder) as keep,
            closing(workers.each(transplanted, len(groups))) as results,
        ):
            for number, future in results:
                group = groups[number]
                source = group[0].source
                try:
                    done = future.result()
                except (ShardError, ValueError) as exc:
                    result.damaged[source.path] = str(exc).removeprefix(f"{source.path}: ")
                    continue
                if done is None:
                    result.copied += group
                    continue
                grafting.add(done.branches)
                keep(done.metadata)
                for each in group:
                    told = _counted(each, done)
                    result.simulations.append(told)
                    advance(told, told.simulation.rows)
        grafting.finish()
    except WorkerDiedError as exc:
        raise OutputError(
            "a process that was copying pages was killed, perhaps for want of memory; nothing was"
            " written. Run the merge again, with fewer --jobs"
        ) from exc
    finally:
        grafting.close()
    return result


def register_grafted(
    connection: sqlite3.Connection,
    grafted: Sequence[SimulationPlan],
    registration: Registration,
    folder: Path,
) -> None:
    """Enter grafted simulations into the registry and the ledger, in one transaction.

    Args:
        connection: The output, with their rows.
        grafted: The simulations.
        registration: The experiment they belong to.
        folder: The private folder in which `graft` kept what the shards tell about them.
    """
    if not grafted:
        return
    output = read_structure(connection)
    with attached(connection, file_uri(folder / _METADATA), "shard"):
        shard = read_structure(connection, "shard")
        connection.execute("BEGIN")
        for planned in grafted:
            register_simulation(connection, planned, registration, output, shard)
        connection.execute("COMMIT")


def compare_grafted(
    connection: sqlite3.Connection, grafted: Sequence[SimulationPlan], target: Target, folder: Path
) -> None:
    """Compare grafted simulations with their sources, value by value.

    Raises:
        OutputError: If what arrived differs.
    """
    output = read_structure(connection)
    for source, group in groupby(grafted, key=lambda each: each.source):
        with as_shard(source, target, folder) as uri, attached(connection, uri, "shard"):
            shard = read_structure(connection, "shard")
            for planned in group:
                require_same(connection, planned.simulation_id, output, shard)


def check(partial: Path, written: Sequence[SimulationPlan], verification: Verification) -> None:
    """Let SQLite check every table, on all cores, while the file goes to the disk.

    Args:
        partial: The output in the making, which nobody writes any more.
        written: What was merged into it.
        verification: "content" for a check that also compares indexes with their tables.

    Raises:
        DamagedGraftError: If the check fails, or rows are missing.
    """
    expected: dict[str, int] = {}
    for each in written:
        for table, rows in each.simulation.row_counts.items():
            expected[table] = expected.get(table, 0) + rows
    with closing(_reading(partial)) as connection:
        tables = [each.name for each in read_structure(connection).tables.values()]
    tables.sort(key=lambda table: -expected.get(table, 0))
    pragma = "integrity_check" if verification == "content" else "quick_check"
    with ThreadPoolExecutor((os.cpu_count() or 1) + 1) as pool:
        on_disk = pool.submit(sync, partial)
        verdicts = pool.map(lambda table: _verdict(partial, table, pragma), tables)
        for table, (verdict, rows) in zip(tables, verdicts, strict=True):
            if verdict != "ok":
                raise DamagedGraftError(f"{table}: {verdict}")
            if rows != expected.get(table, rows):
                raise DamagedGraftError(
                    f"{table}: {expected[table]:,} rows in the shards, {rows:,} in the output"
                )
        on_disk.result()


@contextmanager
def _metadata(partial: Path, folder: Path) -> Iterator[Callable[[Metadata], None]]:
    """Yield what keeps the metadata of shards in a database of its own, since they may go."""
    with closing(sqlite3.connect(file_uri(folder / _METADATA), uri=True)) as connection:
        connection.execute("PRAGMA journal_mode=OFF")
        connection.execute("PRAGMA synchronous=OFF")
        with attached(connection, file_uri(partial, mode="ro"), "output"):
            for table in METADATA_TABLES:
                connection.execute(f"CREATE TABLE {table} AS SELECT * FROM output.{table} LIMIT 0")
                key = "experiment_id" if table == "experiments" else SIMULATION_ID
                connection.execute(f"CREATE INDEX {table}_key ON {table} ({key})")

        def keep(metadata: Metadata) -> None:
            for table, (columns, rows) in metadata.items():
                insert_exactly(connection, table, columns, rows)

        yield keep
        connection.commit()


def _reading(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(file_uri(path, mode="ro", immutable=1), uri=True)
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA ignore_check_constraints=ON")
    return connection


def _verdict(path: Path, table: str, pragma: str) -> tuple[str, int]:
    with closing(_reading(path)) as connection:
        (verdict,) = connection.execute(f"PRAGMA {pragma}({quoted(table)})").fetchone()
        (rows,) = connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()
    return verdict, rows


def _page_size(source: Inspection) -> int:
    if not source.is_shard:
        return _DEFAULT_PAGE_SIZE
    try:
        with source.file.open("rb", buffering=0) as file:
            return read_header(file.read(HEADER_BYTES)).page_size
    except OSError:  # it went; that is told when it is its turn
        return _DEFAULT_PAGE_SIZE


def _is_content(tree: str, output: Structure) -> bool:
    names = {each.name for each in output.content.values()}
    indexes = {index.name for found in output.indexes.values() for index in found}
    table = tree.removeprefix("sqlite_autoindex_").rpartition("_")[0]
    return tree in names or tree in indexes or (tree.startswith("sqlite_") and table in names)


def _groups(
    plan: Plan, page_size: int, smallest: int, result: Grafted
) -> Iterator[list[SimulationPlan]]:
    """Yield the simulations of each input that can be grafted, in the order of their keys.

    An input whose simulations do not all come, or do not come one after the other, is copied.
    """
    whole: dict[int, int] = {}
    for each in plan.to_write:
        whole[id(each.source)] = whole.get(id(each.source), 0) + 1
    for _, found in groupby(plan.to_write, key=lambda each: id(each.source)):
        group = list(found)
        source = group[0].source
        complete = len(group) == len(source.simulations) == whole[id(source)]
        if (
            complete
            and source.copy is None
            and _may_graft(source, plan.target, page_size, smallest)
        ):
            yield group
        else:
            result.copied += group


def _may_graft(source: Inspection, target: Target, page_size: int, smallest: int) -> bool:
    if not target.fits(source):
        return page_size == _DEFAULT_PAGE_SIZE
    try:
        return is_graftable_file(source.file, smallest, page_size)
    except OSError:
        return False


def _loaded(source: Inspection, target: Target, folder: Path, scratch: Scratch) -> Loaded:
    """Read an input that is a shard, or the shard that it is rewritten into."""
    _require_unchanged(source)
    if target.fits(source):
        return load(source.file, scratch)
    descriptor, name = tempfile.mkstemp(suffix=".db", dir=folder)
    os.close(descriptor)
    shard = Path(name)
    try:
        rewrite(source, target, shard, with_indexes=True)
        _require_unchanged(source)
        return load(shard, scratch)
    finally:
        shard.unlink()


def _dissected(loaded: Loaded, output: Structure, trees: Sequence[str]) -> Dissected | None:
    """Take a shard apart, tree by tree of the output; None if it is built otherwise."""
    pairs = dict(matching_trees(output, loaded.structure) or ())
    if not all(tree in pairs for tree in trees):
        return None
    theirs = [pairs[tree] for tree in trees]
    if not all(name is None or name in loaded.roots for name in theirs):
        return None
    if not all(is_index_tree(loaded.data, loaded.header, each) for each in loaded.roots.values()):
        return None  # what ANALYZE leaves is a table with rowids, and tells about this shard alone
    others = [root for name, root in loaded.roots.items() if name not in theirs]
    wanted = [loaded.roots[name] if name else 0 for name in theirs]
    return dissect(loaded.data, loaded.header, wanted, others)


def _count(shard: Dissected, output: Structure, trees: Sequence[str]) -> dict[str, int]:
    """Return the rows of a shard by table.

    Raises:
        ValueError: If an index has more or fewer.
    """
    rows = dict(zip(trees, shard.rows, strict=True))
    for table, definition in output.content.items():
        for index in output.indexes.get(table, ()):
            if not index.where and rows[index.name] != rows[definition.name]:
                raise ValueError(f"damaged: index {index.name} and its table differ in their rows")
    names = {each.name for each in output.content.values()}
    return {tree: number for tree, number in rows.items() if tree in names and number}


def _counted(planned: SimulationPlan, done: _Transplanted) -> SimulationPlan:
    """Return what was planned with what was read: the rows and the fingerprint."""
    if not planned.source.is_glance:
        return planned
    found = replace(planned.simulation, row_counts=done.row_counts)
    source = replace(planned.source, fingerprint=done.fingerprint, simulations=(found,))
    return replace(planned, source=source, simulation=found)


def _require_unchanged(source: Inspection) -> None:
    if identify(source.path) != source.identity:
        raise ShardError(
            f"{source.path}: changed after it was inspected; run the merge again when it rests"
        )
