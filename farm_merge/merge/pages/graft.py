"""Graft: the b-trees of shards become one b-tree, page by page, at the speed of a file copy.

All tables here are WITHOUT ROWID, and every key and index leads with `simulation_id`, so the trees
of shards, in the order of their simulations, do not interleave. The leaves of an index b-tree hold
whole rows and no page numbers but those of overflow chains, so they are copied as they are. What is
made anew is little: a separator between neighbours (the last cell of the left tree's last leaf
moves up), the interior pages above the leaves, and the header's page count.

Section numbers in this module are those of https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from mmap import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

from farm_merge.merge.pages.header import HEADER_BYTES, read_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

    from farm_merge.merge.pages.header import Header

    Bytes = NDArray[np.uint8]
    Integers = NDArray[np.int64]
    _Places = tuple[Integers, Integers]

__all__ = [
    "Branch",
    "Dissected",
    "Grafting",
    "dissect",
    "is_index_tree",
    "transplant",
]

# Types of pages (section 1.6).
_INTERIOR, _LEAF, _TABLE_LEAF = 0x02, 0x0A, 0x0D
_INTERIOR_HEADER, _LEAF_HEADER = 12, 8
_LEAF_FIELDS, _SHORT = struct.Struct(">BHHHB"), struct.Struct(">H")
_SMALLEST_CELL = 4
"""SQLite gives every cell at least the room of a freeblock."""

_LOCK_BYTE = 1 << 30
"""The page that holds this byte stays unused, for the locks of SQLite (section 1.3.2, 1.6)."""

_BATCH_PAGES = 256
_LEVEL_PAGES = 32
"""So many interior pages are made at once."""


@dataclass(frozen=True, slots=True)
class _Read:
    """One b-tree of a shard, as its pages tell.

    Attributes:
        leaves: Page numbers of its leaves, from 0, in the order of the keys.
        separators: Where the cells between them start in the file, and how long they are.
        rows: Rows in all of it.
        pages: How many pages it takes, without overflow chains.
        overflow: Where the cells of its interior pages point at overflow chains.
    """

    leaves: Integers
    separators: _Places
    rows: int
    pages: int
    overflow: Integers


@dataclass(frozen=True, slots=True)
class _Segment:
    """One b-tree of a shard, as it is grafted.

    Attributes:
        leaves: Page numbers of the leaves that are copied, from 0, in the order of the keys.
        separators: Where the cells after each of them start in the file, and how long they are.
        tail: The same of the cells that come then.
    """

    leaves: Integers
    separators: _Places
    tail: _Places


@dataclass(frozen=True, slots=True)
class _Shard:
    """The bytes of a shard."""

    data: Bytes
    header: Header

    @property
    def pages(self) -> Bytes:
        """The same, page by page."""
        return self.data.reshape(-1, self.header.page_size)


@dataclass(frozen=True, slots=True)
class Dissected(_Shard):
    """A shard, taken apart.

    Attributes:
        segments: Its trees.
        rows: The rows of each.
        pointers: Where cells of its trees point at overflow chains, as places in the file.
        chain: The pages of those chains, from 0.
    """

    segments: list[_Segment]
    rows: list[int]
    pointers: Integers
    chain: Integers


@dataclass(frozen=True, slots=True)
class Branch:
    """A b-tree of a shard whose leaves stand in the output.

    Attributes:
        leaves: The numbers of their pages, from 0, in the order of the keys.
        separators: The cells that come after each of them, one after the other.
        lengths: Of those cells.
        tail: The cells that come then, of a leaf that was not written.
    """

    leaves: Integers
    separators: Bytes
    lengths: Integers
    tail: list[bytes]


def is_index_tree(data: Bytes, header: Header, root: int) -> bool:
    """Tell whether the b-tree at a page, from 1, is an index or a table WITHOUT ROWID."""
    return root <= header.pages and data[(root - 1) * header.page_size] in {_INTERIOR, _LEAF}


def dissect(data: Bytes, header: Header, roots: Sequence[int], others: Sequence[int]) -> Dissected:
    """Take a shard apart. Nothing of it is trusted: what its pages say is checked.

    Args:
        data: The whole file; leaves that give up a cell are changed in it.
        header: Its header.
        roots: The roots of the trees to graft; 0 for one that it lacks.
        others: The roots of its other index b-trees.

    Raises:
        ValueError: If a tree is not what the format says.
    """
    if len(data) != header.pages * header.page_size:
        raise ValueError("the file is longer or shorter than its header says")
    shard = _Shard(data, header)
    trees, taken = _read_trees(shard, [*roots, *others])
    grafted = trees[: len(roots)]
    pointers, chain = _find_chains(shard, grafted, trees[len(roots) :], taken)
    rows = [each.rows for each in grafted]
    return Dissected(data, header, _end_leaves(shard, grafted), rows, pointers, chain)


_NONE: Integers = np.zeros(0, np.int64)
_NOWHERE = _NONE, _NONE


class _Cells:
    """Finds the cells of many pages at once."""

    def __init__(self, shard: _Shard) -> None:
        self._data = shard.data
        self._page_size = shard.header.page_size
        usable = shard.header.usable
        # Section 1.6: how much of a payload stays in the page.
        self._most = (usable - 12) * 64 // 255 - 23
        self._least = (usable - 12) * 32 // 255 - 23
        self._chunk = usable - 4
        self._usable = usable

    def counts(self, pages: Integers, offset: int = 0) -> Integers:
        """Return how many cells each page holds."""
        return self._short(pages * self._page_size + offset + 3)

    def locate(
        self, pages: Integers, header_size: int, offset: int = 0
    ) -> tuple[Integers, Integers]:
        """Return where the cells of pages start in the file, in order, and how many a page has.

        Args:
            pages: Page numbers, from 0.
            header_size: Of the pages.
            offset: Where that header starts; only on the first page not at 0.
        """
        counts = self.counts(pages, offset)
        header_size += offset
        if np.any(header_size + 2 * counts > self._usable):
            raise ValueError("a page claims more cells than it can hold")
        starts = np.repeat(pages * self._page_size, counts)
        first = np.repeat(np.cumsum(counts) - counts, counts)
        within = np.arange(len(starts)) - first
        pointers = self._short(starts + header_size + 2 * within)
        if np.any(pointers < header_size) or np.any(pointers > self._usable - _SMALLEST_CELL):
            raise ValueError("a cell lies outside of its page")
        return starts + pointers, counts

    def measure(self, cells: Integers) -> tuple[Integers, NDArray[np.bool_]]:
        """Return the length of cells that start with their payload's size, and whether they go on.

        A size is a varint of up to nine bytes (section 1.6); more than five would be no page.
        """
        size = np.zeros(len(cells), np.int64)
        width = np.zeros(len(cells), np.int64)
        going = np.ones(len(cells), bool)
        for place in range(5):
            if not going.any():
                break
            byte = self._byte(cells + place)
            size = np.where(going, (size << 7) | (byte & 0x7F), size)
            width += going
            going &= byte >= 0x80  # noqa: PLR2004
        if going.any():
            raise ValueError("a row is larger than SQLite allows")
        spills = size > self._most
        kept = self._least + (size - self._least) % self._chunk
        local = np.where(spills, np.where(kept <= self._most, kept, self._least), size)
        length = width + local + 4 * spills
        if np.any(cells % self._page_size + length > self._usable):
            raise ValueError("a cell reaches beyond its page")
        return length, spills

    def long(self, places: Integers) -> Integers:
        """Read big-endian numbers of four bytes."""
        return (self._short(places) << 16) | self._short(places + 2)

    def _short(self, places: Integers) -> Integers:
        return (self._byte(places) << 8) | self._byte(places + 1)

    def _byte(self, places: Integers) -> Integers:
        return self._data[np.minimum(places, len(self._data) - 1)].astype(np.int64)


def _read_trees(shard: _Shard, roots: Sequence[int]) -> tuple[list[_Read], Integers]:
    """Take b-trees apart, level by level, all of them at once.

    Args:
        shard: The shard.
        roots: The page numbers of their roots, from 1; 0 for a tree that is not there.

    Returns:
        The trees, and all of their pages.

    Raises:
        ValueError: If a tree is not what the format says.
    """
    cells, page_size, pages = _Cells(shard), shard.header.page_size, len(shard.pages)
    tree = np.flatnonzero(roots)
    nodes = np.array(roots, np.int64)[tree] - 1
    leaves = [_NONE] * len(roots)
    separators = [(_NONE, _NONE)] * len(roots)
    rows, sizes = np.zeros(len(roots), np.int64), np.zeros(len(roots), np.int64)
    taken, overflow = [_NONE], [(_NONE, _NONE)]
    # The cells between the nodes of a level: where they start, how long they are, of which tree.
    places, lengths, owners = _NONE, _NONE, _NONE
    while len(nodes):
        taken.append(nodes)
        if nodes.min() < 1 or nodes.max() >= pages or sum(map(len, taken)) > pages:
            raise ValueError("a page number points outside of the file")
        sizes += np.bincount(tree, minlength=len(roots))
        kinds = shard.data[nodes * page_size]
        is_leaf, is_interior = kinds == _LEAF, kinds == _INTERIOR
        ended = np.zeros(len(roots), bool)
        ended[tree[is_leaf]] = True
        goes_on = ~ended[tree]
        if np.any(goes_on != is_interior):
            raise ValueError("a page is of another type than its neighbours")
        np.add.at(rows, tree[is_leaf], cells.counts(nodes[is_leaf]))
        for number in np.flatnonzero(ended):
            leaves[number] = nodes[tree == number]
            own = owners == number
            separators[number] = places[own], lengths[own]
        nodes, tree = nodes[goes_on], tree[goes_on]
        if not len(nodes):
            break
        stays = ~ended[owners]
        found, counts = cells.locate(nodes, _INTERIOR_HEADER)
        length, spills = cells.measure(found + 4)
        owner = np.repeat(tree, counts)
        rows += np.bincount(owner, minlength=len(roots))
        overflow.append((owner[spills], (found + length)[spills]))
        # Between the cells of two nodes stands the cell of their parent.
        ends = np.cumsum(counts)
        gaps = ends[:-1][tree[1:] == tree[:-1]]
        places = np.insert(found + 4, gaps, places[stays])
        lengths = np.insert(length, gaps, lengths[stays])
        owners = np.insert(owner, gaps, owners[stays])
        right = cells.long(nodes * page_size + 8)
        nodes = np.insert(cells.long(found), ends, right) - 1
        tree = np.repeat(tree, counts + 1)
    of, pointers = (np.concatenate(each) for each in zip(*overflow, strict=True))
    segments = [
        _Read(*found, pointers[of == number])
        for number, found in enumerate(
            zip(leaves, separators, rows.tolist(), sizes.tolist(), strict=True)
        )
    ]
    return segments, np.concatenate(taken)


def _end_leaves(shard: _Shard, trees: list[_Read]) -> list[_Segment]:
    """Let a separator follow every leaf: the last leaf of a tree gives up its last cell, or goes.

    It goes whole where it is the only one, so that small trees share pages, and where cells were
    taken out of it.
    """
    ending = [_removable_cell(shard, tree) for tree in trees]
    pages = [
        int(tree.leaves[-1])
        for tree, cell in zip(trees, ending, strict=True)
        if cell is None and tree.rows
    ]
    cells = _Cells(shard)
    places, counts = cells.locate(np.array(pages, np.int64), _LEAF_HEADER)
    lengths, _ = cells.measure(places)
    ends = np.cumsum(counts)[:-1]
    tails = iter(zip(np.split(places, ends), np.split(lengths, ends), strict=True))
    segments = []
    for tree, cell in zip(trees, ending, strict=True):
        if cell is None:
            tail = next(tails) if tree.rows else _NOWHERE
            segments.append(_Segment(tree.leaves[:-1], tree.separators, tail))
            continue
        last = np.array([cell], np.int64)
        length, _ = cells.measure(last)
        _remove_last_cell(shard, int(tree.leaves[-1]), max(int(length[0]), _SMALLEST_CELL))
        places, lengths = tree.separators
        separators = np.append(places, last), np.append(lengths, length)
        segments.append(_Segment(tree.leaves, separators, _NOWHERE))
    return segments


def _removable_cell(shard: _Shard, tree: _Read) -> int | None:
    """Return where the last cell of a tree starts, if its leaf can just leave it out.

    That is so where it was written last and nothing was ever removed (section 1.6).
    """
    if len(tree.leaves) < 2:  # noqa: PLR2004
        return None
    start = int(tree.leaves[-1]) * shard.header.page_size
    _, free, count, content, fragments = _LEAF_FIELDS.unpack_from(shard.data.data, start)
    pointers = start + _LEAF_HEADER
    within = _LEAF_HEADER + 2 * count <= content <= shard.header.usable - _SMALLEST_CELL
    if count < 2 or free or fragments or not within:  # noqa: PLR2004
        return None
    (last,) = _SHORT.unpack_from(shard.data.data, pointers + 2 * (count - 1))
    return start + content if last == content else None


def _remove_last_cell(shard: _Shard, page: int, length: int) -> None:
    start = page * shard.header.page_size
    kind, free, count, content, fragments = _LEAF_FIELDS.unpack_from(shard.data.data, start)
    _LEAF_FIELDS.pack_into(
        shard.data.data, start, kind, free, count - 1, content + length, fragments
    )


class Pages:
    """The pages of a file behind its last one, which several processes or threads take in turns.

    Args:
        header: The header of the file.
        lock: What keeps the takers apart: of processes, if they are processes.
    """

    def __init__(self, header: Header, lock: AbstractContextManager[Any]) -> None:
        self._lock = lock
        # Anonymous, so forked processes share it.
        self._next = np.frombuffer(mmap(-1, 8), np.int64)
        self._next[0] = header.pages
        self._lock_page = _LOCK_BYTE // header.page_size

    @property
    def taken(self) -> int:
        """How many pages the file has, with all that were taken."""
        return int(self._next[0])

    def take(self, count: int) -> Integers:
        """Return the next page numbers, from 0; the page of the lock byte is left out."""
        with self._lock:
            first = self.taken
            numbers = np.arange(first, first + count, dtype=np.int64)
            if first <= self._lock_page:
                numbers[numbers >= self._lock_page] += 1
            if count:
                self._next[0] = numbers[-1] + 1
        return numbers


def transplant(shard: Dissected, file: int, pages: Pages) -> list[Branch]:
    """Write the leaves of a shard and its overflow pages into the output.

    Args:
        shard: The shard; its bytes are changed where overflow chains get new numbers.
        file: The descriptor of the output.
        pages: Where the output has room.
    """
    chosen = [shard.chain, *(each.leaves for each in shard.segments)]
    ends = np.cumsum([len(each) for each in chosen])
    numbers = pages.take(int(ends[-1]))
    chain, *leaves = np.split(numbers, ends[:-1])
    _renumber(shard, chain)
    _copy_pages(file, numbers, shard.pages, np.concatenate(chosen))
    return [
        Branch(
            own,
            shard.data[_spans(*segment.separators)],
            segment.separators[1],
            _bytes_of(shard, *segment.tail),
        )
        for segment, own in zip(shard.segments, leaves, strict=True)
    ]


def _renumber(shard: Dissected, numbers: Integers) -> None:
    """Let cells and overflow pages point at overflow pages by their numbers in the output."""
    if not len(shard.chain):
        return
    new = np.zeros(len(shard.pages) + 1, np.int64)
    new[shard.chain + 1] = numbers + 1
    links = np.concatenate([shard.pointers, shard.chain * shard.header.page_size])
    targets = new[_Cells(shard).long(links)]
    for place, shift in enumerate((24, 16, 8, 0)):
        shard.data[links + place] = (targets >> shift) & 0xFF


def _copy_pages(file: int, numbers: Integers, pages: Bytes, chosen: Integers) -> None:
    """Write some of the pages of a shard."""
    gathered = np.empty((min(_BATCH_PAGES, len(chosen)), pages.shape[1]), np.uint8)
    for first in range(0, len(chosen), _BATCH_PAGES):
        batch = slice(first, first + _BATCH_PAGES)
        together = gathered[: len(chosen[batch])]
        # The numbers were checked; mode="raise" would copy once more.
        np.take(pages, chosen[batch], axis=0, out=together, mode="clip")
        _write_pages(file, numbers[batch], together)


def _write_pages(file: int, numbers: Integers, pages: Bytes) -> None:
    """Write pages to numbers that follow each other, but for that of the lock byte."""
    page_size = pages.shape[1]
    at = int(np.searchsorted(numbers, _LOCK_BYTE // page_size))
    for part, start in ((pages[:at], 0), (pages[at:], at)):
        if len(part):
            _write_at(file, part.reshape(-1).data, int(numbers[start]) * page_size)


def _write_at(file: int, data: memoryview | bytes, offset: int) -> None:
    left = memoryview(data)
    while left:
        written = os.pwrite(file, left, offset)
        left, offset = left[written:], offset + written


class Grafting:
    """Joins the b-trees of shards in a database that nobody has open.

    Args:
        path: The database: made by SQLite, with empty tables.
        roots: The page numbers of the roots of its b-trees, from 1.
        lock: What keeps those apart that write leaves.
    """

    def __init__(self, path: Path, roots: Iterable[int], lock: AbstractContextManager[Any]) -> None:
        self.file = os.open(path, os.O_RDWR)
        self.header = read_header(os.pread(self.file, HEADER_BYTES, 0))
        self.pages = Pages(self.header, lock)
        self._trees = [_Tree(self, root) for root in roots]

    def add(self, branches: Sequence[Branch]) -> None:
        """Append the trees of a shard, which come after all that were added before.

        Args:
            branches: Its trees, in the order of the database's.
        """
        for tree, branch in zip(self._trees, branches, strict=True):
            tree.add(branch)

    def finish(self) -> None:
        """Write what is above the leaves, and the header; close the file."""
        for tree in self._trees:
            tree.finish()
        head = bytearray(os.pread(self.file, HEADER_BYTES, 0))
        changes = int.from_bytes(head[24:28], "big") + 1
        head[24:28] = head[92:96] = changes.to_bytes(4, "big")
        head[28:32] = self.pages.taken.to_bytes(4, "big")
        _write_at(self.file, bytes(head), 0)
        self.close()

    def close(self) -> None:
        """Close the file as it is."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1

    def append(self, *pages: bytes) -> Integers:
        """Write pages, and return their numbers, from 0."""
        numbers = self.pages.take(len(pages))
        together = np.frombuffer(b"".join(pages), np.uint8).reshape(len(pages), -1)
        _write_pages(self.file, numbers, together)
        return numbers

    def write(self, number: int, page: bytes) -> None:
        """Write a page, by its number from 0."""
        _write_at(self.file, page, number * self.header.page_size)

    def read_cells(self, number: int) -> list[bytes]:
        """Return the cells of a leaf that was written, by its number from 0."""
        size = self.header.page_size
        page = _Shard(
            np.frombuffer(os.pread(self.file, size, number * size), np.uint8), self.header
        )
        cells = _Cells(page)
        places, _ = cells.locate(np.zeros(1, np.int64), _LEAF_HEADER)
        lengths, _ = cells.measure(places)
        return _bytes_of(page, places, lengths)


