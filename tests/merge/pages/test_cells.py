"""Cells are found and measured as SQLite laid them out; pages that are made hold what was given."""

from __future__ import annotations

import numpy as np
import pytest

from farm_merge.merge.pages.cells import (
    INTERIOR_HEADER,
    LEAF_HEADER,
    Pages,
    Spans,
    interior_cells,
    interior_page,
    leaf_page,
    leaf_room,
    put_numbers,
)
from farm_merge.merge.pages.header import read_header

PAGE_SIZES = [512, 1024, 4096, 65536]


def boundaries(page_size):
    """Return sizes of texts around all at which the form of a cell changes."""
    most, chunk = (page_size - 12) * 64 // 255 - 23, page_size - 4
    near = [0, 1, 100, 110, 118, 119, 120, 121, 122, 123, 124, 125, 126, 127, 128, 129, 130]
    spilled = [most + delta for delta in range(-12, 4)]
    longer = [most + pages * chunk + delta for pages in (1, 2) for delta in range(-12, 4)]
    return [*near, *spilled, *longer, 16_370, 16_384, 16_400]


@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_cells_are_where_sqlite_put_them(make_database, page_size):
    raw = make_database({"t": boundaries(page_size) * 3}, page_size=page_size)
    pages = raw.pages()
    leaves = raw.leaves(raw.roots["t"])
    starts, counts = pages.locate(np.array(leaves) - 1, LEAF_HEADER)
    lengths, spills = pages.measure(starts)
    cells = [cell for leaf in leaves for cell in raw.cells(leaf)]
    assert starts.tolist() == cells
    assert counts.tolist() == [len(raw.cells(leaf)) for leaf in leaves]
    assert lengths.tolist() == [raw.length(cell) for cell in cells]
    assert spills.tolist() == [bool(raw.chain(cell)) for cell in cells]
    assert spills.any()
    assert not spills.all()


@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_lengths_fill_the_pages_that_sqlite_wrote(make_database, page_size):
    """Rows that came in the order of their keys leave no gaps, so lengths add up to the page."""
    raw = make_database({"t": boundaries(page_size) * 3}, page_size=page_size)
    pages = raw.pages()
    for leaf in raw.leaves(raw.roots["t"]):
        lengths, _ = pages.measure(pages.locate(np.array([leaf - 1]), LEAF_HEADER)[0])
        content = raw.number(raw.at(leaf) + 5, 2) or 65536
        if raw.number(raw.at(leaf) + 1, 2) == raw.data[raw.at(leaf) + 7] == 0:
            assert np.maximum(lengths, 4).sum() == page_size - content


def test_numbers_of_four_bytes_are_read_and_written_whole(make_database):
    raw = make_database()
    pages = raw.pages()
    places, numbers = np.array([600, 700]), np.array([0x01020304, 0xFFFE0001])
    put_numbers(pages.data, places, numbers)
    assert bytes(pages.data[600:604]) == b"\1\2\3\4"
    assert pages.numbers(places).tolist() == numbers.tolist()


def test_bytes_of_spans_come_one_after_the_other(make_database):
    raw = make_database()
    pages = Pages(np.arange(512, dtype=np.int64).astype(np.uint8), raw.header)
    spans = Spans(np.array([10, 3, 30]), np.array([2, 0, 3]))
    assert spans.places().tolist() == [10, 11, 30, 31, 32]
    assert pages.copy(spans) == [b"\x0a\x0b", b"", b"\x1e\x1f\x20"]


def damaged(raw, change):
    """Change the first leaf of the table, and return the pages with the place of that leaf."""
    (leaf, *_) = raw.leaves(raw.roots["t"])
    change(raw, leaf)
    return raw.pages(), np.array([leaf - 1])


def claim_cells(raw, leaf):
    raw.put(raw.at(leaf) + 3, (512 - 8) // 2 + 1, 2)


def point_into_the_header(raw, leaf):
    raw.put(raw.pointers(leaf)[1], LEAF_HEADER - 1, 2)


def point_at_the_end(raw, leaf):
    raw.put(raw.pointers(leaf)[1], 512 - 3, 2)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (claim_cells, "a page claims more cells than it can hold"),
        (point_into_the_header, "a cell lies outside of its page"),
        (point_at_the_end, "a cell lies outside of its page"),
    ],
)
def test_cells_that_cannot_be_there_are_refused(make_database, change, match):
    pages, leaf = damaged(make_database(), change)
    with pytest.raises(ValueError, match=match):
        pages.locate(leaf, LEAF_HEADER)


def test_the_last_places_for_cells_are_allowed(make_database):
    def change(raw, leaf):
        raw.put(raw.pointers(leaf)[0], LEAF_HEADER, 2)
        raw.put(raw.pointers(leaf)[1], 512 - 4, 2)

    pages, leaf = damaged(make_database(), change)
    starts, _ = pages.locate(leaf, LEAF_HEADER)
    assert (starts[:2] - leaf * 512).tolist() == [LEAF_HEADER, 512 - 4]


