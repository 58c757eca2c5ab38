"""Join: the trees of shards become the trees of the output, which are made from left to right.

A tree grows like this. Its leaves are written already, each with the cell that follows it; those
cells become the cells of interior pages, whose children are the leaves. Where an interior page is
full, the next cell moves up, as the cell that follows that page, into the level above; and so on.
What is left in the end in the highest level is the root.

The last leaf of a shard's tree may come as loose cells, its tail. The tails of small trees are
packed into leaves together, so that a thousand small shards do not take a thousand pages a tree.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from farm_merge.merge.pages.cells import (
    INTERIOR_HEADER,
    LEAF_HEADER,
    Pages,
    Spans,
    interior_cells,
    interior_page,
    leaf_page,
    leaf_room,
)
from farm_merge.merge.pages.header import HEADER_BYTES, read_header
from farm_merge.merge.pages.transplant import PageAllocator, write_at, write_pages

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from farm_merge.merge.pages.cells import Bytes, Integers
    from farm_merge.merge.pages.header import Header
    from farm_merge.merge.pages.transplant import Branch

__all__ = ["GrowingFile", "GrowingTree", "Level", "PagedFile"]

_PAGES_AT_ONCE = 32
"""So many interior pages are made together."""

_CHILD_AND_POINTER = 6
"""What a cell takes on an interior page besides its payload: its left child, and its pointer."""


class PagedFile(Protocol):
    """What trees grow in; pages are numbered from 0."""

    @property
    def header(self) -> Header:
        """Its header."""

    def append(self, *pages: bytes) -> Integers:
        """Write pages, and return their numbers."""

    def write(self, number: int, page: bytes) -> None:
        """Write a page."""

    def read_cells(self, number: int) -> list[bytes]:
        """Return the cells of a leaf that was written."""


class GrowingFile:
    """A database whose b-trees grow by those of shards, and that nobody has open.

    Args:
        path: The database: made by SQLite, with empty tables.
        roots: The page numbers of the roots of its b-trees, from 1, by the trees' names.
        lock: What keeps those apart that write leaves.

    Attributes:
        descriptor: The file, open for reading and writing.
        header: Its header, as it was before it grew.
        allocator: Gives out its pages.
    """

    def __init__(
        self, path: Path, roots: Mapping[str, int], lock: AbstractContextManager[Any]
    ) -> None:
        self.descriptor = os.open(path, os.O_RDWR)
        self.header = read_header(os.pread(self.descriptor, HEADER_BYTES, 0))
        self.allocator = PageAllocator(self.header, lock)
        self._trees = {name: GrowingTree(self, root) for name, root in roots.items()}

    def add(self, branches: Mapping[str, Branch]) -> None:
        """Append trees of a shard, which come after all that were added before.

        Args:
            branches: Its trees, by the names that they have in the database.
        """
        for name, branch in branches.items():
            self._trees[name].add(branch)

    def finish(self) -> None:
        """Write what is above the leaves, and the header (section 1.3); close the file."""
        for tree in self._trees.values():
            tree.finish()
        head = bytearray(os.pread(self.descriptor, HEADER_BYTES, 0))
        # The number of pages is valid where the change counter is that for which it was written.
        changes = int.from_bytes(head[24:28], "big") + 1
        head[24:28] = head[92:96] = changes.to_bytes(4, "big")
        head[28:32] = self.allocator.total.to_bytes(4, "big")
        write_at(self.descriptor, bytes(head), 0)
        self.close()

    def close(self) -> None:
        """Close the file as it is."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def append(self, *pages: bytes) -> Integers:
        """Write pages, and return their numbers, from 0."""
        numbers = self.allocator.take(len(pages))
        together = np.frombuffer(b"".join(pages), np.uint8).reshape(len(pages), -1)
        write_pages(self.descriptor, numbers, together)
        return numbers

    def write(self, number: int, page: bytes) -> None:
        """Write a page, by its number from 0."""
        write_at(self.descriptor, page, number * self.header.page_size)

    def read_cells(self, number: int) -> list[bytes]:
        """Return the cells of a leaf that was written, by its number from 0."""
        size = self.header.page_size
        data = os.pread(self.descriptor, size, number * size)
        page = Pages(np.frombuffer(data, np.uint8), self.header)
        starts, _ = page.locate(np.zeros(1, np.int64), LEAF_HEADER)
        lengths, _ = page.measure(starts)
        return page.copy(Spans(starts, lengths))