def _find_chains(
    shard: _Shard, trees: list[_Read], others: list[_Read], taken: Integers
) -> tuple[Integers, Integers]:
    """Return where overflow chains of `trees` start, and the pages that they take.

    What is in no tree and not free is in a chain, so leaves are read only as long as there are
    pages to account for: those of the smallest trees first.
    """
    if _has_repeats(taken):
        raise ValueError("two trees share a page")
    missing = len(shard.pages) - _free_pages(shard) - _schema_pages(shard) - len(taken)
    pointers, chains = [_NONE], [_NONE]
    grafted = [*((each, True) for each in trees), *((each, False) for each in others)]
    for tree, is_grafted in sorted(grafted, key=lambda each: each[0].pages):
        if missing == 0:
            break
        starts = _chain_starts(shard, tree)
        chain = _follow(shard, starts)
        missing -= len(chain)
        if is_grafted:
            pointers.append(starts)
            chains.append(chain)
    whole = np.concatenate(chains)
    # What is missing now belongs to the schema, whose own chains nobody needs.
    if missing < 0 or _has_repeats(whole):
        raise ValueError("two rows share a page")
    return np.concatenate(pointers), whole


def _has_repeats(pages: Integers) -> bool:
    # np.unique would import masked arrays, which takes longer than a shard.
    return bool(np.any(np.bincount(pages) > 1))


