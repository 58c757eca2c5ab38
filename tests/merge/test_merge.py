"""The promises of a merge, kept with real files and real processes."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from farm_merge.errors import ConflictError, ShardError
from farm_merge.merge import Action, merge_shards
from farm_merge.schema import is_current
from farm_merge.sqlite import sqlite3
from tests.conftest import content, query, union
from tests.merge.checks import actions, snapshot


def test_every_row_of_every_shard_arrives_value_and_type(make_shard, tmp_path):
    shards = [make_shard("a"), make_shard("b", steps=40), make_shard("c", agents=1)]
    report = merge_shards(shards, tmp_path / "exp.db")
    assert content(tmp_path / "exp.db") == union(*shards)
    assert report.rows == sum(len(rows) for rows in union(*shards).values())
    assert query(tmp_path / "exp.db", "PRAGMA integrity_check") == [("ok",)]
    assert query(tmp_path / "exp.db", "PRAGMA foreign_key_check") == []


def test_awkward_values_arrive_bit_for_bit(make_shard, tmp_path):
    shard = make_shard("a")
    odd = [2**63 - 1, float("inf"), b"\x00\xff", "nul\x00inside", None, "'; DROP TABLE agents; --"]
    with sqlite3.connect(str(shard)) as connection:
        connection.executemany(
            "INSERT INTO agents (simulation_id, agent_id, genome_id, action_weights)"
            " VALUES ('a', ?, ?, ?)",
            [(f"odd_{number}", value, value) for number, value in enumerate(odd)],
        )
        connection.execute(
            "UPDATE agents SET agent_type = CAST(X'ff61' AS TEXT) WHERE agent_id = 'odd_0'"
        )
        connection.execute("UPDATE agents SET agent_type = 'x'  WHERE agent_id <> 'odd_0'")
    connection.close()
    merge_shards([shard], tmp_path / "exp.db")
    dump = "SELECT agent_id, hex(agent_type), quote(genome_id), quote(action_weights) FROM agents"
    assert query(tmp_path / "exp.db", dump) == query(shard, dump)


def test_merging_twice_changes_nothing(make_shard, tmp_path):
    shards = [make_shard("a"), make_shard("b")]
    output = tmp_path / "exp.db"
    merge_shards(shards, output)
    before = output.read_bytes()
    report = merge_shards(shards, output)
    assert actions(report) == {"a": Action.ALREADY_MERGED, "b": Action.ALREADY_MERGED}
    assert output.read_bytes() == before


def test_an_existing_output_is_extended(make_shard, tmp_path):
    output = tmp_path / "exp.db"
    first, second = make_shard("b"), make_shard("a")
    merge_shards([first], output)
    report = merge_shards([first, second], output)
    assert actions(report) == {"b": Action.ALREADY_MERGED, "a": Action.COPY}
    assert content(output) == union(first, second)
    assert query(output, "PRAGMA journal_mode") == [("delete",)]


def test_merges_of_merges_in_any_order_give_the_same_content(make_shard, tmp_path):
    shards = [make_shard(name) for name in "abcd"]
    merge_shards(shards, tmp_path / "all.db")
    merge_shards(shards[2:], tmp_path / "half.db")
    merge_shards([tmp_path / "half.db", *shards[1::-1]], tmp_path / "nested.db")
    assert content(tmp_path / "nested.db") == content(tmp_path / "all.db")
    assert not merge_shards([tmp_path / "half.db"], tmp_path / "all.db").rows


def test_shards_are_never_touched(make_shard, tmp_path):
    for name in "abc":
        make_shard(name)
    before = snapshot(tmp_path / "shards")
    merge_shards([tmp_path / "shards"], tmp_path / "exp.db")
    assert snapshot(tmp_path / "shards") == before


def test_different_data_under_one_id_is_named_before_anything_is_written(make_shard, tmp_path):
    output = tmp_path / "exp.db"
    merge_shards([make_shard("a"), make_shard("b")], output)
    before = output.read_bytes()
    others = [make_shard("a", folder="other", shift=1), make_shard("b", folder="other", shift=1)]
    with pytest.raises(ConflictError) as caught:
        merge_shards([make_shard("c"), *others], output)
    assert all(f"{path}: " in str(caught.value) for path in others)
    assert output.read_bytes() == before


def test_a_conflict_between_inputs_names_both(make_shard, tmp_path):
    one, other = make_shard("a"), make_shard("a", folder="other", shift=1)
    with pytest.raises(ConflictError, match="'a'") as caught:
        merge_shards([one, other], tmp_path / "exp.db")
    assert str(one) in str(caught.value)
    assert str(other) in str(caught.value)
    assert not (tmp_path / "exp.db").exists()


@pytest.mark.parametrize(("choice", "shift"), [("skip", 0.0), ("replace", 1.0)])
def test_the_user_can_choose_what_wins(make_shard, tmp_path, choice, shift):
    output = tmp_path / "exp.db"
    merge_shards([make_shard("a", steps=9)], output)
    other = make_shard("a", folder="other", shift=1.0)
    report = merge_shards([other], output, on_conflict=choice)
    assert query(output, "SELECT DISTINCT position_x FROM agents") == [(shift,)]
    assert len(report.left_out) == (choice == "skip")
    if choice == "replace":
        assert content(output) == content(other)
        assert query(output, "SELECT choices FROM merged_shards") == [('{"replaced": true}',)]


def test_the_same_simulation_twice_among_the_inputs_is_merged_once(make_shard, tmp_path):
    shard = make_shard("a")
    shutil.copy(shard, tmp_path / "copy.db")
    report = merge_shards([shard, tmp_path / "copy.db"], tmp_path / "exp.db")
    assert [each.action for each in report.simulations] == [Action.COPY, Action.ALREADY_MERGED]


def bad_inputs(tmp_path, shard):
    files = {name: tmp_path / f"{name}.db" for name in ("empty", "text", "torn", "bare", "hole")}
    files["empty"].touch()
    files["text"].write_text("not a database " * 100)
    files["torn"].write_bytes(shard.read_bytes()[:9000])
    query(files["bare"], "CREATE VIEW v AS SELECT 1")
    data = bytearray(shard.read_bytes())
    data[4096 * 5 : 4096 * 9] = os.urandom(4096 * 4)
    files["hole"].write_bytes(data)
    files["missing"] = tmp_path / "missing.db"
    files["link"] = tmp_path / "link.db"
    files["link"].symlink_to(tmp_path / "nowhere.db")
    files["pipe"] = tmp_path / "pipe.db"
    os.mkfifo(files["pipe"])
    return files


def test_everything_that_is_wrong_with_the_inputs_is_said_in_one_go(make_shard, tmp_path):
    shard = make_shard("a", steps=200)
    files = bad_inputs(tmp_path, shard)
    with pytest.raises(ShardError) as caught:
        merge_shards([shard, *files.values()], tmp_path / "exp.db")
    assert [name for name, path in files.items() if f"{path}: " not in str(caught.value)] == []
    assert not (tmp_path / "exp.db").exists()


def test_bad_shards_never_cost_good_ones(make_shard, tmp_path):
    shard = make_shard("a", steps=200)
    files = bad_inputs(tmp_path, shard)
    report = merge_shards([*files.values(), shard], tmp_path / "exp.db", on_bad_shard="skip")
    assert {left.path for left in report.left_out} == set(files.values())
    assert content(tmp_path / "exp.db") == content(shard)


def test_columns_that_the_output_lacks_are_added(make_shard, tmp_path):
    plain, wide = make_shard("a"), make_shard("b")
    query(wide, "ALTER TABLE agents ADD COLUMN mood TEXT")
    query(wide, "UPDATE agents SET mood = 'calm'")
    output = tmp_path / "exp.db"
    merge_shards([plain, wide], output)
    moods = "SELECT simulation_id, mood, count(*) FROM agents GROUP BY 1, 2"
    assert query(output, moods) == [("a", None, 3), ("b", "calm", 3)]
    assert not merge_shards([plain, wide], output).rows


def test_a_trigger_in_a_shard_never_runs(make_shard, tmp_path):
    shard = make_shard("a")
    query(shard, "CREATE TRIGGER t AFTER INSERT ON agents BEGIN DELETE FROM agents; END")
    query(shard, "CREATE VIEW v AS SELECT * FROM missing")
    report = merge_shards([shard], tmp_path / "exp.db")
    assert [note for note in report.notes if "trigger t, view v" in note]
    assert content(tmp_path / "exp.db") == content(shard)
    kinds = "SELECT DISTINCT type FROM sqlite_schema ORDER BY 1"
    assert query(tmp_path / "exp.db", kinds) == [("table",)]


@pytest.mark.parametrize("name", ["a b", "per%cent", "quo'te", 'dou"ble', "hash#?", "ünïcode"])
def test_any_path_can_be_merged(make_shard, tmp_path, name):
    shard = make_shard("a", folder=name, file=f"{name}.db")
    merge_shards([shard], tmp_path / name / "out" / f"{name} exp.db")
    assert content(tmp_path / name / "out" / f"{name} exp.db") == content(shard)


def test_a_shard_that_changes_after_its_inspection_stops_the_merge(make_shard, tmp_path):
    shard = make_shard("a")

    def meddle(event):
        if event.phase == "inspect":
            query(shard, "DELETE FROM agents")

    with pytest.raises(ShardError, match="changed"):
        merge_shards([shard], tmp_path / "exp.db", progress=meddle)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shards"]


@pytest.mark.parametrize("exists", [False, True])
def test_a_shard_that_vanishes_meanwhile_is_left_out_and_the_others_are_merged(
    make_shard, tmp_path, exists
):
    shards = [make_shard(name) for name in "abc"]
    if exists:
        merge_shards([make_shard("z", folder="first")], tmp_path / "exp.db")

    def meddle(event):
        if event.phase == "inspect" and event.done == len(shards):
            shards[1].unlink()

    report = merge_shards(shards, tmp_path / "exp.db", on_bad_shard="skip", progress=meddle)
    assert [(each.path, each.reason) for each in report.left_out] == [(shards[1], "no such file")]
    assert set(actions(report)) == {"a", "c"}
    found = query(tmp_path / "exp.db", "SELECT simulation_id FROM simulations")
    assert found == [("a",), ("c",)] + [("z",)] * exists


def test_readers_go_on_while_the_output_grows(make_shard, tmp_path):
    output = tmp_path / "exp.db"
    first, second = make_shard("a"), make_shard("b")
    merge_shards([first], output)
    reader = sqlite3.connect(str(output), isolation_level=None)
    reader.execute("PRAGMA journal_mode=WAL")
    reader.execute("BEGIN")
    before = reader.execute("SELECT count(*) FROM agents").fetchone()
    merge_shards([second], output)
    assert reader.execute("SELECT count(*) FROM agents").fetchone() == before
    reader.execute("COMMIT")
    assert reader.execute("SELECT count(*) FROM agents").fetchone() == (6,)
    reader.close()


def test_several_processes_can_merge_into_one_output(make_shard, tmp_path):
    output = tmp_path / "exp.db"
    shards = [make_shard(f"s{number}") for number in range(6)]
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        pool.starmap(merge_shards, [([shard], output) for shard in shards])
        pool.close()
        pool.join()
    assert content(output) == union(*shards)


KILLED_AT = """
import os, signal, sys
from farm_merge.merge import merge_shards

