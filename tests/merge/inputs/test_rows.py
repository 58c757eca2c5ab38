"""Rows counted before they are merged, and those that cannot be."""

from __future__ import annotations

import json

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge import audit, inspect_shard, merge_shards
from tests.conftest import query
from tests.merge.checks import counts_of
from tests.merge.eras import write, write_era


@pytest.fixture
def with_duplicates(tmp_path):
    source = write_era(tmp_path / "run.db", 2)
    query(source, "INSERT INTO AgentStates VALUES (0, 0, 77.5, 1, 1, 1)")
    return source


def test_a_key_that_repeats_stops_the_merge_with_table_key_and_count(with_duplicates, tmp_path):
    with pytest.raises(ShardError, match=r"AgentStates: 1 rows repeat .*step_number, agent_id"):
        merge_shards([with_duplicates], tmp_path / "exp.db")


@pytest.mark.parametrize(("choice", "x"), [("first", 0.5), ("last", 77.5)])
def test_the_user_can_choose_among_rows_with_one_key(with_duplicates, tmp_path, choice, x):
    output = tmp_path / "exp.db"
    report = merge_shards([with_duplicates], output, on_duplicate_row=choice)
    assert query(output, "SELECT position_x FROM agent_states LIMIT 1") == [(x,)]
    assert query(output, "SELECT count(*) FROM agent_states") == [(5,)]
    ((choices,),) = query(output, "SELECT choices FROM merged_shards")
    assert json.loads(choices) == {
        "duplicate_rows": {"agent_states": {"kept": choice, "left_out": 1}},
        "own_id": None,
    }
    assert report.simulations[0].rows == sum(
        json.loads(query(output, "SELECT row_counts FROM merged_shards")[0][0]).values()
    )
    assert audit(output, [with_duplicates], on_duplicate_row=choice).problems == ()


def test_duplicates_are_counted_by_simulation(tmp_path):
    path = several(tmp_path, "('a', 1), ('a', 1), ('a', 1), ('b', 1), ('b', 2)")
    with pytest.raises(ShardError, match="2 rows repeat a key"):
        inspect_shard(path)
    source = inspect_shard(path, on_duplicate_row="first")
    assert source.contents.choices.duplicate_rows == {"simulation_steps": ("first", 2)}
    assert source.contents.row_counts == ({"simulation_steps": 1}, {"simulation_steps": 2})
    merge_shards([path], tmp_path / "exp.db", on_duplicate_row="last", verify="content")


def several(tmp_path, rows):
    """Write a file of AgentFarm with the steps of several runs."""
    path = write_era(tmp_path / "run.db", 8, "a")
    for table in ("agents", "agent_states", "resource_states", "health_incidents", "agent_actions",
                  "simulation_config", "simulations", "simulation_steps"):  # fmt: skip
        query(path, f"DELETE FROM {table}")
    query(path, "DROP TABLE simulation_steps")
    query(
        path,
        "CREATE TABLE simulation_steps (simulation_id TEXT, step_number INT, agent_type_counts)",
    )
    query(path, f"INSERT INTO simulation_steps (simulation_id, step_number) VALUES {rows}")
    return path


def test_a_value_that_todays_tables_ask_for_is_missed_with_its_count(tmp_path):
    path = write_era(tmp_path / "run.db", 8, "a")
    query(path, "CREATE TABLE copied AS SELECT * FROM agent_states")
    query(path, "DROP TABLE agent_states")
    query(path, "ALTER TABLE copied RENAME TO agent_states")
    query(path, "UPDATE agent_states SET agent_id = NULL WHERE step_number = 1")
    with pytest.raises(
        ShardError, match="agent_states: 2 rows have no agent_id, which agent_states needs"
    ):
        inspect_shard(path)


def test_everything_that_is_wrong_with_rows_is_named_at_once(with_duplicates):
    query(with_duplicates, "INSERT INTO AgentStates (step_number) VALUES (7), (8)")
    with pytest.raises(ShardError) as caught:
        inspect_shard(with_duplicates)
    assert "AgentStates: 2 rows have no agent_id" in caught.value.reason
    assert "AgentStates: 1 rows repeat a key (step_number, agent_id)" in caught.value.reason
    assert "`on_duplicate_row=first`" in caught.value.remedy


@pytest.fixture
def with_orphans(tmp_path):
    return write(
        tmp_path / "run.db",
        "CREATE TABLE t (simulation_id TEXT, k INTEGER PRIMARY KEY)",
        "CREATE TABLE settings (x)",
        "INSERT INTO t (simulation_id) VALUES ('a'), ('b'), (NULL), (NULL)",
        "INSERT INTO settings VALUES (1)",
    )


def test_rows_of_nobody_are_counted_by_table(with_orphans):
    contents = inspect_shard(with_orphans).contents
    assert contents.choices.orphan_rows == {"t": 2, "settings": 1}
    assert contents.choices.carries_orphans
    assert contents.row_counts == ({"t": 2, "settings": 1}, {"t": 1}, {"t": 1})


def test_rows_of_nobody_can_be_left_out(with_orphans):
    contents = inspect_shard(with_orphans, on_orphan_rows="skip").contents
    assert contents.choices.orphan_rows == {"t": 2, "settings": 1}
    assert not contents.choices.carries_orphans
    assert contents.row_counts == ({"t": 1}, {"t": 1})


def test_rows_of_nobody_can_be_an_error(with_orphans):
    with pytest.raises(ShardError) as caught:
        inspect_shard(with_orphans, on_orphan_rows="error")
    for table, number in (("t", 2), ("settings", 1)):
        assert f"table {table}: {number} rows belong to none of the 2 simulations" in str(
            caught.value
        )


def test_references_that_point_nowhere_are_counted_by_column(tmp_path):
    path = write_era(tmp_path / "run.db", 4)
    query(path, "UPDATE agent_actions SET state_after_id = 'nobody-7'")
    choices = inspect_shard(path).contents.choices
    assert choices.unresolved == {"state_after_id": 2}


def test_a_table_without_rows_counts_nothing(make_shard):
    path = make_shard("a")
    query(path, "DELETE FROM agents")
    (counts,) = inspect_shard(path).contents.row_counts
    assert "agents" not in counts
    assert counts == counts_of(path)
