"""A run that still writes its file, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

WRITER = """
    import sys, time
    from farm_merge.sqlite import sqlite3
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    connection.execute("PRAGMA journal_mode = " + sys.argv[2])
    connection.execute("PRAGMA cache_size = 10")
    connection.execute("INSERT INTO t (v) VALUES ('committed')")
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("INSERT INTO t (v) VALUES (?)", [("x" * 500,)] * int(sys.argv[3]))
    print("writing", flush=True)
    sys.stdin.readline()
    connection.execute("COMMIT")
    print("done", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def writer(tmp_path):
    """Start a process that is in the middle of a transaction."""
    processes = []

    def start(path, journal_mode, rows=1):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(path), journal_mode, str(rows)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        assert process.stdout.readline() == "writing\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()
