"""Splice: trees of one database are put into those of another, where their keys belong.

The database that comes was made so that its leaves and overflow pages have numbers behind the end
of the other (`Splice` says how), so its bytes are copied there as they are. Then nobody sees them
yet. What is made anew of the other tree is one path from the root to a leaf for each place at which
something is put in: the leaf is cut there, and what comes is put between its halves.

Pages behind the old end are written at once. Those that were there are not touched: `Splice.finish`
returns how they have to look, and who calls it lets all of them change at once.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from farm_merge.merge.pages.cells import (
    INTERIOR,
    INTERIOR_HEADER,
    LEAF,
    LEAF_HEADER,
    NONE,
    Pages,
    Spans,
)
from farm_merge.merge.pages.join import GrowingTree, Level
from farm_merge.merge.pages.transplant import Branch, lock_page, write_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from farm_merge.merge.pages.cells import Bytes, Integers
    from farm_merge.merge.pages.header import Header

__all__ = ["Run", "Splice"]

_TEXT = 13
"""The serial type of the empty text; that of one with n bytes is 2 n more (section 2.1)."""


class Run(NamedTuple):
    """Keys that follow each other in what comes, and have nothing between them where they go.

    Attributes:
        first: The first text of the first key.
        last: That of the last.
    """

    first: bytes
    last: bytes


@dataclass(frozen=True, slots=True)
class _Page:
    """A page of an index b-tree.

    Attributes:
        cells: Its cells, in order, without their left children.
        children: The pages below it, one more than cells; none of a leaf.
    """

    cells: list[bytes]
    children: list[int]


class Splice:
    """Puts trees into a database that others only read meanwhile.

    Args:
        output: The database, open for reading and writing; it is written behind its end.
        addition: The database that comes, open for reading. All of its pages with numbers of the
            other's, except the roots of its trees, belong to its schema or to nothing; the others
            are in `output` already.
        before: The header of the output.
        coming: The header of the addition.
    """

    def __init__(self, output: int, addition: int, before: Header, coming: Header) -> None:
        self.header = before
        self._output = output
        self._addition = addition
        self._total = coming.pages
        self._changed: dict[int, bytes] = {}
        """Pages of the output as it was, by their numbers from 0, as they have to be."""
        self._spare = self._of_addition(_free_pages(addition, coming))
        """Pages that were copied, or replaced, and are in no tree."""
        self._written: dict[int, int] = {}
        """The pages that were written for a tree, and how many cells each has."""
        self._wanted = 0
        """How many cells they must have together."""

    def insert(self, root: int, coming: int, runs: Sequence[Run]) -> None:
        """Put a tree into one of the output.

        Args:
            root: The root in the output, from 1.
            coming: The root in the addition, from 1.
            runs: All of its keys, in their order.

        Raises:
            ValueError: If the keys do not go where the runs say, or the pages are not as they
                should be.
        """
        tree = _Coming(self._addition, self.header, coming - 1)
        parts = [(run, list(tree.between(run))) for run in runs]
        self._written, self._wanted = {}, tree.count(branch for _, it in parts for branch in it)
        self._of_addition(tree.kept)
        self._spare += self._of_addition(tree.given_up)
        page = self._replaced(root - 1)
        if page.children:
            level = Level(self)
            level.finish(self._rebuild_below(page, parts, level), root - 1)
        else:
            whole = GrowingTree(self, root)
            for branch in _cut(page, parts):
                whole.add(branch)
            whole.finish()
        if sum(self._written.values()) != self._wanted:
            raise ValueError("rows are missing in what was made")

    def finish(self) -> dict[int, bytes]:
        """Return the pages that have to change in the output, by their numbers from 0."""
        head = bytearray(_pread(self._output, 0, self.header.page_size))
        first, count = struct.unpack_from(">II", head, 32)
        listed = self.header.usable // 4 - 2
        spare, self._spare = self._spare, []
        for at in range(0, len(spare), listed + 1):  # a trunk and its pages (section 1.5)
            trunk, *pages = spare[at : at + listed + 1]
            numbers = [first, len(pages), *(page + 1 for page in pages)]
            content = struct.pack(f">{len(numbers)}I", *numbers)
            self.write(trunk, content.ljust(self.header.page_size, b"\0"))
            first = trunk + 1
        changes = int.from_bytes(head[24:28], "big") + 1
        head[24:28] = head[92:96] = (changes & 0xFFFFFFFF).to_bytes(4, "big")
        struct.pack_into(">III", head, 28, self._total, first, count + len(spare))
        return {0: bytes(head), **self._changed}

    def append(self, *pages: bytes) -> Integers:
        """Write pages that are in no tree of the output as it was, and return their numbers."""
        numbers = [self._spare.pop() if self._spare else self._behind() for _ in pages]
        for number, page in zip(numbers, pages, strict=True):
            self.write(number, page)
        return np.array(numbers, np.int64)

    def write(self, number: int, page: bytes) -> None:
        """Write a page behind the old end, or keep it until all change."""
        self._written[number] = int.from_bytes(page[3:5], "big")
        if number < self.header.pages:
            self._changed[number] = page
        else:
            write_at(self._output, page, number * self.header.page_size)

    def read_cells(self, number: int) -> list[bytes]:
        """Return the cells of a leaf that was written, or copied; another takes its place."""
        return self._read(number).cells if number in self._written else self._replaced(number).cells

    def _replaced(self, number: int) -> _Page:
        """Return a page whose cells have to be in others."""
        page = self._read(number)
        self._wanted += len(page.cells)
        return page

    def _of_addition(self, pages: list[int]) -> list[int]:
        """Return pages of the addition that were copied.

        Raises:
            ValueError: If there are others.
        """
        if not all(self.header.pages <= page < self._total for page in pages):
            raise ValueError("a page is not where it can be copied from")
        return pages

    def _behind(self) -> int:
        self._total += self._total == lock_page(self.header.page_size)
        self._total += 1
        return self._total - 1

    def _read(self, number: int) -> _Page:
        data = self._changed.get(number)
        (page,) = _parsed(data or _pread_page(self._output, self.header, number), self.header)
        return page

    def _rebuild(self, number: int, parts: _Parts, above: Level) -> int:
        """Put runs below a page; push what takes its place but the last page, and return that."""
        page = self._replaced(number)
        if page.children:
            level = Level(self, above)
            level.end(self._rebuild_below(page, parts, level), number)
            return number
        tree = GrowingTree(self, number + 1, above)
        for branch in _cut(page, parts):
            tree.add(branch)
        last = tree.end(above, number)
        if last != number:
            self._spare.append(number)
        return last

    def _rebuild_below(self, page: _Page, parts: _Parts, level: Level) -> int:
        """Put runs below an interior page; fill its level, but for the last page, and return it."""
        keys = _Keys(page.cells)
        done = 0
        last = page.children[-1]
        for place, found in _by_place(keys, parts):
            level.push(*_children(page, done, place))
            child = self._rebuild(page.children[place], found, level)
            if place == len(page.cells):
                return child
            cell = page.cells[place]
            level.push(np.array([child]), np.frombuffer(cell, np.uint8), np.array([len(cell)]))
            done = place + 1
        level.push(*_children(page, done, len(page.cells)))
        return last


_Parts = list[tuple[Run, list[Branch]]]


class _Coming:
    """A tree of the addition.

    Attributes:
        kept: Its leaves that become leaves of the output's tree.
    """

    def __init__(self, addition: int, header: Header, root: int) -> None:
        self._addition = addition
        self._header = header
        self._root = root
        self.kept: list[int] = []
        self._read: dict[int, _Page] = {}

    @property
    def given_up(self) -> list[int]:
        """The pages of it that the output's tree does not have, once all runs were taken."""
        kept = {self._root, *self.kept}
        return [page for page in self._read if page not in kept]

    def count(self, taken: Iterable[Branch]) -> int:
        """Return how many cells all runs have, besides those in leaves that are kept.

        Args:
            taken: All runs.

        Raises:
            ValueError: If they are not all rows of the tree.
        """
        count = sum(len(branch.lengths) + len(branch.tail) for branch in taken)
        if not self._read:  # nobody took anything
            root = self._read_all([self._root])
            if root.cells or root.children:
                raise ValueError("rows are in no run")
            return 0
        kept = set(self.kept)
        pages = {number: page for number, page in self._read.items() if number not in kept}
        children = sum(len(page.children) for page in pages.values())
        if children != len(pages) - 1 + len(self.kept):
            raise ValueError("pages with rows are in no run")
        if count != sum(len(page.cells) for page in pages.values()):
            raise ValueError("rows are in no run")
        return count

    def between(self, run: Run) -> Iterator[Branch]:
        """Yield the rows of a run, in their order, as leaves and as loose cells."""
        yield from self._between(self._root, run.first, run.last, None)

    def _between(
        self, number: int, first: bytes | None, last: bytes | None, follower: bytes | None
    ) -> Iterator[Branch]:
        """Yield the rows of a page, and what is below, with the cell that follows.

        Args:
            number: The page.
            first: The least key; None if all are larger.
            last: The greatest key; None if all are less.
            follower: The cell; None if it is not wanted.
        """
        page = self._read.get(number) or self._read_all([number])
        keys = _Keys(page.cells)
        start = 0 if first is None else bisect_left(keys, first)
        end = len(keys) if last is None else bisect_right(keys, last)
        after = [] if follower is None else [follower]
        if not page.children:
            yield _loose([*page.cells[start:end], *after])
            return
        if self._is_leaf(page.children[0]):
            yield from self._leaves(page, start, end, first, last, follower)
            return
        self._read_all(page.children[start : end + 1])
        for place in range(start, end + 1):
            yield from self._between(
                page.children[place],
                first if place == start else None,
                last if place == end else None,
                page.cells[place] if place < end else follower,
            )

    def _leaves(
        self,
        page: _Page,
        start: int,
        end: int,
        first: bytes | None,
        last: bytes | None,
        follower: bytes | None,
    ) -> Iterator[Branch]:
        """Yield leaves below a page: whole ones, and the cells of those at the ends of a run."""
        ends = [*page.cells[:end], follower]
        if first is not None:
            yield from self._between(
                page.children[start], first, last if start == end else None, ends[start]
            )
            start += 1
        whole = end + 1 if last is None and follower is not None else end
        if start < whole:
            leaves, cells = page.children[start:whole], ends[start:whole]
            self.kept += leaves
            yield _branch(leaves, [cell for cell in cells if cell is not None])
        if max(start, whole) == end:
            yield from self._between(page.children[end], None, last, follower)

    def _read_all(self, numbers: list[int]) -> _Page:
        """Read pages of one level, all at once since there are many; return the first."""
        data = b"".join(_pread_page(self._addition, self._header, number) for number in numbers)
        pages = _parsed(data, self._header)
        self._read.update(zip(numbers, pages, strict=True))
        return pages[0]

    def _is_leaf(self, number: int) -> bool:
        return _pread(self._addition, number * self._header.page_size, 1)[0] == LEAF