def test_a_page_may_be_full_of_pointers(make_database):
    def change(raw, leaf):
        raw.put(raw.at(leaf) + 3, (512 - 8) // 2, 2)
        for pointer in raw.pointers(leaf):
            raw.put(pointer, 300, 2)

    pages, leaf = damaged(make_database(), change)
    starts, counts = pages.locate(leaf, LEAF_HEADER)
    assert counts.tolist() == [252]
    assert set(starts.tolist()) == {int(leaf[0]) * 512 + 300}


@pytest.mark.parametrize(
    ("size", "match"),
    [
        (b"\xff" * 5, "a row is larger than SQLite allows"),
        (b"\x80\x80\x80\x80\x80", "a row is larger than SQLite allows"),
        (b"\x70", "a cell reaches beyond its page"),
    ],
)
def test_cells_that_are_too_large_are_refused(make_database, size, match):
    raw = make_database({"t": [3] * 5})
    cell = raw.cells(raw.roots["t"])[0]  # the last of the page
    raw.data[cell : cell + len(size)] = size
    with pytest.raises(ValueError, match=match):
        raw.pages().measure(np.array([cell]))


def test_a_size_of_five_bytes_is_read(make_database):
    raw = make_database({"t": [90] * 3})
    cell = raw.cells(raw.roots["t"])[2]
    raw.data[cell : cell + 5] = b"\x80\x80\x80\x80\x02"
    lengths, spills = raw.pages().measure(np.array([cell]))
    assert (lengths.tolist(), spills.tolist()) == ([5 + 2], [False])


def test_a_cell_may_end_with_the_page(make_database):
    raw = make_database({"t": [3] * 5})
    cell = raw.cells(raw.roots["t"])[0]
    lengths, _ = raw.pages().measure(np.array([cell]))
    assert cell % 512 + lengths[0] == 512


def test_a_damaged_cell_at_the_end_of_the_file_is_refused(make_database):
    """Its bytes would be those behind the file."""
    raw = make_database()
    raw.data[-1] = 0xFF
    with pytest.raises(ValueError, match="larger than SQLite allows"):
        raw.pages().measure(np.array([len(raw.data) - 1]))


def test_many_pointers_at_one_large_cell_are_refused(make_database):
    """Each is a cell for SQLite too, until it checks: a copy of all would fill the memory."""
    raw = make_database({"t": [80] * 4})
    cell = raw.cells(raw.roots["t"])[0]
    pages = raw.pages()
    assert len(pages) == 2
    with pytest.raises(ValueError, match="cells overlap"):
        pages.measure(np.array([cell] * 100))


@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_a_leaf_holds_the_cells_it_is_made_of(page_size):
    header = header_of(page_size)
    cells = [b"\2ab", b"\3abc", b"\4abcd", bytes([100]) + b"x" * 100]
    page = leaf_page(cells, header)
    assert len(page) == page_size
    pages = Pages(np.frombuffer(page, np.uint8), header)
    starts, counts = pages.locate(np.zeros(1, np.int64), LEAF_HEADER)
    lengths, _ = pages.measure(starts)
    assert counts.tolist() == [4]
    assert pages.copy(Spans(starts, lengths)) == cells
    content = int.from_bytes(page[5:7], "big")
    assert content == starts.min() == page_size - sum(leaf_room(cell) - 2 for cell in cells)
    assert [leaf_room(cell) for cell in cells] == [6, 6, 7, 103]


def test_a_leaf_without_cells_is_empty():
    assert leaf_page([], header_of(65536))[:8] == b"\x0a\0\0\0\0\0\0\0"
    assert leaf_page([], header_of(512))[:8] == b"\x0a\0\0\0\0\2\0\0"


@pytest.mark.parametrize("page_size", PAGE_SIZES)
def test_an_interior_page_holds_the_cells_it_is_made_of(page_size):
    header = header_of(page_size)
    separators = [b"\2ab", b"\4abcd", b"\1a"]
    lengths = np.array([len(separator) for separator in separators])
    joined = np.frombuffer(b"".join(separators), np.uint8)
    cells = interior_cells(np.array([0x01020303, 7, 8]), joined, lengths)
    page = interior_page(cells, np.array([0, 7, 16]), 0xFFFE, header)
    assert len(page) == page_size
    pages = Pages(np.frombuffer(page, np.uint8), header)
    starts, counts = pages.locate(np.zeros(1, np.int64), INTERIOR_HEADER)
    found, _ = pages.measure(starts + 4)
    assert counts.tolist() == [3]
    assert pages.numbers(starts).tolist() == [0x01020304, 8, 9]
    assert pages.copy(Spans(starts + 4, found)) == separators
    assert pages.right_children(np.zeros(1, np.int64)).tolist() == [0xFFFF]
    assert int.from_bytes(page[5:7], "big") == starts.min() == page_size - len(cells)


def header_of(page_size):
    head = bytearray(100)
    head[:16] = b"SQLite format 3\0"
    head[16:18] = (page_size & 0xFFFF or 1).to_bytes(2, "big")
    return read_header(bytes(head))
