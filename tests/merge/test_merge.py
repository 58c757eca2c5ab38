"""The promises of a merge, kept with real files and real processes."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from farm_merge.merge import Action, merge_shards
from farm_merge.schema import is_current
from farm_merge.sqlite import sqlite3
from tests.conftest import content, query, union
from tests.merge.checks import actions


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


def test_several_processes_can_merge_into_one_output(make_shard, tmp_path):
    output = tmp_path / "exp.db"
    shards = [make_shard(f"s{number}") for number in range(6)]
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        pool.starmap(merge_shards, [([shard], output) for shard in shards])
        pool.close()
        pool.join()
    assert content(output) == union(*shards)


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
