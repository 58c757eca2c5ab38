"""Graft: a new output from the pages of shards, and of files that are rewritten into shards.

`pages` knows the file format; this module knows which trees belong together, who works, and what is
kept of each input. What cannot be grafted is named, to be copied row by row.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain, groupby
from typing import TYPE_CHECKING

from farm_merge.errors import DamagedGraftError, OutputError, ShardError
from farm_merge.merge.inputs.file import has_graftable_pages, look_at, require_unchanged
from farm_merge.merge.inputs.input import Contents
from farm_merge.merge.inputs.transcode import insert_exactly
from farm_merge.merge.pages.dissect import dissect
from farm_merge.merge.pages.join import GrowingFile
from farm_merge.merge.pages.transplant import transplant
from farm_merge.merge.pages.trees import is_index_tree
from farm_merge.merge.plan.plan import LeftOut
from farm_merge.merge.tables.definition import SIMULATION_ID, folded
from farm_merge.merge.tables.match import matching_trees
from farm_merge.merge.tables.structure import read_structure
from farm_merge.merge.write.load import ReadBuffer, read_roots
from farm_merge.merge.write.load import load as load_shard
from farm_merge.merge.write.pack import may_be_packed, packed
from farm_merge.merge.write.registry import register
from farm_merge.merge.write.rewrite import DEFAULT_PAGE_SIZE, rewritten
from farm_merge.schema import METADATA_TABLES
from farm_merge.sqlite import attached, connect, file_uri, transaction
from farm_merge.workers import WorkerDiedError, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from farm_merge.merge.inputs.file import InputFile
    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.options import Engine
    from farm_merge.merge.pages.transplant import Branch
    from farm_merge.merge.plan.plan import SimulationPlan
    from farm_merge.merge.plan.target import Target
    from farm_merge.merge.write.load import Loaded, Metadata
    from farm_merge.merge.write.pack import Packed
    from farm_merge.merge.write.registry import ExperimentFields
    from farm_merge.sqlite import sqlite3

__all__ = ["Graft", "Grafted", "register_grafted"]

_METADATA = "metadata.db"

_SMALLEST_BYTES = 256 << 10
"""Below it, taking a file apart and joining its trees costs more than its rows."""

_PACK_BYTES = 4 << 20
"""So much of smaller shards is copied into one first."""


@dataclass(slots=True)
class Grafted:
    """What became of the simulations whose pages were to be copied.

    Attributes:
        written: Those that were, with the rows and the fingerprint that were read on the way.
        to_copy: Those that have to be copied row by row.
        damaged: Inputs that changed, went, or cannot be read, and why.
    """

    written: list[SimulationPlan] = field(default_factory=list)
    to_copy: list[SimulationPlan] = field(default_factory=list)
    damaged: list[LeftOut] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Transplanted:
    """What a worker reports of a shard whose leaves it wrote.

    Attributes:
        read: What was read of each input on the way, with its rows about its simulations; of a file
            that was rewritten, that of the shard.
        branches: Its trees, by the names that they have in the output.
    """

    read: Packed
    branches: dict[str, Branch]


@dataclass(slots=True)
class _Load:
    """What a worker grafts at once.

    Attributes:
        groups: The simulations of each input, in the order of their keys.
        is_pack: Whether they are copied into one shard first.
    """

    groups: list[list[SimulationPlan]] = field(default_factory=list)
    is_pack: bool = False

    @property
    def sources(self) -> list[Input]:
        """The inputs."""
        return [group[0].source for group in self.groups]

    @property
    def simulations(self) -> Iterator[SimulationPlan]:
        """What is in them."""
        return chain.from_iterable(self.groups)


class Graft:
    """Copies the pages of all inputs that allow it into a new output.

    Args:
        partial: The output in the making, with empty tables; nobody has it open.
        target: The tables of the output.
        folder: A private folder, for files that are rewritten first.
        engine: Whether small shards are grafted too.
        jobs: Processes or threads that rewrite, read and write.
    """

    def __init__(
        self, partial: Path, target: Target, folder: Path, engine: Engine, jobs: int
    ) -> None:
        self._partial = partial
        self._target = target
        self._folder = folder
        self._engine = engine
        self._workers = Workers(jobs)
        self._buffer = ReadBuffer()
        with closing(connect(file_uri(partial, mode="ro"))) as connection:
            self._output = read_structure(connection)
            # The tables that a user added to an output may be none of simulations' rows.
            tables = self._output.tables.items()
            written = {name for name, it in tables if it.merged and name not in METADATA_TABLES}
            roots = {
                name: root
                for name, root in read_roots(connection).items()
                if folded(root.table) in written
            }
        self._trees: dict[str, set[str]] = {}
        for name, root in roots.items():
            self._trees.setdefault(folded(root.table), set()).add(name)
        pages = {name: root.page for name, root in roots.items()}
        self._file = GrowingFile(partial, pages, self._workers.lock)

    def run(
        self, to_write: Sequence[SimulationPlan], advance: Callable[[SimulationPlan], None]
    ) -> Grafted:
        """Graft what can be grafted.

        Args:
            to_write: What is merged, in the order of the keys.
            advance: Called for every simulation that was grafted.

        Raises:
            OutputError: If a process that worked was killed.
        """
        result = Grafted()
        loads = list(_loads(self._groups(to_write, result), self._is_small))
        try:
            with (
                _metadata(self._partial, self._folder) as keep,
                closing(
                    self._workers.run(lambda number: self._transplant(loads[number]), len(loads))
                ) as results,
            ):
                for number, future in results:
                    load = loads[number]
                    try:
                        done = future.result()
                    except ShardError as exc:
                        if load.is_pack:  # row by row, the one that is to blame is found
                            result.to_copy += load.simulations
                        else:
                            result.damaged.append(LeftOut.because_of(load.sources[0].path, exc))
                    except ValueError:  # whether its rows can be read is for SQLite to decide
                        result.to_copy += load.simulations
                    else:
                        self._join(load, done, keep, result, advance)
            self._file.finish()
        except WorkerDiedError as exc:
            raise OutputError(
                "a process that was copying pages was killed, perhaps for want of memory; nothing"
                " was written",
                path=self._partial,
                remedy="run the merge again, with fewer `jobs=`",
            ) from exc
        finally:
            self._file.close()
        return result

    def _groups(
        self, to_write: Sequence[SimulationPlan], result: Grafted
    ) -> Iterator[list[SimulationPlan]]:
        """Yield the simulations of each input that can be grafted, in the order of their keys.

        An input whose simulations do not all come, or do not come one after the other, is copied.
        So are files that are joined: their rows interleave inside one simulation.
        """
        joined = {planned.simulation_id for planned in to_write if planned.joins}
        whole: dict[Path, int] = {}
        for planned in to_write:
            whole[planned.source.path] = whole.get(planned.source.path, 0) + 1
        for path, found in groupby(to_write, key=lambda planned: planned.source.path):
            group = list(found)
            source = group[0].source
            is_whole = len(group) == len(source.simulations) == whole[path]
            is_whole &= all(planned.simulation_id not in joined for planned in group)
            if is_whole and source.file.snapshot is None and self._may_graft(source):
                yield group
            else:
                result.to_copy += group

    def _may_graft(self, source: Input) -> bool:
        page_size = self._file.header.page_size
        if not self._target.fits(source):
            # Once it is rewritten, nothing shows any more what was wrong with it.
            return page_size == DEFAULT_PAGE_SIZE and source.contents is not None
        if self._is_small(source):
            return may_be_packed(source)
        same_size = source.file.header.page_size == page_size
        return same_size and has_graftable_pages(source.file)

    def _is_small(self, source: Input) -> bool:
        """Return whether a shard is copied into a larger one first."""
        is_small = source.file.identity.size_bytes < _SMALLEST_BYTES
        return is_small and self._engine != "graft" and self._target.fits(source)

    def _transplant(self, load: _Load) -> _Transplanted | None:
        """Write the leaves of inputs into the output; None if their trees are built otherwise."""
        source = load.sources[0]
        if load.is_pack:
            page_size = self._file.header.page_size
            with packed(load.sources, self._target, self._folder, page_size) as (shard, read):
                return self._write_leaves(look_at(shard), read, is_ours=True)
        require_unchanged(source.file)
        if self._target.fits(source):
            return self._write_leaves(source.file)
        with rewritten(source, self._target, self._folder, with_indexes=True) as shard:
            require_unchanged(source.file)
            return self._write_leaves(look_at(shard), is_ours=True)

    def _write_leaves(
        self, file: InputFile, read: Packed | None = None, *, is_ours: bool = False
    ) -> _Transplanted | None:
        with load_shard(file, self._buffer, is_ours=is_ours) as loaded:
            pairs = self._pairs(loaded)
            if pairs is None:
                return None
            pages, roots = loaded.pages, loaded.roots
            if not all(is_index_tree(pages, root.page) for root in roots.values()):
                return None  # what ANALYZE leaves has rowids, and is about this shard alone
            wanted = [roots[name].page for name in pairs.values()]
            theirs = {*pairs.values()}
            others = [root.page for name, root in roots.items() if name not in theirs]
            shard = dissect(pages, wanted, others)
            rows = {tree: found.rows for tree, found in zip(pairs, shard.trees, strict=True)}
            counts = self._count(loaded, rows)
            try:
                branches = transplant(shard, self._file.descriptor, self._file.allocator)
                if not loaded.is_whole:
                    require_unchanged(file)
            except (ShardError, ValueError) as exc:  # its pages are in the output already
                raise DamagedGraftError(f"{file.path}: {exc}") from exc
        if read is None:
            read = [(Contents(loaded.fingerprint, (counts,)), loaded.metadata)]
        return _Transplanted(read, dict(zip(pairs, branches, strict=True)))

    def _pairs(self, loaded: Loaded) -> Mapping[str, str] | None:
        """Return the trees of the output that a shard has, with its own; None where they differ."""
        pairs = matching_trees(self._output, loaded.structure)
        if pairs is None or not all(name in loaded.roots for name in pairs.values()):
            return None
        whole = all(self._trees[table] <= pairs.keys() for table in loaded.structure.content)
        return pairs if whole else None

    def _count(self, loaded: Loaded, rows: Mapping[str, int]) -> dict[str, int]:
        """Return the rows of a shard by table of the output.

        Args:
            loaded: The shard.
            rows: How many each of its trees has, by the name of the output's.

        Raises:
            ValueError: If an index has more or fewer than its table.
        """
        counts = {}
        for table in loaded.structure.content:
            name = self._output.content[table].name
            for index in self._output.indexes.get(table, ()):
                if not index.where and rows[index.name] != rows[name]:
                    raise ValueError(f"damaged: index {index.name} and its table differ in rows")
            if rows[name]:
                counts[name] = rows[name]
        return counts

    def _join(
        self,
        load: _Load,
        done: _Transplanted | None,
        keep: Callable[[Metadata], None],
        result: Grafted,
        advance: Callable[[SimulationPlan], None],
    ) -> None:
        if done is None:
            result.to_copy += load.simulations
            return
        self._file.add(done.branches)
        for group, (contents, metadata) in zip(load.groups, done.read, strict=True):
            keep(metadata)
            for planned in group:
                is_counted = planned.source.contents is not None
                written = planned if is_counted else planned.with_contents(contents)
                result.written.append(written)
                advance(written)


def _loads(
    groups: Iterable[list[SimulationPlan]], is_small: Callable[[Input], bool]
) -> Iterator[_Load]:
    """Yield what is grafted at once: an input, or small ones of one mapping, up to some bytes."""
    pack, mapping, room = _Load(is_pack=True), None, 0
    for group in groups:
        source = group[0].source
        small, size = is_small(source), source.file.identity.size_bytes
        if pack.groups and not (small and source.mapping is mapping and size <= room):
            yield pack
            pack = _Load(is_pack=True)
        if not small:
            yield _Load([group])
            continue
        if not pack.groups:
            mapping, room = source.mapping, _PACK_BYTES
        pack.groups.append(group)
        room -= size
    if pack.groups:
        yield pack


def register_grafted(
    connection: sqlite3.Connection,
    grafted: Sequence[SimulationPlan],
    experiment: ExperimentFields,
    folder: Path,
) -> None:
    """Enter grafted simulations into the registry and the ledger, in one transaction.

    Args:
        connection: The output, with their rows.
        grafted: The simulations.
        experiment: The experiment they belong to.
        folder: The private folder in which `Graft` kept what the shards hold about them.
    """
    if not grafted:
        return
    output = read_structure(connection)
    with attached(connection, file_uri(folder / _METADATA), "shard"):
        shard = read_structure(connection, "shard")
        with transaction(connection):
            for planned in grafted:
                register(connection, planned, experiment, output, shard)


@contextmanager
def _metadata(partial: Path, folder: Path) -> Iterator[Callable[[Metadata], None]]:
    """Yield what keeps the metadata of shards in a database of its own, since they may go."""
    with closing(connect(file_uri(folder / _METADATA))) as connection:
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

        with transaction(connection):
            yield keep
