"""Removing, splitting, vacuuming, archiving: all or nothing, also when killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest
from click.testing import CliRunner

from farm_merge.cli import main
from farm_merge.errors import FarmMergeError, OutputError, ShardError
from farm_merge.housekeeping import (
    archive_database,
    remove_simulations,
    restore_database,
    split_database,
    vacuum_database,
)
from farm_merge.merge import audit, merge_shards
from farm_merge.sqlite import sqlite3
from tests.conftest import content, query, union
from tests.merge.eras import write_era


@pytest.fixture
def experiment(make_shard, tmp_path):
    shards = [make_shard(each, shift=float(number)) for number, each in enumerate("abc")]
    output = tmp_path / "exp.db"
    merge_shards(shards, output)
    return output


def run(*words):
    return CliRunner().invoke(main, list(map(str, words)))


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


def test_a_dry_run_removes_nothing(experiment):
    before = experiment.read_bytes()
    result = run("remove", experiment, "a", "-n")
    assert "would remove a:" in result.output
    assert experiment.read_bytes() == before


def test_split_and_merged_again_is_the_same(experiment, tmp_path):
    files = split_database(experiment, tmp_path / "parts")
    assert sorted(files) == ["a.db", "b.db", "c.db"]
    assert content(tmp_path / "parts/b.db") == content(tmp_path / "shards/b.db")
    merge_shards([tmp_path / "parts"], tmp_path / "again.db")
    assert content(tmp_path / "again.db") == content(experiment)


def test_a_split_keeps_tables_and_columns_that_others_brought(tmp_path):
    for era in (3, 6):
        write_era(tmp_path / f"old/era{era}.db", era)
    merge_shards([tmp_path / "old"], tmp_path / "exp.db", include_running=True)
    result = run("split", tmp_path / "exp.db", "-o", tmp_path / "parts")
    assert result.exit_code == 0, result.output
    merge_shards([tmp_path / "parts"], tmp_path / "again.db", include_running=True)
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    for (table,) in query(tmp_path / "exp.db", tables):
        if table != "merged_shards":
            told = query(tmp_path / "exp.db", f"PRAGMA table_info({table})")
            columns = sorted(name for _, name, *_ in told)
            rows = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {', '.join(columns)}"
            assert query(tmp_path / "again.db", rows) == query(tmp_path / "exp.db", rows), table


def test_a_database_in_wal_mode_is_split_as_it_stands(experiment, tmp_path):
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
        for each, rate in (("a", 0.5), ("b", 0.5), ("c", 1)):
            connection.execute(
                "UPDATE simulations SET parameters = json_object('rate', ?)"
                " WHERE simulation_id = ?", (rate, each),
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
    result = run("split", experiment, "-o", tmp_path / "parts")
    assert result.exit_code == 1
    assert "not empty" in result.output
    assert [each.name for each in (tmp_path / "parts").iterdir()] == ["mine.txt"]


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


def test_what_was_archived_comes_back_byte_for_byte(experiment, tmp_path):
    assert run("archive", experiment).exit_code == 0
    archive = tmp_path / "exp.db.zst"
    assert run("restore", archive, "-o", tmp_path / "back.db").exit_code == 0
    assert (tmp_path / "back.db").read_bytes() == experiment.read_bytes()
    for command in (["archive", experiment], ["restore", archive, "-o", tmp_path / "back.db"]):
        result = run(*command)
        assert result.exit_code == 1
        assert "is there already" in result.output


def test_any_zstandard_reader_takes_an_archive(experiment, tmp_path):
    import zstandard

    archive_database(experiment, tmp_path / "a.zst")
    with zstandard.open(tmp_path / "a.zst", "rb") as file:
        assert file.read() == experiment.read_bytes()


@pytest.mark.parametrize("damage", ["cut", "flip", "seal", "other"])
def test_a_damaged_archive_is_refused(experiment, tmp_path, damage):
    archive = tmp_path / "a.zst"
    archive_database(experiment, archive)
    data = bytearray(archive.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "flip":
        data[len(data) // 2] ^= 1
    elif damage == "seal":
        data[-30] ^= 1
    else:
        data[:] = b"something else"
    archive.write_bytes(data)
    with pytest.raises(ShardError, match=str(archive)):
        restore_database(archive, tmp_path / "back.db")
    assert not (tmp_path / "back.db").exists()


def test_an_archive_has_what_a_wal_holds(experiment, tmp_path):
    with closing(sqlite3.connect(str(experiment))) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("UPDATE simulations SET status = 'changed'")
        connection.commit()
        archive_database(experiment, tmp_path / "a.zst")
    restore_database(tmp_path / "a.zst", tmp_path / "back.db")
    assert query(tmp_path / "back.db", "SELECT DISTINCT status FROM simulations") == [("changed",)]


@pytest.mark.parametrize("work", ["split", "archive", "remove", "vacuum"])
@pytest.mark.parametrize("after", [0.15, 0.3, 0.5])
def test_a_kill_loses_nothing(make_shard, tmp_path, work, after):
    ids = [f"s{number}" for number in range(30)]
    shards = [make_shard(each, steps=200) for each in ids]
    exp = tmp_path / "exp.db"
    merge_shards(shards, exp)
    before = content(exp)
    words = {
        "split": ["split", exp, "-o", tmp_path / "parts"],
        "archive": ["archive", exp, "-o", tmp_path / "exp.zst", "--level", 19],
        "remove": ["remove", exp, *ids[:20]],
        "vacuum": ["vacuum", exp],
    }[work]
    command = [sys.executable, "-m", "farm_merge", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    done = process.wait() == 0
    if work == "remove":
        left = query(exp, "SELECT count(*) FROM simulations")
        assert left in ([(30,)], [(10,)])
    else:
        assert content(exp) == before
    assert audit(exp).problems == ()
    appeared = (tmp_path / "parts").exists() or (tmp_path / "exp.zst").exists()
    if appeared or done or (work == "remove" and left == [(10,)]):
        return
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    leftovers = [e.name for e in tmp_path.iterdir() if e.name.endswith((".partial", ".work"))]
    assert leftovers == []


def test_errors_say_what_and_where(tmp_path):
    with pytest.raises(ShardError, match="nowhere"):
        restore_database(tmp_path / "nowhere.zst", tmp_path / "x.db")
    (tmp_path / "x.db").write_text("")
    with pytest.raises(OutputError, match="is there already"):
        restore_database(tmp_path / "nowhere.zst", tmp_path / "x.db")


def test_a_full_or_closed_folder_is_told_without_a_traceback(experiment, tmp_path):
    before = content(experiment)
    for words in (
        ["archive", experiment, "-o", tmp_path / "exp.db/a.zst"],
        ["split", experiment, "-o", tmp_path / "exp.db/parts"],
        ["export", experiment, "-o", tmp_path / "exp.db/out"],
        ["report", experiment, "-o", tmp_path / "exp.db/r.html"],
    ):
        result = run(*words)
        assert result.exit_code == 1, words
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert "Error: " in result.output
    assert content(experiment) == before


def test_a_database_that_another_is_writing_is_told(experiment, monkeypatch):
    monkeypatch.setattr("farm_merge.sqlite.BUSY_TIMEOUT_SECONDS", 0.1)
    with closing(sqlite3.connect(str(experiment), isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr("farm_merge.reading._BUSY_TIMEOUT_SECONDS", 0.1)
        result = run("remove", experiment, "a")
    assert result.exit_code == 1
    assert "locked" in result.output
