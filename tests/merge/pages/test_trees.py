"""Trees are read as their leaves and the cells between them, in the order of the keys."""

from __future__ import annotations

import numpy as np
import pytest

from farm_merge.merge.pages.trees import is_index_tree, read_trees
from tests.conftest import query
from tests.merge.pages.raw import INTERIOR, LEAF, TABLE_LEAF, Raw

pytestmark = pytest.mark.usefixtures("reading")


def read(raw, *names):
    pages = raw.pages()
    return read_trees(pages, [raw.roots.get(name, 0) for name in names])


def rows_in_order(raw, tree):
    """Return where the rows of a tree are: leaf, separator, leaf, … leaf."""
    found = []
    separators = iter(tree.separators.starts.tolist())
    for leaf in tree.leaves.tolist():
        found += raw.cells(leaf + 1)
        found += [cell for cell in [next(separators, None)] if cell is not None]
    return found


@pytest.mark.parametrize(
    ("rows", "page_size"), [(0, 512), (1, 4096), (8, 512), (300, 512), (6000, 512), (9000, 1024)]
)
def test_rows_are_found_in_order(make_database, rows, page_size):
    raw = make_database({"t": [30] * rows}, page_size=page_size)
    (tree,), taken = read(raw, "t")
    assert (tree.leaves + 1).tolist() == raw.leaves(raw.roots["t"])
    assert tree.rows == rows
    places = rows_in_order(raw, tree)
    assert places == raw.rows(raw.roots["t"])
    assert [raw.value(place) for place in places] == list(range(rows))
    assert tree.separators.lengths.tolist() == [
        raw.length(cell) for cell in tree.separators.starts.tolist()
    ]
    assert sorted((taken + 1).tolist()) == sorted(raw.tree(raw.roots["t"]))


def test_trees_of_all_heights_are_read_together(make_database):
    sizes = {"a": [], "b": [30] * 3000, "c": [30], "d": [30] * 40, "e": [90] * 300}
    raw = make_database(sizes)
    trees, taken = read(raw, "a", "b", "missing", "c", "d", "e")
    assert [tree.rows for tree in trees] == [0, 3000, 0, 1, 40, 300]
    for name, tree in zip(("a", "b", "missing", "c", "d", "e"), trees, strict=True):
        if name != "missing":
            assert rows_in_order(raw, tree) == raw.rows(raw.roots[name])
    assert len(trees[2].leaves) == len(trees[2].separators.starts) == 0
    assert sorted((taken + 1).tolist()) == sorted(
        page for root in raw.roots.values() for page in raw.tree(root)
    )


def test_no_trees_take_no_pages(make_database):
    assert read(make_database(), "missing")[1].tolist() == []


def test_page_numbers_may_be_large(make_database):
    """Above 65,535 a page number needs three bytes: 512-byte pages, and more than 32 MB."""
    raw = make_database({"t": [400] * 66_500, "u": [100] * 100})
    assert raw.header.pages > 66_000
    (t, u), _ = read(raw, "t", "u")
    assert (t.rows, u.rows) == (66_500, 100)
    assert max(t.leaves.max(), u.leaves.max()) > 65_535
    assert rows_in_order(raw, u) == raw.rows(raw.roots["u"])


def test_index_trees_are_distinguished_from_tables_with_rowids(make_database):
    statements = ["CREATE TABLE rows (x)", "CREATE INDEX by_x ON rows (x)"]
    raw = make_database({"t": [30] * 500, "small": [1]}, after=statements)
    pages = raw.pages()
    assert is_index_tree(pages, raw.roots["t"])
    assert is_index_tree(pages, raw.roots["small"])
    assert is_index_tree(pages, raw.roots["by_x"])
    assert not is_index_tree(pages, raw.roots["rows"])
    last = raw.header.pages
    assert is_index_tree(pages, last) == (raw.kind(last) in {LEAF, INTERIOR})
    assert not is_index_tree(pages, last + 1)


def child(raw, number, page):
    """Let a child of the root be another page."""
    raw.put(raw.cells(raw.roots["t"])[number], page)


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda raw: child(raw, 1, 0), "a page number points outside of the file"),
        (lambda raw: child(raw, 1, 1), "a page number points outside of the file"),
        (lambda raw: child(raw, 1, raw.header.pages + 1), "points outside of the file"),
        (lambda raw: child(raw, 1, 0xFFFFFFFF), "a page number points outside of the file"),
        (lambda raw: child(raw, 1, raw.roots["t"]), "a page is of another type"),
        (lambda raw: raw.data.__setitem__(raw.at(raw.leaves(raw.roots["t"])[2]), TABLE_LEAF),
         "a page is of another type than its neighbours"),
        (lambda raw: raw.data.__setitem__(raw.at(raw.roots["t"]), 5), "of another type"),
        (lambda raw: raw.put(raw.at(raw.leaves(raw.roots["t"])[2]) + 3, 0, 2), "a leaf is empty"),
        (lambda raw: raw.put(raw.at(raw.roots["t"]) + 3, 251, 2), "more cells than it can hold"),
        (lambda raw: raw.put(raw.pointers(raw.roots["t"])[0], 11, 2), "outside of its page"),
    ],
)  # fmt: skip
def test_a_damaged_tree_is_refused(make_database, damage, match):
    raw = make_database({"t": [30] * 60})
    assert len(raw.leaves(raw.roots["t"])) == len(raw.children(raw.roots["t"])) > 3
    damage(raw)
    with pytest.raises(ValueError, match=match):
        read(raw, "t")


def test_an_empty_leaf_of_two_is_refused(make_database):
    raw = make_database({"t": [30] * 16})
    first, second = raw.leaves(raw.roots["t"])
    for leaf in (first, second):
        damaged = Raw(raw.path)
        damaged.put(damaged.at(leaf) + 3, 0, 2)
        with pytest.raises(ValueError, match="a leaf is empty"):
            read(damaged, "t")


def test_a_tree_that_goes_round_in_circles_is_refused(make_database):
    """Every child of the root is the root: there is no level of leaves."""
    raw = make_database()
    root = raw.roots["t"]
    for cell in raw.cells(root):
        raw.put(cell, root)
    raw.put(raw.at(root) + 8, root)
    with pytest.raises(ValueError, match="a page number points outside of the file"):
        read(raw, "t")


def test_the_last_page_of_a_file_may_be_in_a_tree(make_database):
    raw = make_database()
    (tree,), taken = read(raw, "t")
    assert taken.max() == raw.header.pages - 1
    assert np.isin(raw.header.pages - 1, tree.leaves)
    assert query(raw.path, "PRAGMA integrity_check") == [("ok",)]
