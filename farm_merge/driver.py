"""The one place that chooses the SQLite driver.

pysqlite3 brings a current SQLite where it has wheels; Python's own module serves elsewhere. Two
copies of the SQLite library in one process would drop each other's POSIX locks, so everything in
this package, SQLAlchemy and sqlite-utils included, uses the driver chosen here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    import sqlite3
    from os import PathLike
else:
    try:
        import pysqlite3.dbapi2 as sqlite3
    except ImportError:
        import sqlite3

__all__ = ["file_uri", "quoted", "sqlite3"]


def file_uri(path: str | PathLike[str], **parameters: str | int) -> str:
    """Return the `file:` URI of a database, percent-encoded, so that any path can be opened.

    Args:
        path: The file, absolute or relative to the working directory.
        parameters: URI parameters such as `mode="ro"` or `immutable=1`
            (https://www.sqlite.org/uri.html).
    """
    # fsencode keeps file names that are not valid UTF-8.
    encoded = quote(os.fsencode(os.path.abspath(path)))  # noqa: PTH100  (no symlink is resolved)
    query = "&".join(f"{name}={quote(str(value))}" for name, value in parameters.items())
    return f"file:{encoded}?{query}" if query else f"file:{encoded}"


def quoted(name: str) -> str:
    """Return an identifier in quotes, as sqlite-utils does; importing that costs 0.3 seconds."""
    return '"{}"'.format(name.replace('"', '""'))