class _Keys:
    """The keys of cells, each read when it is asked for."""

    def __init__(self, cells: Sequence[bytes]) -> None:
        self._cells = cells

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, number: int) -> bytes:
        return _first_text(self._cells[number])


def _cut(page: _Page, parts: _Parts) -> Iterator[Branch]:
    """Yield the rows of a leaf with runs between them."""
    done = 0
    for place, found in _by_place(_Keys(page.cells), parts):
        yield _loose(page.cells[done:place])
        for _, branches in found:
            yield from branches
        done = place
    yield _loose(page.cells[done:])


def _by_place(keys: _Keys, parts: _Parts) -> Iterator[tuple[int, _Parts]]:
    """Yield before which keys runs belong, and which.

    Raises:
        ValueError: If a key lies within a run.
    """
    found: _Parts = []
    at = -1
    for run, branches in parts:
        place = bisect_left(keys, run.first)
        if place < len(keys) and keys[place] <= run.last:
            raise ValueError("rows of the output lie between those that come")
        if found and place != at:
            yield at, found
            found = []
        at = place
        found.append((run, branches))
    if found:
        yield at, found


def _children(page: _Page, start: int, end: int) -> tuple[Integers, Bytes, Integers]:
    """Return some of the pages below a page, with the cells that follow them."""
    branch = _branch(page.children[start:end], page.cells[start:end])
    return branch.leaves, branch.separators, branch.lengths


