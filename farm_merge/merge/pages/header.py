"""The header of a database file: its first 100 bytes.

Section numbers are those of https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["HEADER_BYTES", "MAGIC", "Header", "read_header"]

HEADER_BYTES = 100

MAGIC = b"SQLite format 3\0"
"""What every database file starts with (section 1.3.1)."""

_UTF_8, _UTF_16 = 1, frozenset({2, 3})
_SCHEMA_FORMAT = 4
_WAL_VERSION = 2


class Header(NamedTuple):
    """What the header of a database file holds (section 1.3).

    Attributes:
        page_size: Bytes of a page.
        reserved: Bytes at the end of every page that hold no content.
        pages: How many pages the file has.
        schema_format: Which forms of records and indexes it may hold.
        auto_vacuum: Whether it has pages that point back at their parents.
        encoding: How text is encoded.
        is_wal: Whether it is written by way of a WAL.
        application_id: Whose file it is.
    """

    page_size: int
    reserved: int
    pages: int
    schema_format: int
    auto_vacuum: bool
    encoding: int
    is_wal: bool
    application_id: int

    @property
    def usable(self) -> int:
        """Bytes of a page that hold content."""
        return self.page_size - self.reserved

    @property
    def size_bytes(self) -> int:
        """Bytes of the file."""
        return self.pages * self.page_size

    @property
    def is_utf16(self) -> bool:
        """Whether text is UTF-16."""
        return self.encoding in _UTF_16

    @property
    def allows_grafting(self) -> bool:
        """Whether the file's pages can be part of a file that this SQLite made."""
        return (
            self.reserved == 0
            and not self.auto_vacuum
            and self.encoding == _UTF_8
            and self.schema_format == _SCHEMA_FORMAT
        )


def read_header(head: bytes) -> Header:
    """Read the first 100 bytes of a database file.

    Raises:
        ValueError: If they are not those of a database file.
    """
    if len(head) < HEADER_BYTES or not head.startswith(MAGIC):
        raise ValueError("not a SQLite database")
    page_size = int.from_bytes(head[16:18], "big")
    return Header(
        65536 if page_size == 1 else page_size,
        head[20],
        int.from_bytes(head[28:32], "big"),
        int.from_bytes(head[44:48], "big"),
        any(head[52:56]),
        int.from_bytes(head[56:60], "big"),
        _WAL_VERSION in (head[18], head[19]),
        int.from_bytes(head[68:72], "big"),
    )
