"""Small databases with trees of every shape."""

from __future__ import annotations

from contextlib import ExitStack, closing

import pytest

from farm_merge.merge.pages.partial import PartialPages
from farm_merge.sqlite import sqlite3
from tests.merge.pages.raw import Raw


@pytest.fixture(params=["whole", "partial"])
def reading(request, monkeypatch, tmp_path_factory):
    """Take every database apart twice: with all of its pages in memory, and with few."""
    if request.param == "whole":
        yield
        return
    with ExitStack() as files:

        def partial(self):
            path = self.save(tmp_path_factory.mktemp("partial") / "a.db")
            file = files.enter_context(path.open("rb", buffering=0))
            return PartialPages(file.fileno(), self.header, len(self.data), lambda _: None)

        monkeypatch.setattr(Raw, "pages", partial)
        yield


@pytest.fixture
def make_database(tmp_path):
    """Make a database with tables WITHOUT ROWID of numbers and texts of given sizes."""

    def make(tables=None, *, name="a.db", page_size=512, before=(), after=(), order=None):
        path = tmp_path / name
        with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
            connection.execute(f"PRAGMA page_size = {page_size}")
            for statement in before:
                connection.execute(statement)
            connection.execute("BEGIN")
            for table, sizes in ({"t": [20] * 300} if tables is None else tables).items():
                connection.execute(
                    f"CREATE TABLE {table} (n INTEGER, x TEXT, PRIMARY KEY (n)) WITHOUT ROWID"
                )
                rows = [(number, "x" * size) for number, size in enumerate(sizes)]
                connection.executemany(
                    f"INSERT INTO {table} VALUES (?, ?)",
                    rows if order is None else [rows[number] for number in order],
                )
            connection.execute("COMMIT")
            for statement in after:
                connection.execute(statement)
        return Raw(path)

    return make
