"""A shard is taken apart so that a cell follows every leaf, and nothing of it is lost."""

from __future__ import annotations

import numpy as np
import pytest

from farm_merge.merge.pages.cells import Pages
from farm_merge.merge.pages.dissect import dissect
from tests.conftest import query
from tests.merge.pages.raw import Raw


def taken_apart(raw, *names):
    """Dissect a file; return the trees, what is in them, and the bytes as they are then."""
    wanted = [raw.roots.get(name, 0) for name in names]
    others = [root for name, root in raw.roots.items() if name not in names]
    return dissect(raw.pages(), wanted, others)


def rows_of(shard, tree):
    """Return the bytes of all rows in order, by what is left of leaves, separators and tail."""
    pages = Raw.__new__(Raw)
    pages.data, pages.header = bytearray(shard.pages.data), shard.pages.header
    pages.page_size = shard.pages.header.page_size

    def copy(cell):
        return bytes(pages.data[cell : cell + pages.length(cell)])

    assert len(tree.leaves) == len(tree.separators.starts)
    found = []
    for leaf, cell in zip(tree.leaves.tolist(), tree.separators.starts.tolist(), strict=True):
        found += [copy(found_cell) for found_cell in pages.cells(leaf + 1)] + [copy(cell)]
    return found + shard.pages.copy(tree.tail)


def require_whole(raw, *names):
    shard = taken_apart(raw, *names)
    for name, tree in zip(names, shard.trees, strict=True):
        rows = raw.rows(raw.roots[name])
        assert tree.rows == len(rows)
        cells = [bytes(raw.data[cell : cell + raw.length(cell)]) for cell in rows]
        assert rows_of(shard, tree) == cells
    return shard


