"""Removing, splitting, vacuuming: all or nothing, also when killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from farm_merge import housekeeping
from farm_merge.errors import FarmMergeError, OutputError
from farm_merge.housekeeping import remove_simulations, split_database, vacuum_database
from farm_merge.merge import audit, merge_shards
from farm_merge.read.listing import list_simulations
from farm_merge.sqlite import connect, sqlite3
from tests.conftest import content, query, union
from tests.limits import killed_at, on_a_full_disk, open_folder, without_write_permission
from tests.merge.eras import write_era


@pytest.fixture
def experiment(make_shard, tmp_path):
    shards = [make_shard(name, shift=float(number)) for number, name in enumerate("abc")]
    output = tmp_path / "exp.db"
    merge_shards(shards, output)
    return output


def test_removed_simulations_are_gone_and_can_be_merged_again(experiment, tmp_path):
    before = content(experiment)
    rows = remove_simulations(experiment, ["a", "b"])
    assert rows["a"] > 0
    assert query(experiment, "SELECT simulation_id FROM simulations") == [("c",)]
    for table in ("agents", "agent_states", "merged_shards"):
        assert query(experiment, f"SELECT DISTINCT simulation_id FROM {table}") == [("c",)]
    assert audit(experiment).problems == ()
    merge_shards([tmp_path / "shards"], experiment)
    assert content(experiment) == before


def test_an_unknown_simulation_stops_a_removal(experiment):
    before = content(experiment)
    with pytest.raises(FarmMergeError, match="has no simulation z"):
        remove_simulations(experiment, ["a", "z"])
    assert content(experiment) == before


def test_simulations_can_be_described(experiment):
    query(experiment, "UPDATE simulations SET status = 'failed' WHERE simulation_id > 'a'")
    assert list(remove_simulations(experiment, where=["status=failed"])) == ["b", "c"]
    assert remove_simulations(experiment, []) == {}
    assert remove_simulations(experiment, ["a"], where=["status=failed"]) == {}
    assert query(experiment, "SELECT simulation_id FROM simulations") == [("a",)]


def test_a_removal_that_is_interrupted_removes_nothing(experiment):
    before = content(experiment)

    def interrupt(done, total):
        assert (done, total) == (1, 2)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        remove_simulations(experiment, ["a", "b"], progress=interrupt)
    assert content(experiment) == before
    assert audit(experiment).problems == ()


def test_split_and_merged_again_is_the_same(experiment, tmp_path):
    seen = []
    files = split_database(
        experiment, tmp_path / "parts", progress=lambda *counts: seen.append(counts)
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert sorted(files) == ["a.db", "b.db", "c.db"]
    assert content(tmp_path / "parts/b.db") == content(tmp_path / "shards/b.db")
    merge_shards([tmp_path / "parts"], tmp_path / "again.db")
    assert content(tmp_path / "again.db") == content(experiment)


def test_a_split_keeps_tables_and_columns_that_others_brought(tmp_path):
    for era in (3, 6):
        write_era(tmp_path / f"old/era{era}.db", era)
    merge_shards([tmp_path / "old"], tmp_path / "exp.db", include_running=True)
    split_database(tmp_path / "exp.db", tmp_path / "parts")
    merge_shards([tmp_path / "parts"], tmp_path / "again.db", include_running=True)
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    for (table,) in query(tmp_path / "exp.db", tables):
        if table != "merged_shards":
            info = query(tmp_path / "exp.db", f"PRAGMA table_info({table})")
            columns = sorted(name for _, name, *_ in info)
            rows = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {', '.join(columns)}"
            assert query(tmp_path / "again.db", rows) == query(tmp_path / "exp.db", rows), table


def test_a_database_in_wal_mode_is_split_as_it_is(experiment, tmp_path):
    with closing(sqlite3.connect(str(experiment))) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("UPDATE simulations SET status = 'changed'")
        connection.commit()
        split_database(experiment, tmp_path / "parts")
    part = tmp_path / "parts/b.db"
    assert content(part) == content(tmp_path / "shards/b.db")
    assert query(part, "SELECT status FROM simulations") == [("changed",)]


def test_split_by_a_parameter(experiment, tmp_path):
    with closing(sqlite3.connect(str(experiment))) as connection:
        for name, rate in (("a", 0.5), ("b", 0.5), ("c", 1)):
            connection.execute(
                "UPDATE simulations SET parameters = json_object('rate', ?)"
                " WHERE simulation_id = ?", (rate, name),
            )  # fmt: skip
        connection.commit()
    files = split_database(experiment, tmp_path / "parts", by="rate")
    assert files == {"rate=0.5.db": ["a", "b"], "rate=1.db": ["c"]}
    assert content(tmp_path / "parts/rate=0.5.db") == union(
        tmp_path / "shards/a.db", tmp_path / "shards/b.db"
    )
    with pytest.raises(FarmMergeError, match="no simulation has a parameter speed"):
        split_database(experiment, tmp_path / "others", by="speed")


def test_a_folder_with_something_in_it_is_not_touched(experiment, tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        split_database(experiment, tmp_path / "parts")
    assert [path.name for path in (tmp_path / "parts").iterdir()] == ["mine.txt"]


def test_names_that_no_file_system_takes_are_encoded(make_shard, tmp_path):
    merge_shards([make_shard("../a/b", file="odd.db")], tmp_path / "exp.db")
    assert list(split_database(tmp_path / "exp.db", tmp_path / "parts")) == ["..%2Fa%2Fb.db"]
    assert (tmp_path / "parts/..%2Fa%2Fb.db").exists()


def test_vacuum_gives_space_back(make_shard, tmp_path):
    merge_shards([make_shard("a", steps=2000), make_shard("b")], tmp_path / "exp.db")
    remove_simulations(tmp_path / "exp.db", ["a"])
    sizes = vacuum_database(tmp_path / "exp.db")
    assert sizes.after < sizes.before / 2
    assert content(tmp_path / "exp.db") == content(tmp_path / "shards/b.db")


def test_a_split_leaves_out_what_belongs_to_no_simulation(experiment, tmp_path):
    query(experiment, "CREATE TABLE notes (text)")
    query(experiment, "INSERT INTO notes VALUES ('mine')")
    split_database(experiment, tmp_path / "parts")
    assert query(tmp_path / "parts/a.db", "SELECT * FROM notes") == []
    assert content(tmp_path / "parts/a.db") == content(tmp_path / "shards/a.db")


def test_a_split_of_what_others_merged_has_no_tables_but_theirs(tmp_path):
    for name in "ab":
        query(tmp_path / f"{name}.db", "CREATE TABLE prey (id INTEGER PRIMARY KEY, x REAL)")
        query(tmp_path / f"{name}.db", f"INSERT INTO prey (x) VALUES ({ord(name)})")
    merge_shards([tmp_path / "a.db", tmp_path / "b.db"], tmp_path / "exp.db")
    split_database(tmp_path / "exp.db", tmp_path / "parts")
    part = tmp_path / "parts/b.db"
    assert query(part, "SELECT simulation_id, x FROM prey") == [("b", 98.0)]
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    assert query(part, tables) == query(tmp_path / "exp.db", tables)


def test_a_vacuum_keeps_others_out_until_it_is_done(experiment, monkeypatch):
    """What was written between the copy and its return would be lost."""
    code = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], timeout=0)\n"
        "connection.execute('UPDATE simulations SET status = 1')\n"
    )
    seen = []

    def connect_while_another_writes(uri, **options):
        if "vacuumed.db" in uri:
            command = [sys.executable, "-c", code, str(experiment)]
            seen.append(subprocess.run(command, check=False, capture_output=True).stderr)
        return connect(uri, **options)

    monkeypatch.setattr(housekeeping, "connect", connect_while_another_writes)
    vacuum_database(experiment)
    assert len(seen) == 1
    assert b"database is locked" in seen[0]


def test_a_vacuum_leaves_the_process_as_it_was(experiment, monkeypatch):
    monkeypatch.delenv("SQLITE_TMPDIR", raising=False)
    before = dict(os.environ)
    vacuum_database(experiment)
    assert dict(os.environ) == before


@pytest.mark.parametrize("work", ["remove", "vacuum"])
def test_a_database_that_another_is_writing_is_reported(experiment, monkeypatch, work):
    monkeypatch.setattr("farm_merge.sqlite.BUSY_TIMEOUT_SECONDS", 0.1)
    with closing(sqlite3.connect(str(experiment), isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutputError, match=r"exp\.db: SQLite cannot write it \(.*locked"):
            work_on(experiment, work)


@pytest.mark.parametrize("work", ["remove", "vacuum"])
def test_a_database_that_may_not_be_written_is_reported(make_shard, work):
    with open_folder() as folder:
        shard = Path(shutil.move(make_shard("a"), folder / "a.db"))
        before = shard.read_bytes()
        with without_write_permission(folder), pytest.raises(OutputError, match="cannot be writ"):
            work_on(shard, work)
        assert shard.read_bytes() == before


def work_on(database, work):
    return remove_simulations(database, ["a"]) if work == "remove" else vacuum_database(database)


@pytest.fixture
def large(make_shard, tmp_path):
    """A database that is larger than SQLite's cache, and free space at its beginning."""
    merge_shards([make_shard("a", steps=500), make_shard("b", steps=20000)], tmp_path / "exp.db")
    remove_simulations(tmp_path / "exp.db", ["a"])
    return tmp_path / "exp.db"


