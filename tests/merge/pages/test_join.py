"""Trees are made from left to right, and SQLite finds all their rows in order."""

from __future__ import annotations

import random
import threading
from contextlib import closing

import numpy as np
import pytest

from farm_merge.merge.pages.dissect import dissect
from farm_merge.merge.pages.header import read_header
from farm_merge.merge.pages.join import GrowingFile
from farm_merge.merge.pages.transplant import Branch, transplant
from farm_merge.merge.pages.trees import read_trees
from farm_merge.sqlite import sqlite3
from tests.conftest import query
from tests.merge.pages.raw import LEAF, Raw

pytestmark = pytest.mark.usefixtures("reading")

TABLE = "CREATE TABLE t (s TEXT, n INTEGER, x TEXT, PRIMARY KEY (s, n)) WITHOUT ROWID"
INDEX = "CREATE INDEX by_x ON t (s, x)"


@pytest.fixture
def write(tmp_path):
    """Write a database with rows of one `s`, and an index of as many rows."""

    def write(name, sizes, page_size=512):
        path = tmp_path / f"{name}.db"
        with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
            connection.execute(f"PRAGMA page_size = {page_size}")
            connection.execute("BEGIN")
            connection.execute(TABLE)
            connection.execute(INDEX)
            connection.executemany(
                "INSERT INTO t VALUES (?, ?, ?)",
                [(name, number, "x" * size) for number, size in enumerate(sizes)],
            )
            connection.execute("COMMIT")
        return path

    return write


def graft(paths, output):
    """Join the trees of databases in the empty trees of another."""
    file = GrowingFile(output, Raw(output).roots, threading.Lock())
    for path in paths:
        raw = Raw(path)
        shard = dissect(raw.pages(), list(raw.roots.values()), [])
        branches = transplant(shard, file.descriptor, file.allocator)
        file.add(dict(zip(raw.roots, branches, strict=True)))
    file.finish()
    return output


def require_joined(paths, output):
    """Let SQLite check the output, and compare its rows with those that were joined."""
    assert query(output, "PRAGMA integrity_check") == [("ok",)]
    for order in ("s, n", "s, x, n"):
        rows = [row for path in paths for row in query(path, f"SELECT * FROM t ORDER BY {order}")]
        assert query(output, f"SELECT * FROM t ORDER BY {order}") == rows
    pages = output.stat().st_size // Raw(output).page_size
    assert query(output, "PRAGMA page_count") == [(pages,)]
    return Raw(output)


SHARDS = {
    "none": [],
    "all empty": [[], [], []],
    "one row each": [[10]] * 40,
    "hundreds of small ones": [[number % 7 * 30] * (number % 4) for number in range(300)],
    "small before large": [[30], [30] * 900, [30], [30] * 900, [30]],
    "two rows before large": [[30] * 2, [30] * 900, [30] * 2, [30] * 400],
    "large alone": [[30] * 4000],
    "large after large": [[30] * 1200, [30] * 1201, [30] * 1202, [30] * 1203],
    "rows as large as can be": [[100] * 300, [110] * 300, [90, 91, 92] * 100],
    "chains": [[900] * 60, [20], [3000] * 30, [], [900, 20] * 80],
    "one large row each": [[95]] * 60,
    "ends that fit exactly": [[30] * count for count in range(40, 120)],
}


@pytest.mark.parametrize("page_size", [512, 1024, 4096])
@pytest.mark.parametrize("sizes", SHARDS.values(), ids=SHARDS)
def test_trees_of_all_shapes_are_joined(write, sizes, page_size):
    paths = [write(f"s{number:04}", shard, page_size) for number, shard in enumerate(sizes)]
    output = graft(paths, write("output", [], page_size))
    require_joined(paths, output)


@pytest.mark.parametrize("seed", range(30))
def test_trees_of_any_shape_are_joined(write, seed):
    choose = random.Random(seed)
    page_size = choose.choice([512, 512, 1024, 4096])
    paths = [
        write(
            f"s{number:04}",
            choose.choices([0, 10, 60, 100, 480, 2000], k=choose.choice([0, 1, 2, 5, 40, 700])),
            page_size,
        )
        for number in range(choose.randrange(1, 8))
    ]
    require_joined(paths, graft(paths, write("output", [], page_size)))


