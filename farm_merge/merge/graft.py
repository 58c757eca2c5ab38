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
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Integers = NDArray[np.int64]

__all__ = [
    "HEADER_BYTES",
    "Dissected",
    "Grafting",
    "Header",
    "dissect",
    "is_index_tree",
    "read_header",
]

# Types of pages (section 1.6).
_INTERIOR, _LEAF, _TABLE_LEAF = 0x02, 0x0A, 0x0D
_INTERIOR_HEADER, _LEAF_HEADER = 12, 8
HEADER_BYTES = 100
_SMALLEST_CELL = 4
"""SQLite gives every cell at least the room of a freeblock."""

_LOCK_BYTE = 1 << 30
"""The page that holds this byte stays unused, for the locks of SQLite (section 1.3.2, 1.6)."""

_BATCH_PAGES = 256
_SHARDS_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of a database file says (section 1.3)."""

    page_size: int
    reserved: int
    pages: int
    schema_format: int
    auto_vacuum: bool
    encoding: int
    is_wal: bool

    @property
    def usable(self) -> int:
        """Bytes of a page that hold content."""
        return self.page_size - self.reserved


def read_header(head: bytes) -> Header:
    """Read the first 100 bytes of a database file."""
    page_size = int.from_bytes(head[16:18], "big")
    return Header(
        65536 if page_size == 1 else page_size,
        head[20],
        int.from_bytes(head[28:32], "big"),
        int.from_bytes(head[44:48], "big"),
        any(head[52:56]),
        int.from_bytes(head[56:60], "big"),
        head[18] == 2 or head[19] == 2,  # noqa: PLR2004
    )


@dataclass(frozen=True, slots=True)
class _Segment:
    """One b-tree of a shard, taken apart.

    Attributes:
        leaves: Page numbers of its leaves, from 0, in the order of the keys.
        separators: Where the cells between them start in the file, and how long they are.
        overflow: Where the cells of this tree point at overflow chains.
        cells: Rows in all of it.
        pages: All of its pages, without overflow chains.
    """

    leaves: Integers
    separators: tuple[Integers, Integers]
    overflow: Integers
    cells: int
    pages: Integers


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
class _Part:
    """What of a tree is written.

    Attributes:
        leaves: The pages of its leaves but the last, in their order.
        separators: The cells between them all, one after the other.
        lengths: Of those cells.
        tail: The cells of the last leaf.
    """

    leaves: Integers
    separators: Bytes
    lengths: Integers
    tail: list[bytes]


@dataclass(frozen=True, slots=True)
class Dissected(_Shard):
    """A shard, taken apart.

    Attributes:
        segments: Its trees.
        parts: What of each is written; None where overflow chains have to be renumbered first.
        pointers: Where cells of its trees point at overflow chains, as places in the file.
        chain: The pages of those chains, from 0.
    """

    segments: list[_Segment]
    parts: list[_Part | None]
    pointers: Integers
    chain: Integers

    @property
    def rows(self) -> list[int]:
        """The rows of every tree."""
        return [segment.cells for segment in self.segments]


def is_index_tree(data: Bytes, header: Header, root: int) -> bool:
    """Tell whether the b-tree at a page, from 1, is an index or a table WITHOUT ROWID."""
    return root <= header.pages and data[(root - 1) * header.page_size] in {_INTERIOR, _LEAF}


def dissect(data: Bytes, header: Header, roots: Sequence[int], others: Sequence[int]) -> Dissected:
    """Take a shard apart. Nothing of it is trusted: what its pages say is checked.

    Args:
        data: The whole file.
        header: Its header.
        roots: The roots of the trees to graft; 0 for one that it lacks.
        others: The roots of its other index b-trees.

    Raises:
        ValueError: If a tree is not what the format says.
    """
    if len(data) != header.pages * header.page_size:
        raise ValueError("the file is longer or shorter than its header says")
    shard = _Shard(data, header)
    segments = _read_segments(shard, roots)
    pointers, chain = _find_chains(shard, segments, _read_segments(shard, others))
    parts = [
        None if len(own) else _part(shard, each)
        for own, each in zip(pointers, segments, strict=True)
    ]
    return Dissected(data, header, segments, parts, np.concatenate([_NONE, *pointers]), chain)


_NONE: Integers = np.zeros(0, np.int64)
_NOTHING = _Segment(_NONE, (_NONE, _NONE), _NONE, 0, _NONE)


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


def _part(shard: _Shard, segment: _Segment) -> _Part:
    if not segment.cells:
        return _Part(_NONE, shard.data[:0], _NONE, [])
    places, lengths = segment.separators
    return _Part(
        segment.leaves[:-1],
        shard.data[_spans(places, lengths)],
        lengths,
        _cells_of(shard, int(segment.leaves[-1])),
    )


def _read_segments(shard: _Shard, roots: Sequence[int]) -> list[_Segment]:
    """Take b-trees of a shard apart, by the page numbers of their roots, from 1.

    Raises:
        ValueError: If a tree is not what the format says.
    """
    return [_read_tree(shard, _Cells(shard), root - 1) if root else _NOTHING for root in roots]


def _read_tree(shard: _Shard, cells: _Cells, root: int) -> _Segment:
    data, page_size, pages = shard.data, shard.header.page_size, len(shard.pages)
    nodes = np.array([root], np.int64)
    seen = [nodes]
    places, lengths = _NONE, _NONE
    overflow, rows = _NONE, 0
    while True:
        if nodes.min() < 1 or nodes.max() >= pages or sum(map(len, seen)) > pages:
            raise ValueError("a page number points outside of the file")
        kinds = data[nodes * page_size]
        if np.all(kinds == _LEAF):
            break
        if not np.all(kinds == _INTERIOR):
            raise ValueError("a page is of another type than its neighbours")
        found, counts = cells.locate(nodes, _INTERIOR_HEADER)
        length, spills = cells.measure(found + 4)
        overflow = np.concatenate([overflow, (found + 4 + length - 4)[spills]])
        rows += len(found)
        # Between the cells of two nodes stands the cell of their parent.
        ends = np.cumsum(counts)
        places = np.insert(found + 4, ends[:-1], places)
        lengths = np.insert(length, ends[:-1], lengths)
        right = cells.long(nodes * page_size + 8)
        nodes = np.insert(cells.long(found), ends, right) - 1
        seen.append(nodes)
    rows += int(cells.counts(nodes).sum())
    return _Segment(nodes, (places, lengths), overflow, rows, np.concatenate(seen))


class Grafting:
    """Writes the b-trees of shards behind the last page of a database that nobody has open.

    Args:
        path: The database: made by SQLite, with empty tables.
        roots: The page numbers of the roots of its b-trees, from 1.
    """

    def __init__(self, path: Path, roots: Iterable[int]) -> None:
        self._file = os.open(path, os.O_RDWR)
        self.header = read_header(os.pread(self._file, HEADER_BYTES, 0))
        self._next = self.header.pages
        self._trees = [_Tree(self, root) for root in roots]
        self._writer = ThreadPoolExecutor(1)
        self._writes: deque[Future[None]] = deque()
        self._queued: list[tuple[Integers, Bytes, Integers]] = []
        self._scratch = np.empty((_BATCH_PAGES, self.header.page_size), np.uint8)

    def add(self, shard: Dissected, done: Callable[[], None]) -> None:
        """Append the trees of a shard, which come after all that were added before.

        Args:
            shard: Its trees, in the order of the database's; overflow chains are renumbered in it.
            done: Called, in another thread, when the bytes of the shard are not needed any more.
        """
        self._renumber(shard)
        for tree, segment, part in zip(self._trees, shard.segments, shard.parts, strict=True):
            tree.add(shard, part or _part(shard, segment))
        self._flush(done)
        self._wait(_SHARDS_AHEAD)

    def finish(self) -> None:
        """Write what is above the leaves, and the header; close the file."""
        for tree in self._trees:
            tree.finish()
        self._flush(lambda: None)
        self._wait(0)
        head = bytearray(os.pread(self._file, HEADER_BYTES, 0))
        changes = int.from_bytes(head[24:28], "big") + 1
        head[24:28] = head[92:96] = changes.to_bytes(4, "big")
        head[28:32] = self._next.to_bytes(4, "big")
        os.pwrite(self._file, head, 0)
        self.close()

    def close(self) -> None:
        """Close the file as it is."""
        self._writer.shutdown(cancel_futures=True)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def append(self, pages: Bytes) -> Integers:
        """Write pages, and return their numbers, from 0."""
        return self.copy(pages, np.arange(len(pages)))

    def copy(self, pages: Bytes, chosen: Integers) -> Integers:
        """Write some of the pages of a shard, and return their new numbers, from 0."""
        numbers = self._reserve(len(chosen))
        self._queued.append((numbers, pages, chosen))
        return numbers

    def write(self, number: int, page: bytes) -> None:
        """Write one page, by its number from 0."""
        self._queued.append((np.array([number]), _as_page(page), np.array([0])))

    def _flush(self, done: Callable[[], None]) -> None:
        """Let another thread write what is queued: here, every call would wait for its turn."""
        queued, self._queued = self._queued, []
        self._writes.append(self._writer.submit(self._write_all, queued, done))

    def _write_all(
        self, queued: list[tuple[Integers, Bytes, Integers]], done: Callable[[], None]
    ) -> None:
        for numbers, pages, chosen in queued:
            for first in range(0, len(chosen), _BATCH_PAGES):
                batch = slice(first, first + _BATCH_PAGES)
                self._write(numbers[batch], pages, chosen[batch])
        done()

    def _write(self, numbers: Integers, pages: Bytes, chosen: Integers) -> None:
        """Write pages to consecutive numbers, or on both sides of the page of the lock byte."""
        together = self._scratch[: len(chosen)]
        np.take(pages, chosen, axis=0, out=together)
        at = int(np.searchsorted(numbers, _LOCK_BYTE // self.header.page_size))
        for part, start in ((together[:at], 0), (together[at:], at)):
            data = part.reshape(-1).data
            offset = int(numbers[start]) * self.header.page_size if data else 0
            while data:
                written = os.pwrite(self._file, data, offset)
                data, offset = data[written:], offset + written

    def _wait(self, most: int) -> None:
        """Wait until no more than so many writes are under way, and raise what went wrong."""
        while len(self._writes) > most:
            self._writes.popleft().result()

    def _reserve(self, count: int) -> Integers:
        """Return the next page numbers; the page of the lock byte is left out."""
        numbers = np.arange(self._next, self._next + count, dtype=np.int64)
        lock_page = _LOCK_BYTE // self.header.page_size
        numbers[numbers >= lock_page] += self._next <= lock_page
        if count:
            self._next = int(numbers[-1]) + 1
        return numbers

    def _renumber(self, shard: Dissected) -> None:
        """Write overflow pages, and point at them by their numbers in the output."""
        chain = shard.chain
        if not len(chain):
            return
        numbers = self._reserve(len(chain))
        new = np.zeros(len(shard.pages) + 1, np.int64)
        new[chain + 1] = numbers + 1
        links = np.concatenate([shard.pointers, chain * shard.header.page_size])
        targets = new[_Cells(shard).long(links)]
        for place, shift in enumerate((24, 16, 8, 0)):
            shard.data[links + place] = (targets >> shift) & 0xFF
        self._queued.append((numbers, shard.pages, chain))


def _find_chains(
    shard: _Shard, segments: list[_Segment], others: list[_Segment]
) -> tuple[list[Integers], Integers]:
    """Return where overflow chains of each of `segments` start, and the pages that all take.

    What is in no tree and not free is in a chain, so leaves are read only as long as there are
    pages to account for: those of the smallest trees first.
    """
    taken = np.concatenate([each.pages for each in (*segments, *others)])
    if len(np.unique(taken)) < len(taken):
        raise ValueError("two trees share a page")
    missing = len(shard.pages) - _free_pages(shard) - _schema_pages(shard) - len(taken)
    pointers = [_NONE] * len(segments)
    chains = [_NONE]
    numbered = [*enumerate(segments), *((-1, each) for each in others)]
    for number, segment in sorted(numbered, key=lambda each: len(each[1].pages)):
        if missing == 0:
            break
        starts = _chain_starts(shard, segment)
        chain = _follow(shard, starts)
        missing -= len(chain)
        if number >= 0:
            pointers[number] = starts
            chains.append(chain)
    whole = np.concatenate(chains)
    # What is missing now belongs to the schema, whose own chains nobody needs.
    if missing < 0 or len(np.unique(whole)) < len(whole):
        raise ValueError("two rows share a page")
    return pointers, whole


def _chain_starts(shard: _Shard, segment: _Segment) -> Integers:
    cells = _Cells(shard)
    starts = [segment.overflow]
    for first in range(0, len(segment.leaves), _BATCH_PAGES):
        found, _ = cells.locate(segment.leaves[first : first + _BATCH_PAGES], _LEAF_HEADER)
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

    def add(self, shard: _Shard, part: _Part) -> None:
        """Append a tree of a shard."""
        if not part.tail:
            return
        if len(part.lengths):
            first = self._close_tail(shard, part)
            if first < len(part.leaves):
                skipped = int(part.lengths[:first].sum())
                self._push(
                    self._grafting.copy(shard.pages, part.leaves[first:]),
                    part.separators[skipped:],
                    part.lengths[first:],
                )
        self._tail += part.tail
        self._pack()

    def finish(self) -> None:
        if self._level is None:
            self._grafting.write(self._root, _leaf(self._tail, self._grafting.header))
            return
        page = _leaf(self._tail, self._grafting.header)
        (number,) = self._grafting.append(_as_page(page))
        self._level.finish(int(number), self._root)

    def _close_tail(self, shard: _Shard, part: _Part) -> int:
        """End the leaf before a tree; return how many leaves of the tree it took along."""
        if len(self._tail) > 1:
            separator = self._tail.pop()
            self._end_leaf(self._tail, separator)
            self._tail = []
        elif self._tail:
            # Giving up its only cell would leave an empty leaf, which is malformed.
            self._tail += _cells_of(shard, int(part.leaves[0]))
            self._pack()
            self._end_leaf(self._tail, part.separators[: part.lengths[0]].tobytes())
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

    def _end_leaf(self, cells: list[bytes], separator: bytes) -> None:
        (number,) = self._grafting.append(_as_page(_leaf(cells, self._grafting.header)))
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
        if self._pending > 8 * self._room:
            self._emit(keep=True)

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
        (number,) = self._grafting.append(_as_page(page))
        self._above.finish(int(number), root)

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
            numbers = self._grafting.append(
                np.frombuffer(b"".join(pages), np.uint8).reshape(len(pages), -1)
            )
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


def _as_page(page: bytes) -> Bytes:
    return np.frombuffer(page, np.uint8).reshape(1, -1)


def _room(cell: bytes) -> int:
    """Return the bytes that a cell takes in a leaf, its pointer included."""
    return max(len(cell), _SMALLEST_CELL) + 2


def _cells_of(shard: _Shard, page: int) -> list[bytes]:
    """Return the cells of a leaf."""
    cells = _Cells(shard)
    places, _ = cells.locate(np.array([page], np.int64), _LEAF_HEADER)
    lengths, _ = cells.measure(places)
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
    head = struct.pack(">BHHHB", _LEAF, 0, len(cells), start & 0xFFFF, 0)
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