def _branch(leaves: list[int], cells: list[bytes]) -> Branch:
    lengths = np.fromiter(map(len, cells), np.int64, len(cells))
    separators = np.frombuffer(b"".join(cells), np.uint8)
    return Branch(np.array(leaves, np.int64), separators, lengths, [])


def _loose(cells: list[bytes]) -> Branch:
    return Branch(NONE, np.zeros(0, np.uint8), NONE, cells)


def _parsed(data: bytes, header: Header) -> list[_Page]:
    """Read pages of one level.

    Raises:
        ValueError: If they are none of an index b-tree.
    """
    pages = Pages(np.frombuffer(data, np.uint8), header)
    numbers = np.arange(len(pages))
    kind, *others = set(pages.types(numbers).tolist())
    if others or kind not in {INTERIOR, LEAF}:
        raise ValueError("a page is of another type than its neighbours")
    is_leaf = kind == LEAF
    starts, counts = pages.locate(numbers, LEAF_HEADER if is_leaf else INTERIOR_HEADER)
    payloads = starts if is_leaf else starts + 4
    cells = pages.copy(Spans(payloads, pages.measure(payloads)[0]))
    ends = np.cumsum(counts).tolist()
    by_page = [cells[start:end] for start, end in pairwise([0, *ends])]
    if is_leaf:
        return [_Page(found, []) for found in by_page]
    if not all(by_page):
        raise ValueError("an interior page is empty")
    left, right = (pages.numbers(starts) - 1).tolist(), (pages.right_children(numbers) - 1).tolist()
    return [
        _Page(found, [*left[start:end], last])
        for found, (start, end), last in zip(by_page, pairwise([0, *ends]), right, strict=True)
    ]


