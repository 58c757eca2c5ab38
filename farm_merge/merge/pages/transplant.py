"""Transplant: the leaves and overflow pages of a shard are written into the output."""

from __future__ import annotations

import os
from dataclasses import dataclass
from mmap import mmap
from typing import TYPE_CHECKING, Any

import numpy as np

from farm_merge.merge.pages.cells import put_numbers

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from farm_merge.merge.pages.cells import Bytes, Integers, Pages
    from farm_merge.merge.pages.dissect import Dissected
    from farm_merge.merge.pages.header import Header

__all__ = [
    "Branch",
    "PageAllocator",
    "lock_page",
    "read_at",
    "transplant",
    "write_at",
    "write_pages",
]

_LOCK_BYTE = 1 << 30
"""The page that holds this byte stays unused, for the locks of SQLite (sections 1.3.2 and 1.6)."""

_BATCH_PAGES = 256


@dataclass(frozen=True, slots=True)
class Branch:
    """A b-tree of a shard whose leaves are in the output.

    Attributes:
        leaves: The numbers of their pages, from 0, in the order of the keys.
        separators: The cells that follow each of them, one after the other.
        lengths: Of those cells.
        tail: The cells that come then, of a leaf that was not written.
    """

    leaves: Integers
    separators: Bytes
    lengths: Integers
    tail: list[bytes]


class PageAllocator:
    """Gives out the pages behind the end of a file, to several processes or threads.

    Args:
        header: The header of the file.
        lock: What keeps the takers apart: of processes, if they are processes.
    """

    def __init__(self, header: Header, lock: AbstractContextManager[Any]) -> None:
        self._lock = lock
        # Anonymous, so forked processes share it.
        self._next = np.frombuffer(mmap(-1, 8), np.int64)
        self._next[0] = header.pages
        self._lock_page = lock_page(header.page_size)

    @property
    def total(self) -> int:
        """How many pages the file has, with all that were taken."""
        return int(self._next[0])

    def take(self, count: int) -> Integers:
        """Return the next page numbers, from 0; the page of the lock byte is left out."""
        with self._lock:
            first = self.total
            numbers = np.arange(first, first + count, dtype=np.int64)
            if first <= self._lock_page:
                numbers[numbers >= self._lock_page] += 1
            if count:
                self._next[0] = numbers[-1] + 1
        return numbers


def lock_page(page_size: int) -> int:
    """Return the number, from 0, of the page that stays unused."""
    return _LOCK_BYTE // page_size


def transplant(shard: Dissected, descriptor: int, allocator: PageAllocator) -> list[Branch]:
    """Write the leaves of a shard and its overflow pages into the output.

    Args:
        shard: The shard; its bytes are changed where overflow chains get new numbers.
        descriptor: The output, open for writing.
        allocator: Gives out the output's pages.

    Returns:
        The trees of the shard, as they are in the output.
    """
    chosen = [shard.chain, *(tree.leaves for tree in shard.trees)]
    ends = np.cumsum([len(pages) for pages in chosen])
    numbers = allocator.take(int(ends[-1]))
    chain, *leaves = np.split(numbers, ends[:-1])
    _renumber(shard, chain)
    _copy_pages(descriptor, numbers, shard.pages, np.concatenate(chosen))
    data = shard.pages.data
    return [
        Branch(
            own,
            data[tree.separators.places()],
            tree.separators.lengths,
            shard.pages.copy(tree.tail),
        )
        for tree, own in zip(shard.trees, leaves, strict=True)
    ]


def _renumber(shard: Dissected, numbers: Integers) -> None:
    """Let cells and overflow pages point at overflow pages by their numbers in the output."""
    if not len(shard.chain):
        return
    pages = shard.pages
    new = np.zeros(len(pages) + 1, np.int64)
    new[shard.chain + 1] = numbers + 1
    # A page of a chain starts with the number of the next, which is 0 at its end, and stays so.
    links = np.concatenate([shard.pointers, shard.chain * pages.header.page_size])
    put_numbers(pages.data, links, new[pages.numbers(links)])


def _copy_pages(descriptor: int, numbers: Integers, pages: Pages, chosen: Integers) -> None:
    """Write some of the pages of a shard."""
    order = pages.reading_order(chosen)
    numbers, chosen = numbers[order], chosen[order]
    gathered = np.empty((min(_BATCH_PAGES, len(chosen)), pages.header.page_size), np.uint8)
    for first in range(0, len(chosen), _BATCH_PAGES):
        batch = slice(first, first + _BATCH_PAGES)
        together = gathered[: len(chosen[batch])]
        by_number = np.argsort(numbers[batch])
        pages.gather(chosen[batch][by_number], together)
        write_pages(descriptor, numbers[batch][by_number], together)


def write_pages(descriptor: int, numbers: Integers, pages: Bytes) -> None:
    """Write pages.

    Args:
        descriptor: A database, open for writing.
        numbers: Page numbers, from 0, ascending.
        pages: Their bytes, with a row for every page.
    """
    ends = np.append(np.flatnonzero(np.diff(numbers) != 1) + 1, len(numbers))
    start = 0
    for end in ends.tolist():  # those that follow each other together
        if end > start:
            offset = int(numbers[start]) * pages.shape[1]
            write_at(descriptor, pages[start:end].reshape(-1).data, offset)
        start = end


def read_at(descriptor: int, data: memoryview, offset: int) -> int:
    """Fill memory from an offset of a file; return how many bytes there were."""
    at = 0
    while at < len(data) and (count := os.preadv(descriptor, [data[at:]], offset + at)):
        at += count
    return at


def write_at(descriptor: int, data: memoryview | bytes, offset: int) -> None:
    """Write all of some bytes at an offset of a file."""
    left = memoryview(data)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written
