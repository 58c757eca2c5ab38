"""Every page of a file is accounted for, so that no overflow chain is lost."""

from __future__ import annotations

import numpy as np
import pytest

from farm_merge.merge.pages.chains import find_chains
from farm_merge.merge.pages.trees import read_trees
from tests.conftest import query
from tests.merge.pages.raw import Raw

pytestmark = pytest.mark.usefixtures("reading")

LONG = [20, 3000, 20, 700, 5000, 20] * 10


def chains(raw, *names):
    """Return where chains of some trees start, and their pages, from 0."""
    pages = raw.pages()
    wanted = [raw.roots[name] for name in names]
    others = [root for name, root in raw.roots.items() if name not in names]
    trees, taken = read_trees(pages, [*wanted, *others])
    return find_chains(pages, trees[: len(wanted)], trees[len(wanted) :], taken)


def expected(raw, *names):
    """Return the same, by following every row of the trees."""
    cells = [cell for name in names for cell in raw.rows(raw.roots[name]) if raw.chain(cell)]
    pointers = [cell + raw.length(cell) - 4 for cell in cells]
    return sorted(pointers), sorted(page - 1 for cell in cells for page in raw.chain(cell))


def require_all(raw, *names):
    pointers, chain = chains(raw, *names)
    assert (sorted(pointers.tolist()), sorted(chain.tolist())) == expected(raw, *names)
    assert len(chain)


def test_chains_of_all_rows_are_found(make_database):
    raw = make_database({"t": LONG, "u": [20] * 100, "v": LONG * 3})
    require_all(raw, "t", "u", "v")
    require_all(raw, "v", "t")


def test_chains_of_rows_on_interior_pages_are_found(make_database):
    raw = make_database({"t": [2000] * 200})
    on_leaves = {cell for leaf in raw.leaves(raw.roots["t"]) for cell in raw.cells(leaf)}
    assert set(raw.rows(raw.roots["t"])) - on_leaves
    require_all(raw, "t")


def test_more_leaves_than_are_looked_at_together(make_database):
    require_all(make_database({"t": ([20] * 30 + [1000]) * 300}), "t")


def test_chains_of_other_trees_are_not_wanted(make_database):
    raw = make_database({"t": [20] * 200, "u": LONG})
    pointers, chain = chains(raw, "t")
    assert len(pointers) == len(chain) == 0


def test_no_leaf_is_looked_at_where_no_page_is_missing(make_database):
    """Which is most of the speed, and why damage in the middle is left to SQLite."""
    raw = make_database({"t": [20] * 3000})
    raw.put(raw.pointers(raw.leaves(raw.roots["t"])[50])[0], 511, 2)
    pointers, chain = chains(raw, "t")
    assert len(pointers) == len(chain) == 0


def test_a_chain_may_start_on_the_second_page(make_database):
    raw = make_database({"first": [20], "t": [20]})
    query(raw.path, "DROP TABLE first")
    query(raw.path, "INSERT INTO t VALUES (1, ?)", "x" * 400)
    raw = Raw(raw.path)
    _, chain = chains(raw, "t")
    assert chain.tolist() == [1]
    require_all(raw, "t")


