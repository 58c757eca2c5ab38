"""`farm-merge info` and `verify` of a merged database beside scripts that ask SQLite the same.

Run: python benchmarks/look.py --size S --rounds 5. The contenders run in turns, each in a process
of its own. The scripts ask one question after the other: for the health of the file, its references
and the rows of its tables; and for its integrity, its references and the rows of each simulation.
"""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from export import compare, measured

from farm_merge.sqlite import sqlite3, table_names

if TYPE_CHECKING:
    from pathlib import Path


def farm_merge_info(database: Path) -> None:
    _farm_merge("info", database)


def farm_merge_verify(database: Path) -> None:
    _farm_merge("verify", database)


def _farm_merge(command: str, database: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "farm_merge", command, database],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def script_info(database: Path) -> None:
    with closing(sqlite3.connect(str(database))) as connection:
        for table in table_names(connection):
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchone() is None


def script_verify(database: Path) -> None:
    with closing(sqlite3.connect(str(database))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchone() is None
        ledger = connection.execute("SELECT simulation_id, row_counts FROM merged_shards")
        for simulation_id, counts in ledger.fetchall():
            for table, rows in json.loads(counts).items():
                ask = f"SELECT count(*) FROM {table} WHERE simulation_id = ?"
                assert connection.execute(ask, (simulation_id,)).fetchone() == (rows,)


CONTENDERS = {
    contender.__name__: contender
    for contender in (farm_merge_info, script_info, farm_merge_verify, script_verify)
}
RIVALS = {"farm_merge_info": "script_info", "farm_merge_verify": "script_verify"}


if __name__ == "__main__":
    compare("look", CONTENDERS, lambda name, database: measured(CONTENDERS[name], database), RIVALS)
