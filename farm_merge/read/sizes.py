"""Sizes: how many bytes each table of a database takes, as Python's own SQLite counts them.

That needs the virtual table DBSTAT (https://www.sqlite.org/dbstat.html), which pysqlite3's wheels
lack. Two copies of SQLite in one process would drop each other's locks on the file, so another
process is asked; it is the only place where a second SQLite reads an experiment database.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

from farm_merge.sqlite import file_uri

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["table_sizes"]

_ASK = """
import json, sqlite3, sys
rows = sqlite3.connect(sys.argv[1], uri=True).execute('''
    SELECT coalesce(object.tbl_name, part.name), sum(part.pgsize)
    FROM dbstat AS part LEFT JOIN sqlite_schema AS object ON object.name = part.name
    WHERE part.aggregate = TRUE GROUP BY 1
''')
print(json.dumps(dict(rows.fetchall())))
"""


def table_sizes(database: str | PathLike[str]) -> dict[str, int]:
    """Return the bytes of each table with its indexes; nothing where they cannot be counted."""
    # Isolated and without site-packages, it starts in a few hundredths of a second.
    command = [sys.executable, "-I", "-S", "-c", _ASK, file_uri(database, mode="ro")]
    try:
        answer = subprocess.run(command, capture_output=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return {}
    return dict(json.loads(answer.stdout))
