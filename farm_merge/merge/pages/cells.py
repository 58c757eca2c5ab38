"""Cells: where they are in pages, how long they are, and pages that are made of them.

A page of a b-tree has a header, then an array of pointers to its cells in the order of their keys,
and somewhere behind them the cells (section 1.6):

    offset  bytes  header of a page
    0       1      type: 2 interior, 10 leaf of an index b-tree; 5 and 13 of one with rowids
    1       2      first freeblock
    3       2      number of cells
    5       2      start of the cells; 0 for 65536
    7       1      bytes in fragments too small for a freeblock
    8       4      right child; interior pages alone

    bytes   cell of an index b-tree
    4       left child; interior pages alone
    varint  size of the payload, which is a record: a row, or a key
    …       the payload, or what of it is kept in the page
    4       first page of the overflow chain, where there is one

Python would look at some ten thousand cells of a shard one by one; NumPy looks at them all at once.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from farm_merge.merge.pages.header import Header

__all__ = [
    "INTERIOR",
    "INTERIOR_HEADER",
    "LEAF",
    "LEAF_FIELDS",
    "LEAF_HEADER",
    "NONE",
    "NOWHERE",
    "SMALLEST_CELL",
    "TABLE_INTERIOR",
    "TABLE_LEAF",
    "Bytes",
    "Integers",
    "Pages",
    "Spans",
    "interior_cells",
    "interior_page",
    "leaf_page",
    "leaf_room",
    "put_numbers",
]

Bytes: TypeAlias = "NDArray[np.uint8]"
Integers: TypeAlias = "NDArray[np.int64]"

INTERIOR, LEAF, TABLE_INTERIOR, TABLE_LEAF = 0x02, 0x0A, 0x05, 0x0D
INTERIOR_HEADER, LEAF_HEADER = 12, 8
LEAF_FIELDS = struct.Struct(">BHHHB")
SMALLEST_CELL = 4
"""SQLite gives every cell at least the room of a freeblock."""

_INTERIOR_FIELDS = struct.Struct(">BHHHBI")
_LONGEST_VARINT = 5
"""A varint may have nine bytes, but the size of a payload is less than 2 to the 31."""

_SHIFTS = (24, 16, 8, 0)

NONE: Integers = np.zeros(0, np.int64)


class Spans(NamedTuple):
    """Parts of a file.

    Attributes:
        starts: Where they start.
        lengths: How many bytes they have.
    """

    starts: Integers
    lengths: Integers

    def places(self) -> Integers:
        """Return where all of their bytes are, part by part."""
        ends = np.cumsum(self.lengths)
        places: Integers = np.repeat(self.starts - (ends - self.lengths), self.lengths)
        places += np.arange(len(places))
        return places


NOWHERE = Spans(NONE, NONE)


class Pages:
    """Pages in memory, and the cells that are in many of them.

    Args:
        data: All bytes of the pages, one page after the other.
        header: The header of their file.
        heads: The headers of the pages, where `data` does not have them all.
    """

    def __init__(self, data: Bytes, header: Header, heads: Bytes | None = None) -> None:
        self.data = data
        self.header = header
        self._page_size = header.page_size
        pages = len(data) // self._page_size
        whole = data[: pages * self._page_size].reshape(pages, self._page_size)
        self._heads = whole if heads is None else heads
        # Section 1.6: a payload of more than `most` bytes goes on in an overflow chain, and of it
        # at least `least` bytes are kept.
        self._usable = header.usable
        self._most = (header.usable - 12) * 64 // 255 - 23
        self._least = (header.usable - 12) * 32 // 255 - 23

    def __len__(self) -> int:
        return len(self.data) // self._page_size

    def by_page(self) -> Bytes:
        """Return the bytes with a row for every page."""
        return self.data.reshape(-1, self._page_size)

    def need(self, pages: Integers) -> None:
        """See that pages are in `data`, by their numbers from 0."""

    def release(self, pages: Integers) -> None:
        """Let pages go that were needed, and that are as they were."""

    def reading_order(self, pages: Integers) -> Integers:
        """Return the order in which pages are best gathered, as an index of their numbers."""
        return np.arange(len(pages))

    def gather(self, pages: Integers, together: Bytes) -> None:
        """Copy pages, by their numbers from 0, into an array with a row for each."""
        # The numbers were checked; mode="raise" would copy once more.
        np.take(self.by_page(), pages, axis=0, out=together, mode="clip")

    def types(self, pages: Integers, offset: int = 0) -> Bytes:
        """Return the type of each page.

        Args:
            pages: Page numbers, from 0.
            offset: Where their headers start: at 100 in the first page of a file, else at 0.
        """
        return self.data[pages * self._page_size + offset] if offset else self._heads[pages, 0]

    def cell_counts(self, pages: Integers, offset: int = 0) -> Integers:
        """Return how many cells each page claims to have; arguments as for `types`."""
        if offset:
            return self._short(pages * self._page_size + offset + 3)
        counts: Integers = (self._heads[pages, 3].astype(np.int64) << 8) | self._heads[pages, 4]
        return counts

    def right_children(self, pages: Integers, offset: int = 0) -> Integers:
        """Return the right child of interior pages, from 1; arguments as for `types`."""
        return self.numbers(pages * self._page_size + offset + 8)

    def locate(
        self, pages: Integers, header_bytes: int, offset: int = 0
    ) -> tuple[Integers, Integers]:
        """Return where the cells of pages start in the file, in order, and how many a page has.

        Args:
            pages: Page numbers, from 0.
            header_bytes: Of each page.
            offset: Where those headers start, as for `types`.

        Raises:
            ValueError: If cells are not where cells can be.
        """
        counts = self.cell_counts(pages, offset)
        first = header_bytes + offset
        if np.any(first + 2 * counts > self._usable):
            raise ValueError("a page claims more cells than it can hold")
        starts = np.repeat(pages * self._page_size, counts)
        number = np.arange(len(starts)) - np.repeat(np.cumsum(counts) - counts, counts)
        pointers = self._short(starts + first + 2 * number)
        if np.any(pointers < first) or np.any(pointers > self._usable - SMALLEST_CELL):
            raise ValueError("a cell lies outside of its page")
        return starts + pointers, counts

    def measure(self, cells: Integers) -> tuple[Integers, NDArray[np.bool_]]:
        """Return the length of cells in their pages, and whether an overflow chain goes on.

        Args:
            cells: Where they start in the file; those of interior pages behind the left child.

        Raises:
            ValueError: If cells are larger than their pages, or than SQLite allows.
        """
        size, width = self._payload_sizes(cells)
        spills = size > self._most
        kept = self._least + (size - self._least) % (self._usable - 4)
        local = np.where(spills, np.where(kept <= self._most, kept, self._least), size)
        lengths = width + local + 4 * spills
        if np.any(cells % self._page_size + lengths > self._usable):
            raise ValueError("a cell reaches beyond its page")
        if lengths.sum() > len(self.data):  # copies of them would fill the memory
            raise ValueError("cells overlap")
        return lengths, spills

    def numbers(self, places: Integers) -> Integers:
        """Return the big-endian numbers of four bytes at places of the file."""
        return (self._short(places) << 16) | self._short(places + 2)

    def copy(self, spans: Spans) -> list[bytes]:
        """Return the bytes of each span."""
        return [
            self.data[start : start + length].tobytes()
            for start, length in zip(spans.starts.tolist(), spans.lengths.tolist(), strict=True)
        ]

    def _payload_sizes(self, cells: Integers) -> tuple[Integers, Integers]:
        """Return the varints at the start of cells, and how many bytes each has."""
        size = np.zeros(len(cells), np.int64)
        width = np.zeros(len(cells), np.int64)
        going = np.ones(len(cells), bool)
        for place in range(_LONGEST_VARINT):
            if not going.any():
                break
            byte = self._byte(cells + place)
            size = np.where(going, (size << 7) | (byte & 0x7F), size)
            width += going
            going &= byte >= 0x80  # noqa: PLR2004
        if going.any():
            raise ValueError("a row is larger than SQLite allows")
        return size, width

    def _short(self, places: Integers) -> Integers:
        return (self._byte(places) << 8) | self._byte(places + 1)

    def _byte(self, places: Integers) -> Integers:
        # A damaged cell at the end of the last page may seem to reach beyond the file.
        return self.data.take(places, mode="clip").astype(np.int64)


def put_numbers(data: Bytes, places: Integers, numbers: Integers) -> None:
    """Write big-endian numbers of four bytes."""
    for place, shift in enumerate(_SHIFTS):
        data[places + place] = (numbers >> shift) & 0xFF


def leaf_room(cell: bytes) -> int:
    """Return the bytes that a cell takes in a leaf, with its pointer."""
    return max(len(cell), SMALLEST_CELL) + 2


def leaf_page(cells: list[bytes], header: Header) -> bytes:
    """Make a leaf of cells."""
    padded = [cell.ljust(SMALLEST_CELL, b"\0") for cell in cells]
    content = b"".join(padded)
    start = header.usable - len(content)
    pointers, place = [], start
    for cell in padded:
        pointers.append(place)
        place += len(cell)
    head = LEAF_FIELDS.pack(LEAF, 0, len(cells), start & 0xFFFF, 0)
    head += struct.pack(f">{len(pointers)}H", *pointers)
    return head.ljust(start, b"\0") + content + bytes(header.reserved)


def interior_cells(children: Integers, separators: Bytes, lengths: Integers) -> Bytes:
    """Make the cells of interior pages.

    Args:
        children: The left child of each, from 0.
        separators: The cells without the child, one after the other.
        lengths: The bytes of each of those.
    """
    ends = np.cumsum(lengths + 4)
    starts = ends - lengths - 4
    cells = np.empty(int(ends[-1]), np.uint8)
    put_numbers(cells, starts, children + 1)
    is_separator = np.ones(len(cells), bool)
    for place in range(4):
        is_separator[starts + place] = False
    cells[is_separator] = separators
    return cells


def interior_page(cells: Bytes, starts: Integers, right: int, header: Header) -> bytes:
    """Make an interior page.

    Args:
        cells: Its cells, one after the other.
        starts: Where each of them starts.
        right: The right child, from 0.
        header: The header of the file.
    """
    start = header.usable - len(cells)
    head = _INTERIOR_FIELDS.pack(INTERIOR, 0, len(starts), start & 0xFFFF, 0, right + 1)
    head += (starts + start).astype(">u2").tobytes()
    return head.ljust(start, b"\0") + cells.tobytes() + bytes(header.reserved)