class GrowingTree:
    """A b-tree of the output, or a part of one.

    Args:
        file: The output.
        root: The number of the root, from 1; of a part, where its last leaf is written.
        level: What is above the leaves, if that is not made for them alone.
    """

    def __init__(self, file: PagedFile, root: int, level: Level | None = None) -> None:
        self._file = file
        self._root = root - 1
        self._room = file.header.usable - LEAF_HEADER
        self._tail: list[bytes] = []
        """The cells of the last leaf, whose right neighbour is not known yet."""
        self._level = level
        """The pages above the leaves; None as long as there is no leaf but the tail."""

    def add(self, branch: Branch) -> None:
        """Append a tree of a shard."""
        if len(branch.leaves):
            first = self._close_tail(branch)
            skipped = int(branch.lengths[:first].sum())
            self._push(branch.leaves[first:], branch.separators[skipped:], branch.lengths[first:])
        self._tail += branch.tail
        self._pack()

    def finish(self) -> None:
        """Write the last leaf, and what is above."""
        if self._level is None:
            self._file.write(self._root, leaf_page(self._tail, self._file.header))
        else:
            self._level.finish(self.end(self._level), self._root)

    def end(self, level: Level, number: int | None = None) -> int:
        """Write the last leaf, and return its number, from 0.

        Args:
            level: What is above it.
            number: Where it is written, if it has to be made.
        """
        if not self._tail:
            # What follows the last separator would be an empty leaf: it goes back.
            number, separator = level.pull()
            self._tail = [*self._file.read_cells(number), separator]
            self._pack()
        return self._put_leaf(self._tail, number)

    def _close_tail(self, branch: Branch) -> int:
        """End the leaf before a tree; return how many leaves of the tree it took along."""
        if len(self._tail) > 1:
            separator = self._tail.pop()
            self._end_leaf(self._tail, separator)
            self._tail = []
        elif self._tail:
            # Giving up its only cell would leave an empty leaf, which is malformed.
            leaf = int(branch.leaves[0])
            self._tail += self._file.read_cells(leaf)
            self._pack()
            self._end_leaf(self._tail, branch.separators[: branch.lengths[0]].tobytes(), leaf)
            self._tail = []
            return 1
        return 0

    def _pack(self) -> None:
        """End leaves while the tail is larger than a page; at least one cell stays in it."""
        while sum(sizes := [leaf_room(cell) for cell in self._tail]) > self._room:
            fitting = bisect_right(list(accumulate(sizes)), self._room)
            number = min(fitting, len(self._tail) - 2)
            self._end_leaf(self._tail[:number], self._tail[number])
            self._tail = self._tail[number + 1 :]

    def _end_leaf(self, cells: list[bytes], separator: bytes, number: int | None = None) -> None:
        """Write a leaf, and the cell that follows it."""
        child = np.array([self._put_leaf(cells, number)])
        self._push(child, np.frombuffer(separator, np.uint8), np.array([len(separator)]))

    def _put_leaf(self, cells: list[bytes], number: int | None) -> int:
        """Write a leaf to a page that is free again, or to a new one; return its number."""
        page = leaf_page(cells, self._file.header)
        if number is None:
            return int(self._file.append(page)[0])
        self._file.write(number, page)
        return number

    def _push(self, children: Integers, separators: Bytes, lengths: Integers) -> None:
        if self._level is None:
            self._level = Level(self._file)
        self._level.push(children, separators, lengths)


