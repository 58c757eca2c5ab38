"""Trees get into those of another database, and SQLite finds all rows of both, in order."""

from __future__ import annotations

import os
import random
import shutil
from contextlib import closing

import pytest

from farm_merge.merge.pages.header import read_header
from farm_merge.merge.pages.journal import journal_of
from farm_merge.merge.pages.splice import Run, Splice
from farm_merge.sqlite import sqlite3
from tests.conftest import query
from tests.merge.pages.raw import Raw

TABLE = "CREATE TABLE t (s TEXT, n INTEGER, x TEXT, PRIMARY KEY (s, n)) WITHOUT ROWID"
INDEX = "CREATE INDEX by_x ON t (s, x)"


def write(path, runs, page_size=512, *, behind=0, removed=()):
    """Write a database with rows of many `s`; behind the end of another if it is to go there."""
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute(TABLE)
        connection.execute(INDEX)
    if behind:
        lengthen(path, behind, page_size)
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        connection.execute("BEGIN")
        for name, sizes in runs.items():
            rows = ((name, number, "x" * size) for number, size in enumerate(sizes))
            connection.executemany("INSERT INTO t VALUES (?, ?, ?)", rows)
        connection.executemany("DELETE FROM t WHERE s = ?", [(name,) for name in removed])
        connection.execute("COMMIT")
    return path


def lengthen(path, pages, page_size):
    os.truncate(path, pages * page_size)
    with path.open("r+b") as file:
        file.seek(28)
        file.write(pages.to_bytes(4, "big"))


def header_of(path):
    return read_header(path.read_bytes()[:100])


def runs_of(old, new):
    """Return which of the new names have none of the old between them."""
    runs = []
    for name in sorted(new):
        first = name
        if runs and not any(runs[-1].last.decode() < other < name for other in old):
            first = runs.pop().first.decode()
        runs.append(Run(first.encode(), name.encode()))
    return runs


def splice(output, addition, runs):
    """Prepare a splice; return the pages that have to change."""
    before = header_of(output)
    with output.open("r+b") as file, addition.open("rb") as coming:
        coming.seek(before.size_bytes)
        file.seek(before.size_bytes)
        shutil.copyfileobj(coming, file)
        file.flush()
        it = Splice(file.fileno(), coming.fileno(), before, header_of(addition))
        mine, theirs = Raw(output).roots, Raw(addition).roots
        for name in mine:
            it.insert(mine[name], theirs[name], runs)
        return it.finish()


def put(output, changed):
    size = header_of(output).page_size
    with output.open("r+b") as file:
        for number, page in changed.items():
            file.seek(number * size)
            file.write(page)


def rows_of(*paths):
    return sorted(row for path in paths for row in query(path, "SELECT * FROM t"))


