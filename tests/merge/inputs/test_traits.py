"""What the content of a file decides about how it is carried."""

from __future__ import annotations

import pytest

from farm_merge.merge import inspect_shard
from farm_merge.merge.inputs.mapping import Traits
from tests.conftest import query
from tests.merge.checks import merge_checked
from tests.merge.eras import write, write_era


def traits(path):
    return inspect_shard(path).traits


def test_ids_of_states_are_kept_where_they_say_more_than_todays(tmp_path):
    path = write_era(tmp_path / "run.db", 8, "s")
    assert not traits(path).original_ids
    query(path, "UPDATE agent_states SET id = 'x' WHERE step_number = 1 AND agent_id = 'agent_aa'")
    assert traits(path).original_ids


def test_states_without_an_id_have_none_to_keep(tmp_path):
    """AgentFarm's, but for the column that its eras have."""
    path = write_era(tmp_path / "run.db", 8, "s")
    query(path, "CREATE TABLE copied AS SELECT * FROM agent_states")
    query(path, "DROP TABLE agent_states")
    query(path, "ALTER TABLE copied DROP COLUMN id")
    query(path, "ALTER TABLE copied RENAME TO agent_states")
    source = inspect_shard(path)
    assert source.kind == "AgentFarm"
    assert not source.traits.original_ids
    output = tmp_path / "exp.db"
    merge_checked(output, path)
    states = query(output, "SELECT id, position_x FROM agent_states WHERE step_number = 2")
    assert states == [("s:agent_bb-2", 4.5)]


@pytest.mark.parametrize(
    ("sql", "references"),
    [
        ("UPDATE agent_actions SET state_before_id = NULL", ()),
        ("UPDATE agent_actions SET state_after_id = 'x'", ("state_before_id", "state_after_id")),
    ],
)
def test_references_to_states_count_where_they_are_filled(tmp_path, sql, references):
    path = write_era(tmp_path / "run.db", 6, "s")
    assert traits(path).state_references == ("state_before_id",)
    query(path, sql)
    assert traits(path).state_references == references


@pytest.mark.parametrize(
    ("create", "rows", "numbered"),
    [
        ("CREATE TABLE t (k PRIMARY KEY)", "(NULL)", True),
        ("CREATE TABLE t (k PRIMARY KEY)", "(1)", False),
        ("CREATE TABLE t (k INTEGER PRIMARY KEY)", "(NULL)", False),  # the rowid is filled in
        ("CREATE TABLE t (k, l, PRIMARY KEY (k, l))", "(1, NULL)", True),
        ("CREATE TABLE t (k NOT NULL, l, PRIMARY KEY (k, l))", "(1, 1)", False),
        ("CREATE TABLE t (k)", "(NULL)", False),
    ],
)
def test_a_key_that_holds_null_is_none(tmp_path, create, rows, numbered):
    path = write(tmp_path / "run.db", create, f"INSERT INTO t VALUES {rows}")
    assert traits(path).numbered == (frozenset({"t"}) if numbered else frozenset())


def test_a_shard_has_the_traits_of_every_shard(make_shard):
    """So thousands of them share one mapping."""
    one, other = inspect_shard(make_shard("a")), inspect_shard(make_shard("b", steps=9))
    assert one.traits == other.traits == Traits("one")
    assert one.mapping is other.mapping
    assert one.structure is other.structure
