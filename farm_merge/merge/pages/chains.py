"""Chains: the overflow pages of rows, found by accounting for every page of a file.

A row that is too large for its page goes on in a chain of overflow pages, each with the number of
the next (section 1.6.1). To find all chains, every cell of every leaf would have to be looked at;
but most trees have none. So it is counted how many pages are in no tree, not free and not the
schema's, and leaves are looked at only as long as such pages are missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from farm_merge.merge.pages.cells import INTERIOR_HEADER, LEAF_HEADER, NONE, TABLE_LEAF
from farm_merge.merge.pages.header import HEADER_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from farm_merge.merge.pages.cells import Integers, Pages
    from farm_merge.merge.pages.trees import Tree

__all__ = ["find_chains"]

_BATCH_PAGES = 256
"""So many leaves are looked at together, so that their bytes stay near."""


def find_chains(
    pages: Pages, trees: Sequence[Tree], others: Sequence[Tree], taken: Integers
) -> tuple[Integers, Integers]:
    """Return where the cells of trees point at overflow chains, and the pages of those chains.

    Args:
        pages: The pages of a shard.
        trees: The trees whose chains are wanted.
        others: All other trees of the file but the schema's.
        taken: The pages that those trees are made of.

    Returns:
        Places in the file where the number of a chain's first page is, and page numbers, from 0.

    Raises:
        ValueError: If a page has two owners, or the file has fewer pages than it claims to use.
    """
    if _has_repeats(taken):
        raise ValueError("two trees share a page")
    missing = len(pages) - _count_free(pages) - _count_schema(pages) - len(taken)
    pointers, chains = [NONE], [NONE]
    wanted = [*((tree, True) for tree in trees), *((tree, False) for tree in others)]
    for tree, is_wanted in sorted(wanted, key=lambda pair: len(pair[0].leaves)):
        if missing == 0:
            break
        starts = _chain_pointers(pages, tree)
        chain = _follow(pages, starts)
        missing -= len(chain)
        if is_wanted:
            pointers.append(starts)
            chains.append(chain)
    chain = np.concatenate(chains)
    # What is missing now belongs to the schema, whose chains nobody needs.
    if missing < 0:
        raise ValueError("more pages are in use than there are")
    if _has_repeats(chain):
        raise ValueError("two rows share a page")
    return np.concatenate(pointers), chain


def _has_repeats(pages: Integers) -> bool:
    # np.unique would import masked arrays, which takes longer than a shard.
    return bool(np.any(np.bincount(pages) > 1))


def _chain_pointers(pages: Pages, tree: Tree) -> Integers:
    """Return where the cells of a tree point at overflow chains: with their last four bytes."""
    pointers = [_pointers_of(pages, tree.separators.starts)]
    for first in range(0, len(tree.leaves), _BATCH_PAGES):
        leaves = tree.leaves[first : first + _BATCH_PAGES]
        pages.need(leaves)
        cells, _ = pages.locate(leaves, LEAF_HEADER)
        found = _pointers_of(pages, cells)
        pointers.append(found)
        # Pointers will be changed where they are.
        pages.release(leaves[~np.isin(leaves, found // pages.header.page_size)])
    return np.concatenate(pointers)


def _pointers_of(pages: Pages, cells: Integers) -> Integers:
    lengths, spills = pages.measure(cells)
    return (cells + lengths - 4)[spills]


def _follow(pages: Pages, pointers: Integers) -> Integers:
    """Return the pages of overflow chains, all at once and page by page."""
    chains, total = [NONE], 0
    current = pages.numbers(pointers) - 1
    while len(current):
        total += len(current)
        if current.min() < 1 or current.max() >= len(pages) or total > len(pages):
            raise ValueError("an overflow chain leaves the file")
        chains.append(current)
        pages.need(current)
        following = pages.numbers(current * pages.header.page_size)
        current = following[following > 0] - 1
    return np.concatenate(chains)


def _count_free(pages: Pages) -> int:
    """Count the pages of the freelist, by its trunks (section 1.5).

    The header has the number of the first trunk at 32, every trunk that of the next, and then how
    many free pages it lists.
    """
    trunk, count = int(pages.numbers(np.array([32]))[0]), 0
    while trunk:
        if trunk > len(pages) or count > len(pages):
            raise ValueError("the freelist leaves the file")
        pages.need(np.array([trunk - 1]))
        place = (trunk - 1) * pages.header.page_size
        trunk, listed = pages.numbers(np.array([place, place + 4])).tolist()
        count += 1 + listed
    return count


def _count_schema(pages: Pages) -> int:
    """Count the pages of the b-tree of `sqlite_schema`, a table with rowids (section 2.6)."""
    level, count, offset = np.zeros(1, np.int64), 0, HEADER_BYTES
    while True:
        count += len(level)
        if level.min() < 0 or level.max() >= len(pages) or count > len(pages):
            raise ValueError("a page number of the schema points outside of the file")
        if np.all(pages.types(level, offset) == TABLE_LEAF):
            return count
        cells, _ = pages.locate(level, INTERIOR_HEADER, offset)
        right = pages.right_children(level, offset)
        level = np.concatenate([pages.numbers(cells), right]) - 1
        offset = 0  # only the first page starts with the header of the file