@pytest.mark.parametrize("rows", [30, 3000])
def test_free_pages_are_not_taken_for_chains(make_database, rows):
    """Pages of a dropped table, on one trunk and on several."""
    raw = make_database(
        {"t": LONG, "gone": [100] * rows, "u": [20] * 400, "v": [20, 4000] * 20},
        after=["DROP TABLE gone"],
    )
    assert query(raw.path, "PRAGMA freelist_count") > [(rows // 10,)]
    require_all(raw, "t", "u", "v")
    require_all(raw, "u", "v")


def test_the_trees_of_a_large_schema_are_counted(make_database):
    """Its root has the header of the file before its own, and below it are other pages."""
    raw = make_database({f"table_{number}": [20, 3000] for number in range(60)})
    assert raw.kind(1) != 13
    assert raw.data[100] == 5  # an interior page of a table
    require_all(raw, *raw.roots)


def test_a_schema_of_three_levels_is_counted(make_database):
    names = [f"table_{number}_{'x' * 150}" for number in range(300)]
    raw = make_database({name: [2000] for name in names})
    require_all(raw, *raw.roots)


def test_chains_of_the_schema_are_nobodys(make_database):
    comment = f"CREATE TABLE long (n PRIMARY KEY /* {'x' * 3000} */) WITHOUT ROWID"
    require_all(make_database({"t": LONG}, after=[comment]), "t")


def test_the_last_page_may_be_a_trunk(make_database):
    raw = make_database({"t": LONG})
    query(raw.path, "CREATE TABLE last (n PRIMARY KEY) WITHOUT ROWID")
    query(raw.path, "DROP TABLE last")
    raw = Raw(raw.path)
    assert raw.number(32) == raw.header.pages
    require_all(raw, "t")


def trunk_beyond(raw):
    raw.put(32, raw.header.pages + 1)


def endless_freelist(raw):
    trunk = raw.number(32)
    raw.put(raw.at(trunk), trunk)


def too_long_freelist(raw):
    raw.put(raw.at(raw.number(32)) + 4, raw.header.pages)


def shared_tree(raw):
    """A leaf of one table is also one of another."""
    raw.put(raw.cells(raw.roots["u"])[0], raw.leaves(raw.roots["t"])[0])


def chained(raw):
    """Return where two rows of a table point at chains of the same length."""
    cells = [cell for cell in raw.rows(raw.roots["t"]) if len(raw.chain(cell)) == 6]
    return [cell + raw.length(cell) - 4 for cell in cells[:2]]


def shared_chain(raw):
    """Two rows share the end of a chain, and as many pages are taken as before."""
    one, other = chained(raw)
    first, second = raw.number(one), raw.number(other)
    raw.put(raw.at(first), raw.number(raw.at(second)))


def chain_to(page):
    def damage(raw):
        raw.put(chained(raw)[0], page(raw))

    return damage


def link_to(page):
    """A page of a chain goes on outside of the file."""

    def damage(raw):
        raw.put(raw.at(raw.number(chained(raw)[0])), page(raw))

    return damage


def endless_chain(raw):
    first = raw.number(chained(raw)[0])
    raw.put(raw.at(first), first)


def schema_of(page):
    """The schema has an interior root with one child."""

    def damage(raw):
        raw.data[100] = 5
        raw.put(103, 0, 2)
        raw.put(108, page(raw))

    return damage


def endless_schema(raw):
    """A free page is an interior page with itself for a child."""
    page = raw.number(32)
    schema_of(lambda _: page)(raw)
    raw.put(32, 0)
    raw.data[raw.at(page)] = 5
    raw.put(raw.at(page) + 3, 0, 2)
    raw.put(raw.at(page) + 8, page)


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (trunk_beyond, "the freelist leaves the file"),
        (endless_freelist, "the freelist leaves the file"),
        (too_long_freelist, "more pages are in use than there are"),
        (shared_tree, "two trees share a page"),
        (shared_chain, "two rows share a page"),
        (chain_to(lambda raw: 0), "an overflow chain leaves the file"),
        (chain_to(lambda raw: 1), "an overflow chain leaves the file"),
        (chain_to(lambda raw: raw.header.pages + 1), "an overflow chain leaves the file"),
        (link_to(lambda raw: 1), "an overflow chain leaves the file"),
        (link_to(lambda raw: raw.header.pages + 1), "an overflow chain leaves the file"),
        (endless_chain, "an overflow chain leaves the file"),
        (schema_of(lambda raw: 0), "a page number of the schema points outside of the file"),
        (schema_of(lambda raw: 1), "a page claims more cells than it can hold"),
        (schema_of(lambda raw: raw.header.pages + 1), "of the schema points outside"),
        (endless_schema, "a page number of the schema points outside of the file"),
    ],
)
def test_pages_that_cannot_be_accounted_for_are_refused(make_database, damage, match):
    gone = "CREATE TABLE gone (n PRIMARY KEY) WITHOUT ROWID"
    raw = make_database({"t": LONG, "u": [20] * 200}, after=[gone, "DROP TABLE gone"])
    chains(raw, "t", "u")
    damage(raw)
    with pytest.raises(ValueError, match=match):
        chains(raw, "t", "u")


def test_a_chain_may_end_with_the_file(make_database):
    raw = make_database({"t": [20, 3000]})
    pointers, chain = chains(raw, "t")
    assert np.isin(raw.header.pages - 1, chain)
    assert len(pointers) == 1