def _chain_starts(shard: _Shard, tree: _Read) -> Integers:
    cells = _Cells(shard)
    starts = [tree.overflow]
    for first in range(0, len(tree.leaves), _BATCH_PAGES):
        found, _ = cells.locate(tree.leaves[first : first + _BATCH_PAGES], _LEAF_HEADER)
        length, spills = cells.measure(found)
        starts.append((found + length - 4)[spills])
    return np.concatenate(starts)


def _follow(shard: _Shard, pointers: Integers) -> Integers:
    """Return the pages of overflow chains, each once (section 1.6.1)."""
    cells, pages = _Cells(shard), len(shard.pages)
    chain, taken = [_NONE], 0
    current = cells.long(pointers) - 1
    while len(current):
        taken += len(current)
        if current.min() < 1 or current.max() >= pages or taken > pages:
            raise ValueError("an overflow chain leaves the file")
        chain.append(current)
        following = cells.long(current * shard.header.page_size)
        current = following[following > 0] - 1
    return np.concatenate(chain)


def _free_pages(shard: _Shard) -> int:
    """Count the pages of the freelist, by its trunks (section 1.5)."""
    cells, size = _Cells(shard), shard.header.page_size
    trunk, count = int.from_bytes(shard.data[32:36].tobytes(), "big"), 0
    while trunk:
        if trunk > len(shard.pages) or count > len(shard.pages):
            raise ValueError("the freelist leaves the file")
        following, leaves = cells.long(np.array([0, 4]) + (trunk - 1) * size).tolist()
        trunk, count = following, count + 1 + leaves
    return count