def require_spliced(output, rows):
    """Let SQLite check all of the output: every page is in one tree, or free."""
    assert query(output, "PRAGMA integrity_check") == [("ok",)]
    assert query(output, "SELECT * FROM t ORDER BY s, n") == rows
    by_x = sorted(rows, key=lambda row: (row[0], row[2], row[1]))
    assert query(output, "SELECT * FROM t ORDER BY s, x, n") == by_x
    assert query(output, "PRAGMA page_count") == [
        (output.stat().st_size // header_of(output).page_size,)
    ]
    names = {name for name, *_ in rows}
    for name in names:
        count = sum(row[0] == name for row in rows)
        assert query(output, "SELECT count(*) FROM t WHERE s = ?", name) == [(count,)]


def require_joined(folder, old, new, page_size, removed=()):
    output = write(folder / "output.db", old, page_size, removed=removed)
    behind = output.stat().st_size // page_size
    addition = write(folder / "addition.db", new, page_size, behind=behind)
    rows, before = rows_of(output, addition), output.read_bytes()
    changed = splice(output, addition, runs_of(old, new))
    # Until pages change, nobody sees anything.
    assert output.read_bytes()[: len(before)] == before
    assert rows_of(output) == [row for row in rows if row[0] in old]
    put(output, changed)
    require_spliced(output, rows)
    return output


PLACES = {
    "behind all": (["a", "b"], ["c", "d"]),
    "before all": (["c", "d"], ["a", "b"]),
    "between two": (["a", "d"], ["b", "c"]),
    "everywhere": (["b", "d", "f"], ["a", "c", "e", "g"]),
    "into nothing": ([], ["a", "b"]),
    "nothing": (["a"], []),
    "names that begin alike": (["a", "aaa"], ["aa", "a ", "aaaa"]),
}
SIZES = {
    "one row": [20],
    "a page": [20] * 12,
    "two levels": [20] * 300,
    "three levels": [20] * 9000,
    "rows as large as can be": [95] * 200,
    "chains": [900, 20, 3000] * 40,
}


@pytest.mark.parametrize(("old", "new"), PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("held", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("coming", SIZES.values(), ids=SIZES)
def test_trees_of_all_shapes_get_into_each_other(tmp_path, old, new, held, coming):
    require_joined(tmp_path, dict.fromkeys(old, held), dict.fromkeys(new, coming), 512)


@pytest.mark.parametrize("seed", range(20))
def test_trees_of_any_shape_get_into_each_other(tmp_path, seed):
    """At random places, with free pages, again and again."""
    choose = random.Random(seed)
    page_size = choose.choice([512, 512, 1024, 4096])
    names = [f"{name:x}" for name in choose.sample(range(1 << 20), 60)]
    sizes = lambda: choose.choices(  # noqa: E731
        [0, 10, 60, 95, 100, 480, 2000], k=choose.choice([0, 1, 2, 5, 40, 700])
    )
    old = {names.pop(): sizes() for _ in range(choose.randrange(10))}
    removed = [name for name in old if choose.random() < 0.3]
    new = {names.pop(): sizes() for _ in range(choose.randrange(1, 20))}
    output = require_joined(tmp_path, old, new, page_size, removed)
    for number in range(3):
        held = {row[0] for row in rows_of(output)}
        more = {names.pop(): sizes() for _ in range(choose.randrange(1, 4))}
        behind = output.stat().st_size // page_size
        addition = write(tmp_path / f"{number}.db", more, page_size, behind=behind)
        rows = rows_of(output, addition)
        put(output, splice(output, addition, runs_of(held, more)))
        require_spliced(output, rows)


def test_sqlite_goes_on_with_what_was_spliced(tmp_path):
    """It takes the free pages, and balances the trees."""
    old, new = dict.fromkeys("bdf", [60] * 900), dict.fromkeys("aceg", [60] * 900)
    output = require_joined(tmp_path, old, new, 512)
    query(output, "DELETE FROM t WHERE s IN ('a', 'd') OR n % 3 = 0")
    query(output, "INSERT INTO t SELECT s, n + 5000, x || 'y' FROM t")
    query(output, "INSERT INTO t SELECT 'ab', n, x FROM t WHERE s = 'c'")
    assert query(output, "PRAGMA integrity_check") == [("ok",)]
    rows = rows_of(output)
    query(output, "VACUUM")
    require_spliced(output, rows)


@pytest.mark.parametrize(
    ("old", "new", "runs"),
    [
        ("b", "ac", [(b"a", b"c")]),  # something lies between
        ("b", "b", [(b"b", b"b")]),  # it is there already
        ("ace", "bd", [(b"b", b"d")]),
    ],
)
def test_keys_that_do_not_go_together_are_refused(tmp_path, old, new, runs):
    output = write(tmp_path / "output.db", dict.fromkeys(old, [20] * 90))
    behind = output.stat().st_size // 512
    addition = write(tmp_path / "addition.db", dict.fromkeys(new, [20] * 90), behind=behind)
    with pytest.raises(ValueError, match="rows of the output lie between"):
        splice(output, addition, [Run(*run) for run in runs])


@pytest.mark.parametrize("number", [0, 3])
def test_rows_that_are_in_no_run_are_missed(tmp_path, number):
    output = write(tmp_path / "output.db", {"m": [20] * 90})
    behind = output.stat().st_size // 512
    addition = write(tmp_path / "addition.db", dict.fromkeys("abcd", [20] * 90), behind=behind)
    runs = [Run(name, name) for name in (b"a", b"b", b"c", b"d")]
    del runs[number]
    with pytest.raises(ValueError, match="rows"):
        splice(output, addition, runs)


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_sqlite_rolls_back_by_the_journal(tmp_path, page_size):
    """At whatever page the process ended, and with any of them torn."""
    old, new = dict.fromkeys("bdf", [60] * 900), dict.fromkeys("aceg", [60] * 900)
    output = write(tmp_path / "output.db", old, page_size)
    before = output.read_bytes()
    addition = write(tmp_path / "addition.db", new, page_size, behind=len(before) // page_size)
    rows = rows_of(output, addition)
    changed = splice(output, addition, runs_of(old, new))
    with output.open("rb") as file:
        journal = journal_of(file.fileno(), header_of(output), changed)
    pages = list(changed.items())
    for done in {0, 1, 2, len(pages) // 2, len(pages)}:
        killed = tmp_path / f"{done}.db"
        shutil.copy(output, killed)
        put(killed, dict(pages[:done]))
        if done < len(pages):
            number, page = pages[done]
            put(killed, {number: page[: page_size // 2]})
        killed.with_name(f"{done}.db-journal").write_bytes(journal)
        assert query(killed, "SELECT * FROM t ORDER BY s, n") == rows_of_old(rows, old)
        assert killed.read_bytes() == before
        assert not killed.with_name(f"{done}.db-journal").exists()
    put(output, changed)
    require_spliced(output, rows)


def rows_of_old(rows, old):
    return [row for row in rows if row[0] in old]