def test_many_interior_pages_are_made_a_few_at_a_time(write):
    """Several batches of them, of two levels; every row of the interior pages is in its place."""
    paths = [write(name, [60] * 9000) for name in "abc"]
    raw = require_joined(paths, graft(paths, write("output", [])))
    tree = raw.tree(raw.roots["t"])
    assert sum(raw.kind(page) != LEAF for page in tree) > 200


def test_no_page_is_larger_or_emptier_than_sqlite_allows(write):
    paths = [write(f"s{number:04}", [30] * (number % 90)) for number in range(90)]
    raw = require_joined(paths, graft(paths, write("output", [])))
    for root in raw.roots.values():
        for page in raw.tree(root):
            assert raw.cells(page)
            assert raw.number(raw.at(page) + 5, 2) >= raw.pointers(page)[-1] + 2 - raw.at(page)


def test_small_trees_share_leaves(write):
    paths = [write(f"s{number:04}", [10] * 3, 4096) for number in range(200)]
    raw = require_joined(paths, graft(paths, write("output", [], 4096)))
    rows = sum(raw.length(cell) + 2 for cell in raw.rows(raw.roots["t"]))
    assert len(raw.leaves(raw.roots["t"])) <= 1.05 * rows / 4096 + 1


def test_interior_pages_are_full(write):
    """As many children as there is room for, so that trees stay low."""
    raw = require_joined([path := write("a", [30] * 20000)], graft([path], write("output", [])))
    root = raw.roots["t"]
    interior = [page for page in raw.tree(root) if raw.kind(page) != LEAF]
    used = sum(raw.length(cell + 4) + 6 for page in interior for cell in raw.cells(page))
    assert used > 0.9 * 500 * len(interior)


def test_the_header_agrees_with_itself(write):
    """The count of pages is only valid if two counters of changes are equal (section 1.3.8)."""
    paths = [write("a", [30] * 400), write("b", [30] * 9)]
    output = write("output", [])
    before = Raw(output)
    raw = require_joined(paths, graft(paths, output))
    assert raw.number(24) == raw.number(92) == before.number(24) + 1
    assert raw.number(28) == raw.header.pages == len(raw.data) // 512
    same = {*range(100)} - {*range(24, 32), *range(92, 96)}
    assert all(raw.data[place] == before.data[place] for place in same)


def test_the_counter_of_changes_may_be_large(write):
    paths, output = [write("a", [30] * 400)], write("output", [])
    raw = Raw(output)
    for place in (24, 92):
        raw.put(place, 0x01FFFFFF)
    raw.save()
    raw = require_joined(paths, graft(paths, output))
    assert raw.number(24) == raw.number(92) == 0x02000000


@pytest.mark.parametrize("last", range(96, 102))
def test_an_interior_page_takes_just_as_much_as_it_has_room_for(write, last):
    """Cells that fill it to the byte, and to one byte more or less."""
    lengths = [*[93] * 4, last] * 40
    output = write("output", [])
    file = GrowingFile(output, {"t": Raw(output).roots["t"]}, threading.Lock())
    leaf = bytes([LEAF]) + bytes(511)
    cells = [
        bytes([length - 1, number]) + bytes(length - 2) for number, length in enumerate(lengths)
    ]
    joined = np.frombuffer(b"".join(cells), np.uint8)
    leaves = file.append(*[leaf] * len(lengths))
    file.add({"t": Branch(leaves, joined, np.array(lengths), [b"\1a"])})
    file.finish()
    raw = Raw.__new__(Raw)
    raw.data, raw.header, raw.page_size = bytearray(output.read_bytes()), file.header, 512
    root = 2
    assert len(raw.data) == 512 * raw.number(28)
    interior = [page for page in raw.tree(root) if raw.kind(page) != LEAF]
    for page in interior:
        assert min(raw.cells(page)) >= raw.pointers(page)[-1] + 2
    assert max(len(raw.cells(page)) for page in interior) == (5 if last <= 98 else 4)
    found = [bytes(raw.data[cell : cell + raw.length(cell)]) for cell in raw.rows(root)]
    assert found == [*cells, b"\1a"]