class Level:
    """The interior pages of one level, made from left to right (section 1.6).

    Args:
        file: The output.
        above: The level above, if that is not made for this one alone.
    """

    def __init__(self, file: PagedFile, above: Level | None = None) -> None:
        self._file = file
        self._room = file.header.usable - INTERIOR_HEADER
        self._children: list[Integers] = []
        self._separators: list[Bytes] = []
        self._lengths: list[Integers] = []
        self._pending = 0
        """The room that all cells take that are in no page yet, with their pointers."""
        self._above = above

    def push(self, children: Integers, separators: Bytes, lengths: Integers) -> None:
        """Add pages of the level below.

        Args:
            children: Their numbers, from 0.
            separators: The cell that follows each of them, one after the other.
            lengths: The bytes of each of those.
        """
        if len(children):
            self._keep(children, separators, lengths)
        if self._pending > _PAGES_AT_ONCE * self._room:
            self._emit(keep=2)

    def pull(self) -> tuple[int, bytes]:
        """Take the last page back, with the cell that follows it."""
        child, length = int(self._children[-1][-1]), int(self._lengths[-1][-1])
        separator = self._separators[-1][-length:].tobytes()
        self._children[-1] = self._children[-1][:-1]
        self._lengths[-1] = self._lengths[-1][:-1]
        self._separators[-1] = self._separators[-1][:-length]
        self._pending -= length + _CHILD_AND_POINTER
        return child, separator

    def finish(self, last: int, root: int) -> None:
        """End the level with its last page, and make the root.

        Args:
            last: The number of the last page below, from 0.
            root: The number of the page that the root has to be, from 0.
        """
        page = self._last_page(last)
        if self._above is None:
            self._file.write(root, page)
            return
        (number,) = self._file.append(page).tolist()
        self._above.finish(number, root)

    def end(self, last: int, number: int) -> None:
        """End the level with its last page, which is written to a number; both are from 0."""
        self._file.write(number, self._last_page(last))

    def _last_page(self, last: int) -> bytes:
        self._emit(keep=1)
        children, separators, lengths = self._take()
        cells = interior_cells(children, separators, lengths)
        starts = np.cumsum(lengths + 4) - lengths - 4
        return interior_page(cells, starts, last, self._file.header)

    def _take(self) -> tuple[Integers, Bytes, Integers]:
        taken = (
            np.concatenate(self._children),
            np.concatenate(self._separators),
            np.concatenate(self._lengths),
        )
        self._children, self._separators, self._lengths = [], [], []
        self._pending = 0
        return taken

    def _emit(self, keep: int) -> None:
        """Write full pages, until the cells that are left fit into so many; one stays at least."""
        children, separators, lengths = self._take()
        cells = interior_cells(children, separators, lengths)
        starts = np.cumsum(lengths + 4) - lengths - 4
        filled = np.cumsum(lengths + _CHILD_AND_POINTER)
        first, used, pages, moved = 0, 0, [], []
        while filled[-1] - used > keep * self._room:
            # The cells from `first` make a page. The child of the next is its right child, and what
            # is left of that cell moves up.
            end = int(np.searchsorted(filled, used + self._room, side="right"))
            end = min(end, len(children) - 2)
            content = cells[starts[first] : starts[end]]
            pointers = starts[first:end] - starts[first]
            pages.append(interior_page(content, pointers, int(children[end]), self._file.header))
            moved.append(end)
            first, used = end + 1, int(filled[end])
        if pages:
            self._move_up(pages, Spans(starts[moved] + 4, lengths[moved]), cells)
        self._keep(children[first:], separators[int(lengths[:first].sum()) :], lengths[first:])

    def _move_up(self, pages: list[bytes], separators: Spans, cells: Bytes) -> None:
        if self._above is None:
            self._above = Level(self._file)
        numbers = self._file.append(*pages)
        self._above.push(numbers, cells[separators.places()], separators.lengths)

    def _keep(self, children: Integers, separators: Bytes, lengths: Integers) -> None:
        self._children.append(children)
        self._separators.append(separators)
        self._lengths.append(lengths)
        self._pending += int((lengths + _CHILD_AND_POINTER).sum())