def _schema_pages(shard: _Shard) -> int:
    """Count the pages of `sqlite_schema`, a table b-tree behind the file's header (section 2.6)."""
    nodes, count = np.zeros(1, np.int64), 0
    cells = _Cells(shard)
    while True:
        count += len(nodes)
        if nodes.max() >= len(shard.pages) or count > len(shard.pages):
            raise ValueError("a page number of the schema points outside of the file")
        offset = HEADER_BYTES if count == 1 else 0
        if np.all(shard.data[nodes * shard.header.page_size + offset] == _TABLE_LEAF):
            return count
        found, _ = cells.locate(nodes, _INTERIOR_HEADER, offset)
        right = cells.long(nodes * shard.header.page_size + offset + 8)
        nodes = np.concatenate([cells.long(found), right]) - 1


class _Tree:
    """A b-tree of the output, made from left to right."""

    def __init__(self, grafting: Grafting, root: int) -> None:
        self._grafting = grafting
        self._root = root - 1
        self._usable = grafting.header.usable
        self._tail: list[bytes] = []
        """The cells of the last leaf, whose right neighbour is not known yet."""
        self._level: _Level | None = None

    def add(self, branch: Branch) -> None:
        """Append a tree of a shard."""
        if len(branch.leaves):
            first = self._close_tail(branch)
            if first < len(branch.leaves):
                skipped = int(branch.lengths[:first].sum())
                self._push(
                    branch.leaves[first:], branch.separators[skipped:], branch.lengths[first:]
                )
        self._tail += branch.tail
        self._pack()

    def finish(self) -> None:
        """Write the last leaf, and what is above."""
        if self._level is None:
            self._grafting.write(self._root, _leaf(self._tail, self._grafting.header))
            return
        number = None
        if not self._tail:
            # What follows the last separator would be an empty leaf: it goes back.
            number, separator = self._level.pull()
            self._tail = [*self._grafting.read_cells(number), separator]
            self._pack()
        page = _leaf(self._tail, self._grafting.header)
        if number is None:
            (number,) = self._grafting.append(page).tolist()
        else:
            self._grafting.write(number, page)
        self._level.finish(number, self._root)

    def _close_tail(self, branch: Branch) -> int:
        """End the leaf before a tree; return how many leaves of the tree it took along."""
        if len(self._tail) > 1:
            separator = self._tail.pop()
            self._end_leaf(self._tail, separator)
            self._tail = []
        elif self._tail:
            # Giving up its only cell would leave an empty leaf, which is malformed.
            leaf = int(branch.leaves[0])
            self._tail += self._grafting.read_cells(leaf)
            self._pack()
            self._end_leaf(self._tail, branch.separators[: branch.lengths[0]].tobytes(), leaf)
            self._tail = []
            return 1
        return 0

    def _pack(self) -> None:
        """End leaves while the tail is larger than a page; at least one cell stays in it."""
        room = self._usable - _LEAF_HEADER
        while sum(sizes := [_room(cell) for cell in self._tail]) > room:
            fitting = bisect_right(list(accumulate(sizes)), room)
            number = min(fitting, len(self._tail) - 2)
            self._end_leaf(self._tail[:number], self._tail[number])
            self._tail = self._tail[number + 1 :]

    def _end_leaf(self, cells: list[bytes], separator: bytes, number: int | None = None) -> None:
        """Write a leaf, to a page that is free again or to a new one."""
        page = _leaf(cells, self._grafting.header)
        if number is None:
            (number,) = self._grafting.append(page)
        else:
            self._grafting.write(number, page)
        self._push(
            np.array([number]), np.frombuffer(separator, np.uint8), np.array([len(separator)])
        )

    def _push(self, children: Integers, separators: Bytes, lengths: Integers) -> None:
        if self._level is None:
            self._level = _Level(self._grafting)
        self._level.push(children, separators, lengths)


