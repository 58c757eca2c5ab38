"""Dissect: a shard is taken apart into leaves, the cells that follow them, and overflow chains."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from farm_merge.merge.pages.cells import LEAF_FIELDS, LEAF_HEADER, SMALLEST_CELL, Spans
from farm_merge.merge.pages.chains import find_chains
from farm_merge.merge.pages.trees import read_trees

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from farm_merge.merge.pages.cells import Integers, Pages
    from farm_merge.merge.pages.trees import Tree

__all__ = ["Dissected", "dissect"]


@dataclass(frozen=True, slots=True)
class Dissected:
    """A shard, taken apart.

    Attributes:
        pages: Its pages.
        trees: Its trees; a cell follows every leaf.
        pointers: Where their cells point at overflow chains, as places in the file.
        chain: The pages of those chains, from 0.
    """

    pages: Pages
    trees: list[Tree]
    pointers: Integers
    chain: Integers


def dissect(pages: Pages, roots: Sequence[int], others: Sequence[int]) -> Dissected:
    """Take a shard apart. Nothing of it is trusted: what its pages claim is checked.

    Args:
        pages: All of the file; leaves that give up a cell are changed in it.
        roots: The roots of the trees to graft, from 1; 0 for one that it lacks.
        others: The roots of its other index b-trees.

    Raises:
        ValueError: If the file does not follow the format.
    """
    if len(pages.data) != pages.header.size_bytes:
        raise ValueError("the file is longer or shorter than its header claims")
    # 1. All trees, from their roots to their leaves.
    trees, taken = read_trees(pages, [*roots, *others])
    wanted, rest = trees[: len(roots)], trees[len(roots) :]
    # 2. Pages that are in no tree, not free and not the schema's are in overflow chains.
    pointers, chain = find_chains(pages, wanted, rest, taken)
    # 3. A cell has to follow every leaf, the last one too.
    return Dissected(pages, _end_leaves(pages, wanted), pointers, chain)


def _end_leaves(pages: Pages, trees: list[Tree]) -> list[Tree]:
    """Let a cell follow every leaf: the last leaf of a tree gives up its last cell, or goes."""
    present = [tree.leaves for tree in trees if len(tree.leaves)]
    # Joining may have to pack a first leaf anew: then it would be too late to find damage in it.
    first = [leaves[0] for leaves in present if len(leaves) > 1]
    cells = _cells_by_leaf(pages, [*first, *(leaves[-1] for leaves in present)])
    last = islice(cells, len(first), None)
    return [_ended(pages, tree, next(last)) if len(tree.leaves) else tree for tree in trees]


def _cells_by_leaf(pages: Pages, leaves: list[np.int64]) -> Iterator[Spans]:
    """Return the cells of each leaf."""
    numbers = np.array(leaves, np.int64)
    pages.need(numbers)
    starts, counts = pages.locate(numbers, LEAF_HEADER)
    lengths, _ = pages.measure(starts)
    ends = np.cumsum(counts)[:-1]
    return map(Spans, np.split(starts, ends), np.split(lengths, ends))


def _ended(pages: Pages, tree: Tree, cells: Spans) -> Tree:
    """Return a tree that ends with a separator.

    Its last leaf goes whole where it is the only one, so that small trees share pages, and where
    its last cell cannot just be left out.

    Args:
        pages: The pages of the shard.
        tree: The tree.
        cells: Those of its last leaf.
    """
    page = int(tree.leaves[-1]) * pages.header.page_size
    if len(tree.leaves) == 1 or not _begins_with_last(pages, page, cells):
        return replace(tree, leaves=tree.leaves[:-1], tail=cells)
    kind, _, count, content, _ = LEAF_FIELDS.unpack_from(pages.data.data, page)
    content += max(int(cells.lengths[-1]), SMALLEST_CELL)
    LEAF_FIELDS.pack_into(pages.data.data, page, kind, 0, count - 1, content & 0xFFFF, 0)
    starts, lengths = tree.separators
    separators = Spans(np.append(starts, cells.starts[-1:]), np.append(lengths, cells.lengths[-1:]))
    return replace(tree, separators=separators)


def _begins_with_last(pages: Pages, page: int, cells: Spans) -> bool:
    """Return whether the last cell of a leaf is the first of its content, which has no gaps.

    That is so where it was written last and nothing was ever removed. The leaf can leave it out
    then: its content begins behind it.
    """
    _, freeblock, count, content, fragments = LEAF_FIELDS.unpack_from(pages.data.data, page)
    return bool(
        count > 1 and not freeblock and not fragments and cells.starts[-1] == page + content
    )