events = 0

def die(event):
    global events
    events += 1
    if events == int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)

merge_shards(sys.argv[3:], sys.argv[2], progress=die)
"""


@pytest.mark.parametrize("existing", [False, True])
def test_a_killed_merge_leaves_a_valid_output_and_the_same_command_finishes(
    make_shard, tmp_path, existing
):
    output = tmp_path / "exp.db"
    shards = [make_shard(f"s{number}", steps=50) for number in range(3)]
    if existing:
        merge_shards(shards[:1], output)
    for instant in (2, 4, 6, 11, 13, 19, 27):  # while inspecting, copying, committing, verifying
        killed = subprocess.run(
            [sys.executable, "-c", KILLED_AT, str(instant), output, *shards], check=False
        )
        assert killed.returncode in {-signal.SIGKILL, 0}
        if output.exists():
            assert query(output, "PRAGMA integrity_check") == [("ok",)]
            whole = "SELECT simulation_id, count(*) FROM agent_states GROUP BY 1"
            assert {rows for _, rows in query(output, whole)} == {150}
    merge_shards(shards, output)
    assert content(output) == union(*shards)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exp.db", "shards"]


def test_no_descriptor_stays_open(make_shard, tmp_path):
    shards = [make_shard(f"s{number}") for number in range(20)]
    merge_shards(shards[:1], tmp_path / "warm.db")
    before = len(list(Path("/dev/fd").iterdir()))
    merge_shards(shards, tmp_path / "exp.db")
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_the_output_is_of_todays_schema(make_shard, tmp_path):
    merge_shards([make_shard("a")], tmp_path / "exp.db")
    connection = sqlite3.connect(str(tmp_path / "exp.db"))
    assert is_current(connection)
    connection.close()