class _Level:
    """The interior pages of one level, made from left to right (section 1.6)."""

    def __init__(self, grafting: Grafting) -> None:
        self._grafting = grafting
        self._usable = grafting.header.usable
        self._room = self._usable - _INTERIOR_HEADER
        self._children: list[Integers] = []
        self._separators: list[Bytes] = []
        self._lengths: list[Integers] = []
        self._pending = 0
        self._above: _Level | None = None

    def push(self, children: Integers, separators: Bytes, lengths: Integers) -> None:
        """Add pages, each with the cell that separates it from the next."""
        self._children.append(children)
        self._separators.append(separators)
        self._lengths.append(lengths)
        self._pending += int(lengths.sum()) + 6 * len(lengths)
        if self._pending > _LEVEL_PAGES * self._room:
            self._emit(keep=True)

    def pull(self) -> tuple[int, bytes]:
        """Take the last page back, with its cell."""
        child, length = int(self._children[-1][-1]), int(self._lengths[-1][-1])
        separator = self._separators[-1][-length:].tobytes()
        self._children[-1] = self._children[-1][:-1]
        self._lengths[-1] = self._lengths[-1][:-1]
        self._separators[-1] = self._separators[-1][:-length]
        self._pending -= length + 6
        return child, separator

    def finish(self, last: int, root: int) -> None:
        """End the level with its last page, and make the root.

        Args:
            last: The number of the last page, from 0.
            root: The number of the page that the root has to be, from 0.
        """
        if self._pending > self._room:
            self._emit(keep=False)
        children, separators, lengths = self._take()
        cells = _interior_cells(children, separators, lengths)
        starts = np.cumsum(lengths + 4) - lengths - 4
        page = _interior(cells, starts, last, self._grafting.header)
        if self._above is None:
            self._grafting.write(root, page)
            return
        (number,) = self._grafting.append(page).tolist()
        self._above.finish(number, root)

    def _take(self) -> tuple[Integers, Bytes, Integers]:
        taken = (
            np.concatenate(self._children),
            np.concatenate(self._separators),
            np.concatenate(self._lengths),
        )
        self._children, self._separators, self._lengths = [], [], []
        self._pending = 0
        return taken

    def _emit(self, *, keep: bool) -> None:
        """Write full pages; what stays has at least one cell, and fits into a page."""
        children, separators, lengths = self._take()
        cells = _interior_cells(children, separators, lengths)
        room = np.cumsum(lengths + 6)
        ends = np.cumsum(lengths + 4)
        starts = ends - lengths - 4
        count, first = len(children), 0
        pages, right = [], []
        while True:
            used = room[first - 1] if first else 0
            left = int(room[-1] - used)
            if left <= self._room or (keep and left <= 2 * self._room):
                break
            # Cells first … end-1 make a page; end is its right child, whose separator moves up.
            end = int(np.searchsorted(room, used + self._room, side="right"))
            end = min(end, count - 2)
            content = cells[starts[first] : starts[end]]
            pointers = starts[first:end] - starts[first]
            child = int(children[end])
            pages.append(_interior(content, pointers, child, self._grafting.header))
            right.append(end)
            first = end + 1
        if pages:
            if self._above is None:
                self._above = _Level(self._grafting)
            numbers = self._grafting.append(*pages)
            moved = np.array(right)
            self._above.push(
                numbers, cells[_spans(starts[moved] + 4, lengths[moved])], lengths[moved]
            )
        self._children.append(children[first:])
        self._separators.append(separators[int(lengths[:first].sum()) :])
        self._lengths.append(lengths[first:])
        self._pending = int(lengths[first:].sum()) + 6 * (count - first)


