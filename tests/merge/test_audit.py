"""An experiment database against its ledger, and against the files it came from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from importlib import import_module

import pytest

from farm_merge.errors import OutputError, ShardError
from farm_merge.merge import audit, merge_shards
from farm_merge.sqlite import sqlite3
from tests.conftest import query
from tests.merge.damage import damaged, swap_pointers
from tests.merge.eras import write, write_era
from tests.sweep.small import wait_until

SLOWLY = """
import time
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

def compare(*_):
    with TemporaryDirectory() as folder:
        Path(folder, "copy").touch()
        time.sleep(600)

import_module("farm_merge.merge.audit")._Comparison._compare = compare
import_module("farm_merge.__main__").run()
"""


@pytest.fixture
def merged(make_shard, tmp_path):
    sources = [make_shard("a"), make_shard("b"), write_era(tmp_path / "old.db", 3)]
    merge_shards(sources, tmp_path / "exp.db")
    return tmp_path / "exp.db", sources


def test_all_is_well(merged):
    output, sources = merged
    report = audit(output, sources)
    assert (report.simulations, report.counted, report.compared) == (3, 3, 3)
    assert report.problems == ()


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (
            "DELETE FROM agent_states WHERE simulation_id = 'a' AND step_number = 0",
            "agent_states: 15 rows were merged, 12 are there",
        ),
        (
            "DELETE FROM learning_experiences",
            "learning_experiences: 1 rows were merged, 0 are there",
        ),
        ("DELETE FROM simulations WHERE simulation_id = 'b'", "in the ledger, but not there"),
    ],
)
def test_rows_that_went_are_found_by_counting(merged, damage, match):
    output, _ = merged
    query(output, damage)
    assert any(match in problem for problem in audit(output).problems)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE agents SET position_x = 7.25 WHERE simulation_id = 'a' AND agent_id = 'agent_1'",
        "UPDATE agents SET genome_id = '' WHERE simulation_id = 'a'",
        "UPDATE agent_actions SET reward = 1 WHERE simulation_id = 'a' AND action_id = 2",
        "UPDATE agent_states SET agent_id = upper(agent_id) WHERE simulation_id = 'a'",
    ],
)
def test_values_that_changed_are_found_by_comparing(merged, damage):
    output, sources = merged
    query(output, damage)
    assert audit(output).problems == ()
    (problem,) = audit(output, sources).problems
    assert "a.db [a]: differs from" in problem


def test_a_shard_that_was_never_merged_is_reported(merged, make_shard):
    output, _ = merged
    (problem,) = audit(output, [make_shard("c")]).problems
    assert "c.db [c]: not in" in problem


def test_a_shard_that_cannot_be_read_is_reported(merged, tmp_path):
    output, _ = merged
    (tmp_path / "text.db").write_text("nonsense")
    (problem,) = audit(output, [tmp_path / "text.db"]).problems
    assert "not a SQLite database" in problem


@pytest.mark.parametrize("named", ["gone.db", "nothing/*.db", "empty"])
def test_files_that_are_not_there_are_no_difference_and_not_compared_in_silence(
    merged, tmp_path, named
):
    output, sources = merged
    (tmp_path / "empty").mkdir()
    reason = "no database found" if named == "empty" else "no such file"
    with pytest.raises(ShardError, match=reason):
        audit(output, [tmp_path / named])
    if named != "empty":
        with pytest.raises(ShardError, match=reason):
            audit(output, [*sources, tmp_path / named])


def test_what_is_found_and_no_input_is_noted(merged, tmp_path):
    output, sources = merged
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / ".hidden.db").write_bytes(sources[0].read_bytes())
    (note,) = audit(output, [tmp_path / "more"]).notes
    assert note.startswith(f"not compared: {tmp_path}/more/.hidden.db: is hidden")


def test_rows_that_point_nowhere_are_reported_and_no_problem(make_shard, tmp_path):
    shard = make_shard("a")
    query(shard, "DELETE FROM agents WHERE agent_id = 'agent_0'")
    merge_shards([shard], tmp_path / "exp.db")
    report = audit(tmp_path / "exp.db")
    assert report.problems == ()
    assert any(
        "agent_states: 5 rows refer to rows that agents does not have" in n for n in report.notes
    )


def test_what_was_written_and_not_merged_is_reported(make_shard):
    report = audit(make_shard("a"))
    assert report.notes == ("1 simulations were written here, and never merged",)


def test_rows_out_of_order_are_found(make_shard, tmp_path):
    """Those by whose key SQLite does not find them."""
    merge_shards([make_shard("a", steps=200)], tmp_path / "exp.db")
    damaged(tmp_path / "exp.db", swap_pointers)
    assert any(
        "SQLite's integrity_check reports: row not in PRIMARY KEY order" in problem
        for problem in audit(tmp_path / "exp.db").problems
    )


def test_damage_is_reported(merged):
    output, _ = merged
    data = bytearray(output.read_bytes())
    data[4096 * 6 : 4096 * 7] = bytes(4096)
    output.write_bytes(data)
    with pytest.raises(OutputError, match="damaged"):
        audit(output)


def test_a_check_that_fails_is_reported(merged):
    output, _ = merged
    with closing(sqlite3.connect(str(output), isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, 'genome_id VARCHAR(64)',"
            " 'genome_id VARCHAR(64) NOT NULL') WHERE name = 'agents'"
        )
    assert any("NULL value in agents.genome_id" in problem for problem in audit(output).problems)


def test_what_is_no_experiment_database_is_refused(tmp_path):
    with pytest.raises(OutputError, match="no such file"):
        audit(tmp_path / "missing.db")
    with pytest.raises(OutputError, match="not an experiment database"):
        audit(write_era(tmp_path / "old.db", 3))


# Moving inputs away


@pytest.fixture
def joined(tmp_path):
    sources = [tmp_path / "run" / f"rank_{number}.db" for number in (0, 1)]
    sources[0].parent.mkdir()
    for number, path in enumerate(sources):
        query(path, "CREATE TABLE events (what TEXT)")
        query(path, f"INSERT INTO events VALUES ('born'), ('born'), ('died {number}')")
        query(path, "CREATE TABLE cells (x INTEGER PRIMARY KEY, v)")
        query(path, f"INSERT INTO cells VALUES ({number}, 1), ({number + 10}, '1')")
    merge_shards(sources, tmp_path / "exp.db", simulation_id="{parent}", join=True)
    return tmp_path / "exp.db", sources


@pytest.mark.parametrize("options", [{}, {"simulation_id": "{parent}", "join": True}])
def test_each_file_of_a_joined_simulation_is_found_in_it(joined, options):
    output, sources = joined
    report = audit(output, sources, **options)
    assert (report.simulations, report.counted, report.compared) == (1, 1, 2)
    assert report.problems == ()


@pytest.mark.parametrize(
    ("damage", "table"),
    [
        ("UPDATE events SET what = 'died 1' WHERE what = 'died 0'", "events"),
        ("UPDATE cells SET v = 1 WHERE x = 10", "cells"),
        ("UPDATE cells SET x = 12 WHERE x = 10", "cells"),
    ],
)
def test_a_row_that_a_joined_simulation_lost_is_found(joined, damage, table):
    output, sources = joined
    query(output, damage)
    (problem,) = audit(output, sources[:1]).problems
    assert f"rank_0.db [run]: differs from {output} in {table}" in problem


def test_equal_files_are_found_as_they_were_merged_and_noted(tmp_path):
    sources = [tmp_path / f"{name}.db" for name in "abc"]
    for path in sources:
        query(path, "CREATE TABLE t (v REAL)")
    merge_shards(sources, tmp_path / "one.db", equal_files="fold")
    merge_shards(sources, tmp_path / "three.db")
    folded = audit(tmp_path / "one.db", sources, equal_files="fold")
    assert (folded.simulations, folded.compared, folded.problems) == (1, 3, ())
    separate = audit(tmp_path / "three.db", sources)
    assert (separate.simulations, separate.compared, separate.problems) == (3, 3, ())
    (note,) = separate.notes
    assert "simulations 'a', 'b', 'c' come from files with equal bytes" in note


def test_files_that_were_joined_are_compared_with_their_part_of_the_run(tmp_path):
    sources = [
        write(
            tmp_path / "run_1" / f"rank_{rank}.db",
            "CREATE TABLE t (k INTEGER PRIMARY KEY, v)",
            "CREATE TABLE log (line)",
            f"INSERT INTO t VALUES ({rank}, {rank})",
            f"INSERT INTO log VALUES ('begins'), ('ends on {rank}')",
        )
        for rank in (1, 2)
    ]
    output, options = tmp_path / "exp.db", {"simulation_id": "{parent}"}
    merge_shards(sources, output, join=True, **options)
    report = audit(output, sources, **options)
    assert (report.compared, report.problems) == (2, ())
    for change in ("UPDATE t SET v = 1.0 WHERE k = 1", "UPDATE log SET line = '' WHERE line > 'e'"):
        query(output, change)
    differing = [
        problem.rpartition(" in ")[2] for problem in audit(output, sources, **options).problems
    ]
    assert differing == ["log, t", "log"]


def test_wide_tables_of_a_joined_simulation_are_compared(tmp_path):
    names = ", ".join(f"c{number}" for number in range(1500))
    sources = [
        write(
            tmp_path / f"rank_{rank}.db",
            f"CREATE TABLE wide ({names})",
            f"INSERT INTO wide (c0, c1499) VALUES ({rank}, 1)",
        )
        for rank in (1, 2)
    ]
    merge_shards(sources, tmp_path / "exp.db", simulation_id="run", join=True)
    assert audit(tmp_path / "exp.db", sources).problems == ()
    query(tmp_path / "exp.db", "UPDATE wide SET c1499 = 1.0 WHERE c0 = 2")
    (problem,) = audit(tmp_path / "exp.db", sources).problems
    assert "rank_2.db [run]: differs" in problem


def test_a_comparison_that_is_killed_is_no_verdict(merged, monkeypatch):
    output, sources = merged
    comparison = import_module("farm_merge.merge.audit")._Comparison
    monkeypatch.setattr(comparison, "_compare", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(OutputError, match=r"comparing files was killed.*fewer jobs"):
        audit(output, sources, jobs=2)


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere threads compare, and end of themselves"
)
def test_an_interrupt_leaves_nothing_of_a_comparison(merged, tmp_path, interruptible):
    """Neither the folder of a process that was killed, nor what it copied to read a WAL."""
    output, sources = merged
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    command = [sys.executable, "-c", SLOWLY, "verify", output, *sources, "--jobs", "2"]
    with subprocess.Popen(
        list(map(str, command)), env={**os.environ, "TMPDIR": str(temporary)}
    ) as process:
        wait_until(lambda: len([*temporary.rglob("copy")]) == 2)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert list(temporary.iterdir()) == []