def in_writing_order(make_database, page_size=512):
    """Make a table whose last leaf has its cells in the order of writing, and no gaps."""
    for rows in range(3 * page_size // 30, 9 * page_size // 30, 3):
        raw = make_database({"t": [30] * rows}, page_size=page_size, name=f"{rows}.db")
        last = raw.leaves(raw.roots["t"])[-1]
        cells = raw.cells(last)
        if cells == sorted(cells, reverse=True) and not raw.number(raw.at(last) + 1, 2):
            return raw
    raise AssertionError("no such table was made")


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_the_last_leaf_gives_up_its_last_row(make_database, page_size):
    raw = in_writing_order(make_database, page_size)
    (tree,) = require_whole(raw, "t").trees
    assert (tree.leaves + 1).tolist() == raw.leaves(raw.roots["t"])
    assert len(tree.tail.starts) == 0
    assert raw.value(int(tree.separators.starts[-1])) == tree.rows - 1


def test_the_leaf_is_as_sqlite_would_leave_it(make_database):
    """One cell less, and the content begins behind the one that went."""
    raw = in_writing_order(make_database)
    shard = require_whole(raw, "t")
    last = raw.leaves(raw.roots["t"])[-1]
    at, before = raw.at(last), raw.cells(last)
    after = bytes(shard.pages.data[at : at + 8])
    assert int.from_bytes(after[3:5], "big") == len(before) - 1
    assert int.from_bytes(after[5:7], "big") == min(before[:-1]) - at
    changed = np.flatnonzero(shard.pages.data != raw.array())
    assert set(changed.tolist()) <= set(range(at, at + 8))


def test_a_last_row_of_three_bytes_takes_the_room_of_four(make_database):
    raw = make_database({"t": [30]})
    query(raw.path, "CREATE TABLE d (n INTEGER, PRIMARY KEY (n DESC)) WITHOUT ROWID")
    query(
        raw.path,
        "WITH RECURSIVE c(n) AS (VALUES (400) UNION ALL SELECT n - 1 FROM c WHERE n > 0)"
        " INSERT INTO d SELECT n FROM c ORDER BY n DESC",
    )
    raw = Raw(raw.path)
    assert raw.length(raw.rows(raw.roots["d"])[-1]) == 3
    shard = require_whole(raw, "d")
    last = raw.leaves(raw.roots["d"])[-1]
    content = bytes(shard.pages.data[raw.at(last) + 5 : raw.at(last) + 7])
    assert raw.at(last) + int.from_bytes(content, "big") == min(raw.cells(last)[:-1])
    assert len(shard.trees[0].tail.starts) == 0


def test_a_leaf_with_its_rows_out_of_writing_order_goes_whole(make_database):
    """The last row was not written last, so the leaf cannot just leave it out."""
    order = [*range(0, 300, 2), *range(1, 300, 2)]
    raw = make_database({"t": [30] * 300}, order=order)
    last = raw.leaves(raw.roots["t"])[-1]
    assert min(raw.cells(last)) != raw.cells(last)[-1]
    (tree,) = require_whole(raw, "t").trees
    assert len(tree.tail.starts) == len(raw.cells(last))
    assert tree.tail.starts.tolist() == raw.cells(last)
    assert last - 1 not in tree.leaves


@pytest.mark.parametrize("rows", [0, 1, 2, 8])
def test_an_only_leaf_goes_whole(make_database, rows):
    shard = require_whole(make_database({"t": [30] * rows}), "t")
    assert (len(shard.trees[0].leaves), len(shard.trees[0].tail.starts)) == (0, rows)


def test_a_last_leaf_with_one_row_goes_whole(make_database):
    """Without it the leaf would be empty, which is malformed."""
    raw = in_writing_order(make_database)
    last = raw.leaves(raw.roots["t"])[-1]
    raw.put(raw.at(last) + 3, 1, 2)
    raw.put(raw.at(last) + 5, raw.cells(last)[0] - raw.at(last), 2)
    (tree,) = require_whole(raw, "t").trees
    assert tree.tail.starts.tolist() == raw.cells(last)
    assert last - 1 not in tree.leaves


def test_a_last_leaf_with_two_rows_keeps_one(make_database):
    raw = in_writing_order(make_database)
    last = raw.leaves(raw.roots["t"])[-1]
    raw.put(raw.at(last) + 3, 2, 2)
    raw.put(raw.at(last) + 5, raw.cells(last)[1] - raw.at(last), 2)
    (tree,) = require_whole(raw, "t").trees
    assert len(tree.tail.starts) == 0
    assert tree.separators.starts[-1] == raw.cells(last)[1]


@pytest.mark.parametrize("field", [(1, 2), (7, 1)])
def test_a_leaf_with_gaps_goes_whole(make_database, field):
    """What was removed left a freeblock, or a fragment that is too small to be one."""
    raw = in_writing_order(make_database)
    place, size = field
    raw.put(raw.at(raw.leaves(raw.roots["t"])[-1]) + place, 3, size)
    (tree,) = require_whole(raw, "t").trees
    assert len(tree.tail.starts) > 0


def test_rows_that_were_removed_do_not_come_along(make_database):
    raw = make_database({"t": [30] * 100}, after=["DELETE FROM t WHERE n = 98"])
    require_whole(raw, "t")


def test_chains_are_those_of_the_trees_that_are_wanted(make_database):
    raw = make_database({"t": [20, 3000] * 20, "u": [20, 2000] * 20, "v": [30] * 90})
    shard = require_whole(raw, "t", "v")
    rows = raw.rows(raw.roots["t"])
    pages = sorted(page - 1 for cell in rows for page in raw.chain(cell))
    assert sorted(shard.chain.tolist()) == pages
    targets = {raw.number(place) for place in shard.pointers.tolist()}
    assert targets == {raw.chain(cell)[0] for cell in rows if raw.chain(cell)}


def test_a_tree_that_is_not_there_is_empty(make_database):
    shard = taken_apart(make_database(), "missing", "t")
    missing, there = shard.trees
    assert (missing.rows, len(missing.leaves), len(missing.tail.starts)) == (0, 0, 0)
    assert there.rows == 300


@pytest.mark.parametrize("change", [-512, 512, -1, 1])
def test_a_file_of_another_length_is_refused(make_database, change):
    raw = make_database()
    data = np.resize(raw.array(), len(raw.data) + change)
    with pytest.raises(ValueError, match="the file is longer or shorter than its header claims"):
        dissect(Pages(data, raw.header), [raw.roots["t"]], [])


@pytest.mark.parametrize("rows", [20, 300])
@pytest.mark.parametrize("leaf", [0, -1])
def test_damage_in_the_outer_leaves_is_found_before_they_are_joined(make_database, leaf, rows):
    """Nobody looks at the others one by one: SQLite checks them when they are joined."""
    raw = make_database({"t": [30] * rows})
    assert len(raw.leaves(raw.roots["t"])) > 1
    raw.put(raw.pointers(raw.leaves(raw.roots["t"])[leaf])[0], 511, 2)
    with pytest.raises(ValueError, match="a cell lies outside of its page"):
        taken_apart(raw, "t")


def test_a_cell_that_ends_with_a_page_of_64_kib_may_be_removed(make_database):
    """Cells that overlap: the content would begin at 65,536, which is written as 0."""
    raw = in_writing_order(make_database, 65536)
    last = raw.leaves(raw.roots["t"])[-1]
    end = raw.cells(last)[0] - raw.at(last)
    raw.put(raw.pointers(last)[-1], end, 2)
    raw.put(raw.at(last) + 5, end, 2)
    shard = taken_apart(raw, "t")
    assert bytes(shard.pages.data[raw.at(last) + 5 : raw.at(last) + 7]) == b"\0\0"
    assert Pages(shard.pages.data, raw.header).cell_counts(np.array([last - 1])).tolist() == [
        len(raw.cells(last)) - 1
    ]
