"""How often an input is opened: every open costs, and may drop a lock."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.merge.eras import write_era

COUNTED = """
import sys
from pathlib import Path

sqlite3_opens, raw_opens = [], []

def hook(event, arguments):
    if event == "open":
        raw_opens.append(str(arguments[0]))
    elif event == "sqlite3.connect" or event.endswith(".connect") and "sqlite" in event:
        sqlite3_opens.append(str(arguments[0]))

from farm_merge.merge import merge_shards
from farm_merge.sqlite import sqlite3

class Counted(sqlite3.Connection):
    def execute(self, sql, *arguments):
        if sql.startswith("ATTACH"):
            sqlite3_opens.append(str(arguments[0]))
        return super().execute(sql, *arguments)

honest = sqlite3.connect
sqlite3.connect = lambda *arguments, **options: honest(
    *arguments, **{**options, "factory": Counted}
)
sys.addaudithook(hook)
shard, output, engine = sys.argv[1:]
merge_shards([shard], output, engine=engine, jobs=1)
name = Path(shard).name
print(sum(Path(path).name == name for path in raw_opens), end=" ")
print(sum(f"/{name}" in uri for uri in sqlite3_opens))
"""


def opens(shard, output, engine="auto"):
    """Return how often a file is opened, and how often SQLite opens it."""
    command = [sys.executable, "-c", COUNTED, str(shard), str(output), engine]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    raw, sqlite = map(int, done.stdout.split())
    return raw, sqlite


def test_a_shard_that_is_grafted_is_opened_four_times(make_shard, tmp_path):
    """A look at its header and lock, two connections, and once to be read."""
    assert opens(make_shard("a"), tmp_path / "exp.db", "graft") == (2, 2)


@pytest.mark.parametrize("engine", ["auto", "attach"])
def test_a_file_that_is_read_whole_is_opened_four_times(tmp_path, engine):
    """A look, its hash, an inspection, and a copy."""
    old = write_era(tmp_path / "old" / "run.db", 3)
    assert opens(old, tmp_path / "exp.db", engine) == (2, 2)


def test_a_file_that_the_ledger_knows_is_not_opened(make_shard, tmp_path):
    shard = make_shard("a", steps=3000)
    opens(shard, tmp_path / "exp.db")
    assert opens(shard, tmp_path / "exp.db") == (0, 0)


def test_a_shard_that_is_appended_is_opened_four_times(make_shard, tmp_path):
    opens(make_shard("a"), tmp_path / "exp.db")
    assert opens(make_shard("b"), tmp_path / "exp.db") == (2, 2)
