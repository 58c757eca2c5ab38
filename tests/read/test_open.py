"""A database is opened so that nothing in it changes, and after a kill it can still be read."""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner

from farm_merge import ExperimentDatabase
from farm_merge.cli import main
from farm_merge.errors import ShardError
from farm_merge.read.open import frame, query, reading, reading_rows
from farm_merge.sqlite import sqlite3
from tests.conftest import content
from tests.conftest import query as ask
from tests.limits import open_folder, without_write_permission
from tests.read.foreign import write_foreign_runs

KILLED = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=" + sys.argv[2])
connection.execute("PRAGMA cache_size=1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE agent_states SET position_x = -1")
connection.execute("UPDATE resource_states SET amount = -1")
if sys.argv[2] == "WAL":
    connection.execute("COMMIT")
os.kill(os.getpid(), signal.SIGKILL)
"""


def kill_while_writing(path, journal_mode):
    command = [sys.executable, "-c", KILLED, str(path), journal_mode]
    assert subprocess.run(command, check=False).returncode < 0


@pytest.fixture
def shared(make_shard):
    """A shard that others can read too."""
    with open_folder() as folder:
        yield Path(shutil.move(make_shard("a", steps=400), folder / "a.db"))


def test_what_a_killed_process_left_half_done_is_undone(make_shard):
    shard = make_shard("a", steps=400)
    before = content(shard)
    kill_while_writing(shard, "DELETE")
    journal = shard.with_name("a.db-journal")
    assert journal.stat().st_size > 0
    result = CliRunner().invoke(main, ["list", str(shard)])
    assert result.exit_code == 0, result.output
    assert not journal.exists()
    assert content(shard) == before


def test_what_a_killed_process_left_is_explained_where_it_cannot_be_undone(shared):
    kill_while_writing(shared, "DELETE")
    before = shared.read_bytes()
    with (
        without_write_permission(shared.parent),
        pytest.raises(ShardError, match=r"by a process that was killed.*; make the file and its"),
        reading(shared),
    ):
        pass
    assert shared.read_bytes() == before


def test_what_a_killed_process_committed_in_its_wal_is_read(make_shard):
    shard = make_shard("a", steps=400)
    kill_while_writing(shard, "WAL")
    assert shard.with_name("a.db-wal").stat().st_size > 0
    with reading_rows(shard) as db:
        rows = list(db.query("SELECT DISTINCT position_x FROM agent_states"))
    assert rows == [{"position_x": -1.0}]


def test_who_may_not_write_can_read(shared):
    with without_write_permission(shared.parent), reading(shared) as connection:
        assert connection.execute("SELECT count(*) FROM agents").fetchone() == (3,)


def test_frames(four_runs):
    steps = frame(four_runs, "simulation_steps", ["a1", "b1"], range(1, 3))
    assert list(steps["simulation_id"]) == ["a1", "a1", "b1", "b1"]
    assert list(steps["step_number"]) == [1, 2, 1, 2]
    with ExperimentDatabase(four_runs, "exp") as database:
        assert len(database.frame("agents", "b2")) == 4
    with pytest.raises(ShardError, match="has no table agent; the nearest is agents"):
        frame(four_runs, "agent")
    with pytest.raises(ShardError, match="has no simulation a3; there are a1, a2, b1, b2"):
        frame(four_runs, "agents", ["a1", "a3"])
    with pytest.raises(ShardError, match="has no simulation_id to choose by"):
        frame(four_runs, "experiments", "a1")


def test_generated_columns_are_in_frames(four_runs):
    ask(four_runs, "INSERT INTO agent_states (simulation_id, step_number, agent_id)"
        " VALUES ('a1', 2, 'agent_0')")  # fmt: skip
    assert frame(four_runs, "agent_states", "a1")["id"].tolist() == ["a1:agent_0-2"]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM agents",
        "ATTACH 'other.db' AS other",
        "SELECT 1; SELECT 2",
        "SELEC 1",
        "PRAGMA journal_mode=WAL",
        "VACUUM INTO 'other.db'",
    ],
)
def test_sql_cannot_write(four_runs, statement, monkeypatch):
    monkeypatch.chdir(four_runs.parent)
    before = four_runs.read_bytes(), sorted(four_runs.parent.iterdir())
    result = CliRunner().invoke(main, ["sql", str(four_runs), statement])
    assert "Traceback" not in result.output
    assert result.exit_code == 1 or statement.startswith("PRAGMA")
    assert (four_runs.read_bytes(), sorted(four_runs.parent.iterdir())) == before


@pytest.mark.parametrize(
    ("statement", "values", "words"),
    [
        ("SELECT * FROM agent_stats", {}, "no such table: agent_stats; the nearest is agent_states"),
        ("SELECT s.stauts FROM simulations AS s", {}, "no such column: s.stauts; the nearest is status"),
        ("SELECT :id, :seed", {"id": 1}, "the statement has :seed, and no value is given for it"),
        ("SELECT :id", {"ids": 1}, "has :id, and no value is given for it; the nearest is ids"),
        ("SELECT :id", {"id": 1, "idd": 2}, "the statement has no :idd; the nearest is id"),
        ("-- nothing", {}, "the statement returns no rows"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_statement_is_named(four_runs, statement, values, words):
    with pytest.raises(ShardError, match=words), query(four_runs, statement, values):
        pass


def test_a_statement_that_fails_midway_is_an_error(four_runs):
    with (
        pytest.raises(ShardError, match="integer overflow"),
        query(four_runs, "SELECT abs(-9223372036854775807 - 1)") as (_, rows),
    ):
        list(rows)


def test_steps_are_chosen_in_any_models_tables(tmp_path):
    output = write_foreign_runs(tmp_path)
    assert list(frame(output, "model", "run_1", range(1, 3))["Step"]) == [1, 2]
    assert list(frame(output, "sheep", "run_1", range(0, 3, 2))["Step"]) == [0, 2, 2]
    assert len(frame(output, "trades", "run_2")) == 2
    with pytest.raises(ShardError, match=r"exp\.db: table trades: has no steps to choose from"):
        frame(output, "trades", "run_2", range(1, 3))


def test_a_database_that_is_being_made_is_reported_as_that(tmp_path):
    with closing(sqlite3.connect(str(tmp_path / "exp.db"))) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    stopped = "it is being made, or whoever made it was stopped"
    with pytest.raises(ShardError, match=stopped), reading(tmp_path / "exp.db"):
        pass
