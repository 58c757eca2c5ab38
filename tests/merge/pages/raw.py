"""SQLite's format once more, slowly and in plain Python: what the product is compared with.

Pages are numbered from 1 here, as in the file. A `Raw` can be changed and saved: that is how tests
damage real databases.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

from farm_merge.merge.pages.cells import Pages
from farm_merge.merge.pages.header import read_header
from farm_merge.sqlite import sqlite3

LEAF, INTERIOR, TABLE_LEAF = 10, 2, 13


def roots(path):
    """Return the root pages of all b-trees but the schema's, by name."""
    with closing(sqlite3.connect(str(path))) as connection:
        return dict(
            connection.execute(
                "SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0 ORDER BY rowid"
            )
        )


class Raw:
    """The bytes of a database."""

    def __init__(self, path):
        self.path = Path(path)
        self.data = bytearray(self.path.read_bytes())
        self.header = read_header(bytes(self.data[:100]))
        self.page_size = self.header.page_size
        self.roots = roots(path)

    def save(self, path=None):
        path = Path(path or self.path)
        path.write_bytes(self.data)
        return path

    def array(self):
        """Return a copy of the bytes, as the product takes them."""
        return np.frombuffer(self.data, np.uint8).copy()

    def pages(self):
        """Return a copy of the pages, as the product takes them."""
        return Pages(self.array(), self.header)

    def number(self, at, size=4):
        return int.from_bytes(self.data[at : at + size], "big")

    def put(self, at, number, size=4):
        self.data[at : at + size] = number.to_bytes(size, "big")

    def at(self, page):
        """Return where a page starts."""
        return (page - 1) * self.page_size

    def kind(self, page):
        return self.data[self.at(page)]

    def pointers(self, page):
        """Return where the pointers to the cells of a page are, in the order of the keys."""
        at = self.at(page)
        first = at + (12 if self.kind(page) == INTERIOR else 8)
        return [first + 2 * number for number in range(self.number(at + 3, 2))]

    def cells(self, page):
        """Return where the cells of a page start."""
        return [self.at(page) + self.number(pointer, 2) for pointer in self.pointers(page)]

    def children(self, page):
        """Return the children of an interior page, the right one last."""
        return [self.number(cell) for cell in self.cells(page)] + [self.number(self.at(page) + 8)]

    def leaves(self, page):
        """Return the leaves below a page, in the order of the keys."""
        if self.kind(page) in {LEAF, TABLE_LEAF}:
            return [page]
        return [leaf for child in self.children(page) for leaf in self.leaves(child)]

    def tree(self, page):
        """Return all pages of a tree."""
        below = [] if self.kind(page) == LEAF else self.children(page)
        return [page, *(number for child in below for number in self.tree(child))]

    def rows(self, page):
        """Return where all cells of a tree start, in the order of the keys, without the child."""
        cells = self.cells(page)
        if self.kind(page) == LEAF:
            return cells
        *left, right = self.children(page)
        found = [
            row
            for child, cell in zip(left, cells, strict=True)
            for row in (*self.rows(child), cell + 4)
        ]
        return found + self.rows(right)

    def varint(self, at):
        """Return a number of up to nine bytes, and where it ends."""
        number = 0
        for _ in range(8):
            byte = self.data[at]
            number, at = number << 7 | byte & 0x7F, at + 1
            if byte < 0x80:
                return number, at
        return number << 8 | self.data[at], at + 1

    def payload(self, cell):
        """Return the size of the payload of a cell, where it starts, and how much of it is kept."""
        size, start = self.varint(cell)
        usable = self.header.usable
        most, least = (usable - 12) * 64 // 255 - 23, (usable - 12) * 32 // 255 - 23
        kept = least + (size - least) % (usable - 4)
        if size <= most:
            return size, start, size
        return size, start, kept if kept <= most else least

    def length(self, cell):
        size, start, kept = self.payload(cell)
        return start + kept - cell + (4 if kept < size else 0)

    def chain(self, cell):
        """Return the overflow pages of a cell."""
        size, start, kept = self.payload(cell)
        found = []
        if kept < size:
            page = self.number(start + kept)
            while page:
                found.append(page)
                page = self.number(self.at(page))
        return found

    def value(self, cell, column=0):
        """Return an integer or a text of a record (section 2.1)."""
        _, start, _ = self.payload(cell)
        end, at = self.varint(start)
        end += start
        body = end
        for _ in range(column + 1):
            kind, at = self.varint(at)
            size = [0, 1, 2, 3, 4, 6, 8, 8, 0, 0][kind] if kind < 10 else (kind - 12) // 2
            value = self.data[body : body + size]
            body += size
        if kind in {8, 9}:
            return kind - 8
        return value.decode() if kind > 12 else int.from_bytes(value, "big", signed=True)
