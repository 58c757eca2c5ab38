"""An input as a file: looked at once, and read without leaving a trace."""

from __future__ import annotations

import subprocess
import sys

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge import merge_shards
from farm_merge.sqlite import sqlite3
from tests.conftest import content, query
from tests.merge.checks import snapshot


def test_a_wal_left_by_a_killed_run_is_read_and_its_folder_stays_as_it_was(make_shard, tmp_path):
    shard = make_shard("a", journal_mode="WAL")
    script = (
        "import os, signal, sys\n"
        "from farm_merge.sqlite import sqlite3\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "row = ('a', 'late')\n"
        "connection.execute('INSERT INTO agents (simulation_id, agent_id) VALUES (?, ?)', row)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, shard], check=False).returncode == -9
    assert shard.with_name("a.db-wal").stat().st_size > 0
    before = snapshot(shard.parent)
    merge_shards([shard.parent], tmp_path / "exp.db")
    assert snapshot(shard.parent) == before
    assert query(tmp_path / "exp.db", "SELECT count(*) FROM agents WHERE agent_id='late'") == [(1,)]


def test_a_read_only_folder_of_shards_can_be_merged(make_shard, tmp_path):
    shard = make_shard("a", journal_mode="WAL")
    shard.chmod(0o444)
    shard.parent.chmod(0o555)
    try:
        merge_shards([shard], tmp_path / "exp.db")
    finally:
        shard.parent.chmod(0o755)
    assert sorted(path.name for path in shard.parent.iterdir()) == ["a.db"]


def test_a_hot_journal_left_by_a_killed_run_is_rolled_back_elsewhere(make_shard, tmp_path):
    shard = make_shard("a", steps=2000)
    expected = content(shard)
    script = (
        "import os, signal, sys\n"
        "from farm_merge.sqlite import sqlite3\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "connection.execute('PRAGMA cache_size = 5')\n"
        "connection.execute('BEGIN')\n"
        "connection.execute('UPDATE agent_states SET position_x = -1')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", script, shard], check=False).returncode == -9
    assert shard.with_name("a.db-journal").stat().st_size > 0
    before = snapshot(shard.parent)
    merge_shards([shard], tmp_path / "exp.db")
    assert snapshot(shard.parent) == before
    assert content(tmp_path / "exp.db") == expected


def test_a_shard_that_this_process_has_open_is_refused(make_shard, tmp_path):
    shard = make_shard("a")
    connection = sqlite3.connect(str(shard))
    connection.execute("SELECT * FROM agents").fetchone()
    with pytest.raises(ShardError, match="open in this process"):
        merge_shards([shard], tmp_path / "exp.db")
    connection.close()
