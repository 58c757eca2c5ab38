"""Trees: the leaves of b-trees in the order of their keys, and the cells between them.

In an index b-tree every row is a cell, those on interior pages too (section 1.6): the cell between
two children is the row that comes between them. So a tree is read as its leaves and as many cells
less one, which are those of all its interior pages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from farm_merge.merge.pages.cells import INTERIOR, INTERIOR_HEADER, LEAF, NONE, NOWHERE, Spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from farm_merge.merge.pages.cells import Integers, Pages

__all__ = ["Tree", "is_index_tree", "read_trees"]


@dataclass(frozen=True, slots=True)
class Tree:
    """A b-tree of a shard.

    Attributes:
        leaves: Page numbers of its leaves, from 0, in the order of the keys.
        separators: The cells between them, without the child; once it is dissected, after each.
        rows: Rows in all of it.
        tail: The cells of a last leaf that is not copied as it is.
    """

    leaves: Integers
    separators: Spans
    rows: int
    tail: Spans = NOWHERE


@dataclass(frozen=True, slots=True)
class _Level:
    """The pages of all trees that are equally far below their roots, in the order of the keys.

    Attributes:
        pages: Their numbers, from 0.
        trees: The tree of each, by its number in the list of roots.
        cells: The cells between the pages, of this level and those above.
        cell_trees: The tree of each of those.
    """

    pages: Integers
    trees: Integers
    cells: Spans
    cell_trees: Integers


_NO_TREE = Tree(NONE, NOWHERE, 0)


def is_index_tree(pages: Pages, root: int) -> bool:
    """Return whether the b-tree at a page, from 1, is an index or a table WITHOUT ROWID."""
    return root <= len(pages) and pages.types(np.array([root - 1]))[0] in {INTERIOR, LEAF}


def read_trees(pages: Pages, roots: Sequence[int]) -> tuple[list[Tree], Integers]:
    """Read b-trees from their roots to their leaves, a level of all of them at a time.

    Args:
        pages: The pages of a shard.
        roots: The page numbers of the roots, from 1; 0 for a tree that is not there.

    Returns:
        The trees, and all pages that they are made of.

    Raises:
        ValueError: If a tree does not follow the format.
    """
    trees = [_NO_TREE] * len(roots)
    numbers = np.array(roots, np.int64)
    present = np.flatnonzero(numbers)
    level = _Level(numbers[present] - 1, present, NOWHERE, NONE)
    taken = [NONE]
    while len(level.pages):
        taken.append(level.pages)
        _require_pages_of_file(pages, level, sum(map(len, taken)))
        at_leaves = _trees_at_leaves(pages, level, len(roots))
        for number in np.flatnonzero(at_leaves):
            trees[number] = _tree(pages, level, int(number))
        if at_leaves[level.trees].all():
            break
        level = _below(pages, level, ~at_leaves)
    return trees, np.concatenate(taken)


def _require_pages_of_file(pages: Pages, level: _Level, total: int) -> None:
    """Refuse pages that are not there, and trees that go round in circles."""
    # The first page holds the root of the schema, and can be in no other tree.
    if level.pages.min() < 1 or level.pages.max() >= len(pages) or total > len(pages):
        raise ValueError("a page number points outside of the file")


def _trees_at_leaves(pages: Pages, level: _Level, count: int) -> NDArray[np.bool_]:
    """Return for every tree whether this level is that of its leaves."""
    types = pages.types(level.pages)
    at_leaves = np.zeros(count, bool)
    at_leaves[level.trees[types == LEAF]] = True
    if np.any(types != np.where(at_leaves[level.trees], LEAF, INTERIOR)):
        raise ValueError("a page is of another type than its neighbours")
    return at_leaves


def _tree(pages: Pages, level: _Level, number: int) -> Tree:
    """Return a tree at the level of its leaves."""
    leaves = level.pages[level.trees == number]
    own = level.cell_trees == number
    separators = Spans(level.cells.starts[own], level.cells.lengths[own])
    counts = pages.cell_counts(leaves)
    if len(leaves) > 1 and not counts.all():
        raise ValueError("a leaf is empty")
    return Tree(leaves, separators, int(counts.sum()) + len(separators.starts))


def _below(pages: Pages, level: _Level, goes_on: NDArray[np.bool_]) -> _Level:
    """Return the children of the interior pages of a level, of the trees that go on."""
    chosen, kept = goes_on[level.trees], goes_on[level.cell_trees]
    parents, trees = level.pages[chosen], level.trees[chosen]
    cells, counts = pages.locate(parents, INTERIOR_HEADER)
    lengths, _ = pages.measure(cells + 4)
    # The right child of a page comes after its last cell …
    ends = np.cumsum(counts)
    children = np.insert(pages.numbers(cells), ends, pages.right_children(parents)) - 1
    # … and between the cells of two pages comes that of their parent.
    gaps = ends[:-1][trees[1:] == trees[:-1]]
    return _Level(
        children,
        np.repeat(trees, counts + 1),
        Spans(
            np.insert(cells + 4, gaps, level.cells.starts[kept]),
            np.insert(lengths, gaps, level.cells.lengths[kept]),
        ),
        np.insert(np.repeat(trees, counts), gaps, level.cell_trees[kept]),
    )