def _first_text(cell: bytes) -> bytes:
    """Return the first value of a record (section 2.1).

    Raises:
        ValueError: If it is no text, or not all of it is in the cell.
    """
    size, record = _varint(cell, 0)
    header, at = _varint(cell, record)
    kind, _ = _varint(cell, at)
    start, length = record + header, (kind - _TEXT) // 2
    kept = len(cell) - record
    if size > kept:
        kept -= 4  # the number of an overflow page
    if kind < _TEXT or not kind % 2 or header + length > kept:
        raise ValueError("a key does not begin with a text")
    return cell[start : start + length]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a varint of less than nine bytes, and where it ends."""
    value = 0
    while True:
        byte = data[at]
        value, at = (value << 7) | (byte & 0x7F), at + 1
        if byte < 0x80:  # noqa: PLR2004
            return value, at


def _free_pages(database: int, header: Header) -> list[int]:
    """Return the pages on the freelist of a database, from 0 (section 1.5)."""
    trunk = int.from_bytes(_pread(database, 32, 4), "big")
    free: list[int] = []
    while trunk:
        content = _pread_page(database, header, trunk - 1)
        following, count = struct.unpack_from(">II", content)
        free += [trunk - 1, *(page - 1 for page in struct.unpack_from(f">{count}I", content, 8))]
        trunk = following
    return free


def _pread_page(descriptor: int, header: Header, number: int) -> bytes:
    return _pread(descriptor, number * header.page_size, header.page_size)


def _pread(descriptor: int, offset: int, size: int) -> bytes:
    """Return some bytes of a file.

    Raises:
        ValueError: If it ends before.
    """
    data = os.pread(descriptor, size, offset)
    if len(data) < size:
        raise ValueError("a page number points outside of the file")
    return data