def _spans(places: Integers, lengths: Integers) -> Integers:
    """Return the indices of all bytes of spans, one after the other."""
    ends = np.cumsum(lengths)
    spans: Integers = np.repeat(places - (ends - lengths), lengths)
    spans += np.arange(len(spans))
    return spans


def _room(cell: bytes) -> int:
    """Return the bytes that a cell takes in a leaf, its pointer included."""
    return max(len(cell), _SMALLEST_CELL) + 2


def _bytes_of(shard: _Shard, places: Integers, lengths: Integers) -> list[bytes]:
    return [
        shard.data[place : place + length].tobytes()
        for place, length in zip(places.tolist(), lengths.tolist(), strict=True)
    ]


def _leaf(cells: list[bytes], header: Header) -> bytes:
    """Make a leaf page of cells (section 1.6)."""
    padded = [cell.ljust(_SMALLEST_CELL, b"\0") for cell in cells]
    content = b"".join(padded)
    start = header.usable - len(content)
    pointers, place = [], start
    for cell in padded:
        pointers.append(place)
        place += len(cell)
    # A start of 65536 is written as 0.
    head = _LEAF_FIELDS.pack(_LEAF, 0, len(cells), start & 0xFFFF, 0)
    head += struct.pack(f">{len(pointers)}H", *pointers)
    return head.ljust(start, b"\0") + content + bytes(header.reserved)


def _interior_cells(children: Integers, separators: Bytes, lengths: Integers) -> Bytes:
    """Make the cells of interior pages: a child's page number, from 1, and a separator."""
    ends = np.cumsum(lengths + 4)
    starts = ends - lengths - 4
    cells = np.empty(int(ends[-1]), np.uint8)
    is_separator = np.ones(len(cells), bool)
    for place, shift in enumerate((24, 16, 8, 0)):
        cells[starts + place] = ((children + 1) >> shift) & 0xFF
        is_separator[starts + place] = False
    cells[is_separator] = separators
    return cells


def _interior(cells: Bytes, starts: Integers, right: int, header: Header) -> bytes:
    """Make an interior page of cells, whose starts are told, and a right child, from 0."""
    start = header.usable - len(cells)
    head = struct.pack(">BHHHBI", _INTERIOR, 0, len(starts), start & 0xFFFF, 0, right + 1)
    head += (starts + start).astype(">u2").tobytes()
    return head.ljust(start, b"\0") + cells.tobytes() + bytes(header.reserved)
