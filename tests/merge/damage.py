"""Ways to damage a shard that leave every page well-formed, so that only SQLite's check sees it."""

from __future__ import annotations

from tests.merge.pages.raw import LEAF, Raw


def middle_leaf(raw, table):
    leaves = raw.leaves(raw.roots[table])
    assert len(leaves) > 2, f"{table} is too small to be damaged in its middle"
    return leaves[len(leaves) // 2]


def middle_row(raw, table):
    """Return where a row in the middle of a leaf in the middle starts."""
    cells = raw.cells(middle_leaf(raw, table))
    return cells[len(cells) // 2]


def id_of(raw, cell):
    """Return where the type of the first value of a row is, and where the value itself is."""
    _, start, _ = raw.payload(cell)
    end, kind = raw.varint(start)
    return kind, start + end


def swap(raw, one, other, size):
    data = raw.data
    data[one : one + size], data[other : other + size] = (
        data[other : other + size],
        data[one : one + size],
    )


def swap_pointers(raw, table="agent_states"):
    """Two rows of a leaf change their places."""
    pointers = raw.pointers(middle_leaf(raw, table))
    swap(raw, pointers[0], pointers[-1], 2)


def swap_neighbours(raw, table="agent_states"):
    pointers = raw.pointers(middle_leaf(raw, table))
    swap(raw, pointers[0], pointers[1], 2)


def swap_leaves(raw, table="agents"):
    leaves = raw.leaves(raw.roots[table])
    swap(raw, raw.at(leaves[0]), raw.at(leaves[-1]), raw.page_size)


def swap_subtrees(raw, table="agent_actions"):
    """The first and the last child of the root change their places."""
    root = raw.roots[table]
    swap(raw, raw.cells(root)[0], raw.at(root) + 8, 4)


def duplicate_leaf(raw, table="resource_states"):
    """Rows of one leaf are there twice, those of another are gone."""
    leaves = raw.leaves(raw.roots[table])
    one, other = raw.at(leaves[1]), raw.at(leaves[2])
    raw.data[other : other + raw.page_size] = raw.data[one : one + raw.page_size]


def rename(name, table="agent_states"):
    """Return what lets a row in the middle be of another simulation."""

    def change(raw):
        _, value = id_of(raw, middle_row(raw, table))
        raw.data[value] = ord(name)

    return change


def rename_leaf(raw, table="resource_states"):
    """All rows of a leaf are of another simulation."""
    for cell in raw.cells(middle_leaf(raw, table)):
        _, value = id_of(raw, cell)
        raw.data[value] = ord("~")


def rename_separator(raw, table="agent_states"):
    """A row on an interior page is of another simulation."""
    _, value = id_of(raw, raw.cells(raw.roots[table])[0] + 4)
    raw.data[value] = ord("~")


def id_is_a_blob(raw, table="agent_states"):
    kind, _ = id_of(raw, raw.cells(raw.roots[table])[0] + 4)
    assert raw.data[kind] == 15  # a text of one byte
    raw.data[kind] = 14


def change_key(raw, table="agent_actions"):
    """The second part of a key in the middle is 0."""
    _, value = id_of(raw, middle_row(raw, table))
    raw.data[value + 1] = 0


def empty_leaf(raw, table="agent_actions"):
    """A leaf claims that it has no cells."""
    raw.put(raw.at(middle_leaf(raw, table)) + 3, 0, 2)


def page_of_no_type(raw, table="agent_states"):
    raw.data[raw.at(middle_leaf(raw, table))] = 7


def point_outside(raw, table="agent_states"):
    """A row starts in the header of its page."""
    raw.put(raw.pointers(middle_leaf(raw, table))[3], 3, 2)


def swap_registry(raw, table="resource_states"):
    """The rows about simulations are those of a leaf of data."""
    swap(raw, raw.at(raw.roots["simulations"]), raw.at(middle_leaf(raw, table)), raw.page_size)


def ledger_of_no_type(raw):
    raw.data[raw.at(raw.roots["merged_shards"])] = 7


OUT_OF_ORDER = {
    "pointers swapped": swap_pointers,
    "neighbours swapped": swap_neighbours,
    "leaves swapped": swap_leaves,
    "subtrees swapped": swap_subtrees,
    "a leaf twice": duplicate_leaf,
    "a row of a new simulation": rename("q"),
    "a row of another shard, before": rename("a"),
    "a row of another shard, behind": rename("z"),
    "a leaf of a new simulation": rename_leaf,
    "a separator of a new simulation": rename_separator,
    "an id that is a blob": id_is_a_blob,
    "a key changed": change_key,
}
"""Every page is well-formed, but the keys of a tree do not ascend."""

MALFORMED = {
    "an empty leaf": empty_leaf,
    "a page of no type": page_of_no_type,
    "a cell outside": point_outside,
    "the registry swapped": swap_registry,
    "a ledger of no type": ledger_of_no_type,
}


def damaged(path, change):
    """Damage a file."""
    raw = Raw(path)
    assert raw.kind(raw.roots["agent_states"]) != LEAF
    change(raw)
    return raw.save()
