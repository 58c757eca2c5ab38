"""Journal: what a database was, kept beside it while pages of it change.

It is SQLite's own rollback journal (section 3). As long as it is there, whoever opens the database
puts back what it holds, and cuts off what was written behind the old end; so all pages change in
the moment in which it goes.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from farm_merge.merge.pages.header import Header

__all__ = ["MARK_BYTES", "journal_of"]

_MAGIC = bytes.fromhex("d9d505f920a163d7")
MARK_BYTES = len(_MAGIC) + 4
"""What it starts with makes it a journal, and says how many pages it keeps: zeros until the rest is
on the disk."""

_SECTOR_BYTES = 4096
"""The header is alone in its sector, which may be lost as a whole when the power goes."""


def journal_of(database: int, header: Header, pages: Iterable[int]) -> bytes:
    """Return a journal that keeps pages of a database.

    Args:
        database: The database, open for reading.
        header: Its header.
        pages: Their numbers, from 0.
    """
    size, nonce = header.page_size, int.from_bytes(os.urandom(4), "big")
    records = []
    for page in pages:
        content = os.pread(database, size, page * size)
        checksum = (nonce + sum(content[size - 200 : 0 : -200])) & 0xFFFFFFFF
        records.append(struct.pack(">I", page + 1) + content + struct.pack(">I", checksum))
    fields = (len(records), nonce, header.pages, _SECTOR_BYTES, size)
    head = _MAGIC + struct.pack(">5I", *fields)
    return head.ljust(_SECTOR_BYTES, b"\0") + b"".join(records)