def test_what_was_joined_can_be_joined_again(write):
    """The pages of an output are those of a shard: nothing is left over, and chains are whole."""
    paths = [write("a", [30, 900] * 200), write("b", [30] * 9), write("c", [2000])]
    once = graft(paths, write("once", []))
    later = write("d", [30] * 300)
    require_joined([once, later], graft([once, later], write("twice", [])))


def test_a_joined_file_can_be_changed(write):
    paths = [write(name, [30, 60, 700] * 100) for name in "abcd"]
    output = graft(paths, write("output", []))
    choose = random.Random(1)
    with closing(sqlite3.connect(str(output))) as connection:
        for _ in range(2000):
            row = (choose.choice("abcde"), choose.randrange(400), "y" * choose.choice([0, 90, 900]))
            connection.execute("INSERT OR REPLACE INTO t VALUES (?, ?, ?)", row)
            connection.execute("DELETE FROM t WHERE s = ? AND n = ?", (row[0], row[1] // 2))
        connection.commit()
    assert query(output, "PRAGMA integrity_check") == [("ok",)]


def test_pages_that_cross_the_lock_byte_are_joined(write):
    """The page at one gigabyte belongs to SQLite's locks; the file up to there is a hole."""
    path = write("a", [30] * 900)
    output = write("output", [])
    file = GrowingFile(output, Raw(output).roots, threading.Lock())
    file.allocator.take(2**30 // 512 - 20 - file.allocator.total)
    raw = Raw(path)
    shard = dissect(raw.pages(), list(raw.roots.values()), [])
    branches = transplant(shard, file.descriptor, file.allocator)
    file.add(dict(zip(raw.roots, branches, strict=True)))
    file.finish()
    rows = query(path, "SELECT * FROM t ORDER BY s, n")
    assert query(output, "SELECT * FROM t ORDER BY s, n") == rows
    assert query(output, "SELECT x FROM t INDEXED BY by_x WHERE s = 'a' ORDER BY x, n") == [
        (row[2],) for row in sorted(rows, key=lambda row: (row[2], row[1]))
    ]


def test_a_file_that_is_not_finished_is_as_it_was(write):
    """Leaves behind its end are not part of it as long as the header does not count them."""
    path, output = write("a", [30] * 900), write("output", [])
    file = GrowingFile(output, Raw(output).roots, threading.Lock())
    raw = Raw(path)
    shard = dissect(raw.pages(), list(raw.roots.values()), [])
    branches = transplant(shard, file.descriptor, file.allocator)
    file.add(dict(zip(raw.roots, branches, strict=True)))
    file.close()
    file.close()
    assert query(output, "SELECT * FROM t") == []


def test_the_cells_of_a_leaf_can_be_read_again(write):
    path = write("a", [30] * 900)
    raw = Raw(path)
    leaf = raw.leaves(raw.roots["t"])[7]
    file = GrowingFile(path, {}, threading.Lock())
    cells = [bytes(raw.data[cell : cell + raw.length(cell)]) for cell in raw.cells(leaf)]
    assert file.read_cells(leaf - 1) == cells
    file.close()


def test_the_header_is_read_before_the_file_grows(write):
    output = write("output", [])
    file = GrowingFile(output, {}, threading.Lock())
    assert file.header == read_header(output.read_bytes()[:100])
    numbers = file.append(b"a" * 512, b"b" * 512)
    file.write(int(numbers[0]), b"c" * 512)
    file.close()
    assert output.read_bytes()[numbers[0] * 512 :] == b"c" * 512 + b"b" * 512


def test_the_trees_of_the_output_are_read_like_those_of_a_shard(write):
    paths = [write("a", [30] * 2000), write("b", [60] * 2000)]
    raw = Raw(graft(paths, write("output", [])))
    trees, taken = read_trees(raw.pages(), list(raw.roots.values()))
    assert [tree.rows for tree in trees] == [4000, 4000]
    assert sorted(taken + 1) == list(range(2, raw.header.pages + 1))
    assert len(np.unique(taken)) == len(taken)
