"""Leaves and chains are written where the output has room, and point at each other there."""

from __future__ import annotations

import os
import threading
from multiprocessing import get_context

import numpy as np
import pytest

from farm_merge.merge.pages.dissect import dissect
from farm_merge.merge.pages.transplant import PageAllocator, transplant, write_at, write_pages
from tests.merge.pages.raw import Raw

pytestmark = pytest.mark.usefixtures("reading")


@pytest.fixture
def output(tmp_path):
    descriptor = os.open(tmp_path / "output", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def test_pages_are_given_out_one_after_the_other(make_database):
    header = make_database().header
    allocator = PageAllocator(header, threading.Lock())
    assert allocator.total == header.pages
    assert allocator.take(3).tolist() == [header.pages + number for number in range(3)]
    assert allocator.take(0).tolist() == []
    assert allocator.take(1).tolist() == [header.pages + 3]
    assert allocator.total == header.pages + 4


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
@pytest.mark.parametrize("before", [0, 1, 5])
def test_the_page_of_the_lock_byte_is_left_out(make_database, page_size, before):
    header = make_database(page_size=page_size).header
    allocator = PageAllocator(header, threading.Lock())
    lock_page = 2**30 // page_size
    allocator.take(lock_page - header.pages - before)
    assert allocator.total == lock_page - before
    numbers = allocator.take(before + 2).tolist()
    expected = [*range(lock_page - before, lock_page), lock_page + 1, lock_page + 2]
    assert numbers == expected
    assert allocator.take(1).tolist() == [lock_page + 3]


def test_processes_never_get_the_same_page(make_database):
    context = get_context("fork")
    allocator = PageAllocator(make_database().header, context.Lock())
    first = allocator.total
    queue = context.SimpleQueue()

    def take():
        queue.put([number for _ in range(300) for number in allocator.take(2).tolist()])

    processes = [context.Process(target=take) for _ in range(4)]
    for process in processes:
        process.start()
    numbers = [number for _ in processes for number in queue.get()]
    for process in processes:
        process.join()
    assert sorted(numbers) == list(range(first, first + 2400))
    assert allocator.total == first + 2400


@pytest.mark.parametrize("page_size", [4096, 65536])
def test_pages_around_the_lock_byte_are_written_to_their_places(output, page_size):
    lock_page = 2**30 // page_size
    numbers = np.array([lock_page - 1, lock_page + 1, lock_page + 2])
    pages = np.repeat(np.array([[1], [2], [3]], np.uint8), page_size, axis=1)
    write_pages(output, numbers, pages)
    for number, value in zip((-1, 0, 1, 2), (1, 0, 2, 3), strict=True):
        found = os.pread(output, page_size, (lock_page + number) * page_size)
        assert found == bytes([value]) * page_size


def test_a_write_that_stops_halfway_goes_on(output, monkeypatch):
    """A write to a disk that is nearly full, or of more than two gigabytes, takes only a part."""
    honest = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: honest(file, data[:7], at))
    write_at(output, bytes(range(100)), 50)
    assert os.pread(output, 200, 0) == bytes(50) + bytes(range(100))


def moved(raw, output, *names, first=5000):
    """Transplant trees behind page 5,000 of an output; return the branches and the output."""
    wanted = [raw.roots.get(name, 0) for name in names]
    others = [root for name, root in raw.roots.items() if name not in names]
    shard = dissect(raw.pages(), wanted, others)
    allocator = PageAllocator(raw.header, threading.Lock())
    allocator.take(first - allocator.total)
    branches = transplant(shard, output, allocator)
    written = Raw.__new__(Raw)
    written.header, written.page_size = raw.header, raw.page_size
    written.data = bytearray(os.pread(output, os.fstat(output).st_size, 0))
    assert len(written.data) == allocator.total * raw.page_size
    return branches, written


def test_leaves_are_copied_and_the_cells_between_them_returned(make_database, output):
    raw = make_database({"t": [30] * 3000, "u": [30] * 5, "v": [60] * 700})
    branches, written = moved(raw, output, "t", "missing", "u", "v")
    for name, branch in zip(("t", "missing", "u", "v"), branches, strict=True):
        rows = []
        at = 0
        for leaf, length in zip(branch.leaves.tolist(), branch.lengths.tolist(), strict=True):
            assert leaf >= 5000
            rows += [
                bytes(written.data[c : c + written.length(c)]) for c in written.cells(leaf + 1)
            ]
            rows.append(branch.separators[at : at + length].tobytes())
            at += length
        rows += branch.tail
        cells = raw.rows(raw.roots[name]) if name in raw.roots else []
        assert rows == [bytes(raw.data[cell : cell + raw.length(cell)]) for cell in cells]
    taken = [leaf for branch in branches for leaf in branch.leaves.tolist()]
    assert taken == list(range(5000, 5000 + len(taken)))


def test_overflow_chains_come_along(make_database, output):
    """Those of rows on leaves, between leaves, and in the tail; each page points at the next."""
    sizes = [20, 3000, 700, 20, 20, 5000, 1200] * 40
    raw = make_database({"t": sizes, "u": [4000, 30]})
    branches, written = moved(raw, output, "t", "u")
    for name, branch in zip(("t", "u"), branches, strict=True):
        at = len(written.data)
        cells = []
        written.data += branch.separators.tobytes() + b"".join(branch.tail)
        lengths = branch.lengths.tolist()
        for leaf, length in zip(branch.leaves.tolist(), lengths, strict=True):
            cells += [*written.cells(leaf + 1), at]
            at += length
        for cell in branch.tail:
            cells.append(at)
            at += len(cell)
        before = raw.rows(raw.roots[name])
        assert len(cells) == len(before)
        for old, new in zip(before, cells, strict=True):
            assert text(written, new) == text(raw, old)


def text(raw, cell):
    """Return the whole payload of a cell."""
    size, start, kept = raw.payload(cell)
    chain = map(raw.at, raw.chain(cell))
    parts = [raw.data[at + 4 : at + raw.page_size] for at in chain]
    return b"".join([raw.data[start : start + kept], *parts])[:size]