def leftovers(folder):
    """Return what is beside a database and should not stay there."""
    return [path.name for path in folder.iterdir() if path.name.startswith((".", "exp.db-"))]


@pytest.mark.parametrize("stage", ["while it is copied", "while the copy is written back"])
def test_a_kill_during_a_vacuum_loses_nothing(large, stage):
    before, size = content(large), large.stat().st_size
    query(large, "VACUUM INTO ?", str(large.with_name("copy.db")))
    vacuumed = large.with_name("copy.db").stat().st_size
    # The journal of all pages is larger than they are.
    killed_at(vacuumed if "back" in stage else vacuumed // 2, "vacuum", large)
    journal = large.with_name("exp.db-journal")
    assert journal.exists() == ("back" in stage)
    assert [row["simulation_id"] for row in list_simulations(large)] == ["b"]
    assert content(large) == before
    assert audit(large).problems == ()
    assert vacuum_database(large).after == vacuumed < size
    assert content(large) == before
    assert leftovers(large.parent) == []


@pytest.mark.parametrize(("share", "left"), [(0.02, ["a", "b", "c"]), (0.9, ["c"])])
def test_a_kill_during_a_removal_removes_all_or_nothing(make_shard, tmp_path, share, left):
    merge_shards([make_shard(name, steps=200) for name in "abc"], tmp_path / "exp.db")
    experiment = tmp_path / "exp.db"
    before = content(experiment)
    killed_at(
        int(experiment.stat().st_size * share),
        "remove",
        experiment,
        "--simulation=a",
        "--simulation=b",
    )
    assert [row["simulation_id"] for row in list_simulations(experiment)] == left
    if len(left) == 3:
        assert content(experiment) == before
        remove_simulations(experiment, ["a", "b"])
    assert content(experiment) == content(tmp_path / "shards/c.db")
    assert audit(experiment).problems == ()
    vacuum_database(experiment)
    assert leftovers(tmp_path) == []


def test_a_kill_during_a_split_leaves_nothing_half_done(experiment, tmp_path):
    before = content(experiment)
    killed_at(50_000, "split", experiment, "-o", tmp_path / "parts")
    assert not (tmp_path / "parts").exists()
    assert content(experiment) == before
    split_database(experiment, tmp_path / "parts")
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize(
    "words",
    [["remove", "--simulation=a"], ["vacuum"], ["split", "-o", "parts"], ["archive"], ["export", "-o", "out"],
     ["report", "-o", "r.html"]],
)  # fmt: skip
def test_a_full_disk_is_reported_and_leaves_all_as_it_was(experiment, tmp_path, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before, beside = content(experiment), sorted(tmp_path.iterdir())
    result = on_a_full_disk(1000, words[0], "exp.db", *words[1:])
    assert result.returncode == 1
    assert result.stderr.startswith("Error: ")
    assert "Traceback" not in result.stderr
    assert content(experiment) == before
    assert sorted(tmp_path.iterdir()) == beside
