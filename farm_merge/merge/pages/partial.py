"""Partial pages: a file that is larger than what should be in memory.

Every page has its place in memory, but the system gives memory only to places that were written. So
the code that takes shards apart finds each page where it would be, and needs few of them: interior
pages, one in a hundred, and the leaves that it changes. All others pass by, in the order in which
they are in the file. It is not mapped, since a mapped file that shrinks kills the process.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np

from farm_merge.merge.pages.cells import (
    INTERIOR,
    INTERIOR_HEADER,
    TABLE_INTERIOR,
    TABLE_LEAF,
    Pages,
)
from farm_merge.merge.pages.transplant import read_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from farm_merge.merge.pages.cells import Bytes, Integers
    from farm_merge.merge.pages.header import Header

__all__ = ["PartialPages"]

_CHUNK_BYTES = 4 << 20

_NEAR_PAGES = 64
"""Pages with less between them are read together."""

_FLAGS = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0)


class PartialPages(Pages):
    """Pages of a file of which few are in memory.

    Args:
        descriptor: The file, open as long as this is used.
        header: Its header.
        most_bytes: Of pages that may be in memory.
        update: Called with all bytes of the file in turn.

    Raises:
        ValueError: If more pages would have to be in memory, or the file ends early.
    """

    def __init__(
        self,
        descriptor: int,
        header: Header,
        most_bytes: int,
        update: Callable[[memoryview], object],
    ) -> None:
        self._descriptor = descriptor
        self._most_pages = most_bytes // header.page_size
        self._present = np.zeros(header.pages, bool)
        memory = mmap.mmap(-1, header.size_bytes, flags=_FLAGS)
        self._memory = memory
        heads = np.empty((header.pages, INTERIOR_HEADER), np.uint8)
        super().__init__(np.frombuffer(memory, np.uint8), header, heads)
        each = max(1, _CHUNK_BYTES // header.page_size)
        for first in range(0, header.pages, each):
            chunk = self._read(first, min(each, header.pages - first))
            update(chunk.reshape(-1).data)
            heads[first : first + len(chunk)] = chunk[:, :INTERIOR_HEADER]
            kept = np.isin(chunk[:, 0], (INTERIOR, TABLE_INTERIOR, TABLE_LEAF))
            kept[0] |= first == 0  # the first page starts with the header of the file
            self._keep(first + np.flatnonzero(kept), chunk[kept])

    def need(self, pages: Integers) -> None:
        """See that pages are in `data`, by their numbers from 0."""
        missing = np.sort(pages[~self._present[pages]])
        for span in _spans(missing):
            chunk = self._read(int(span[0]), int(span[-1] - span[0]) + 1)
            self._keep(span, chunk[span - span[0]])

    def release(self, pages: Integers) -> None:
        """Let pages go that were needed, and that are as they were."""
        size = self.header.page_size
        if size % mmap.PAGESIZE:
            return  # what the system would take back holds others too
        for page in pages[self._present[pages]].tolist():
            self._memory.madvise(mmap.MADV_DONTNEED, page * size, size)
        self._present[pages] = False

    def reading_order(self, pages: Integers) -> Integers:
        """Return the order in which pages are best gathered, as an index of their numbers."""
        return np.argsort(pages)

    def gather(self, pages: Integers, together: Bytes) -> None:
        """Copy pages, by their numbers from 0, into an array with a row for each."""
        order = np.argsort(pages)
        at = 0
        for span in _spans(pages[order]):
            chunk = self._read(int(span[0]), int(span[-1] - span[0]) + 1)
            together[order[at : at + len(span)]] = chunk[span - span[0]]
            at += len(span)
        present = self._present[pages]
        together[present] = self.by_page()[pages[present]]

    def _keep(self, numbers: Integers, pages: Bytes) -> None:
        self.by_page()[numbers] = pages
        self._present[numbers] = True
        if np.count_nonzero(self._present) > self._most_pages:
            raise ValueError("too much of a large file would have to be in memory")

    def _read(self, first: int, count: int) -> Bytes:
        size = self.header.page_size
        pages = np.empty((count, size), np.uint8)
        if read_at(self._descriptor, pages.reshape(-1).data, first * size) < pages.size:
            raise ValueError("the file ends early")
        return pages


def _spans(pages: Integers) -> Iterator[Integers]:
    """Yield ascending page numbers by those that are near each other."""
    if len(pages):
        yield from np.split(pages, np.flatnonzero(np.diff(pages) > _NEAR_PAGES) + 1)
