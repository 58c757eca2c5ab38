"""What is known of a file changes with its names and with what others hold, and nothing else does."""

from __future__ import annotations

from dataclasses import replace

import pytest

from farm_merge.merge.inputs.mapping import Traits
from tests.merge.values import run, shard, source, structure


def test_a_shard_is_one_as_long_as_it_is_carried_as_it_is():
    found = shard("a.db")
    assert found.is_shard
    assert found.named(["a"]).is_shard
    assert not found.named(["b"]).is_shard
    assert not found.remapped(found.traits._replace(numbered=frozenset({"agents"}))).is_shard
    assert not source("a.db").is_shard


def test_a_table_that_is_not_keyed_by_simulation_makes_no_shard():
    own = structure("CREATE TABLE notes (k INTEGER PRIMARY KEY)")
    tables = shard("a.db").structure
    tables = replace(tables, tables={**tables.tables, **own.tables})
    assert not shard("a.db", tables=tables).is_shard


def test_names_are_given_and_what_the_file_calls_its_runs_is_kept():
    found = source("two.db", runs=[run("a"), run("b")]).named(["x", "b"])
    assert [(it.own_id, it.simulation_id) for it in found.simulations] == [("a", "x"), ("b", "b")]
    assert found.traits.renamed
    assert not source("two.db", runs=[run("a"), run("b")]).named(["a", "b"]).traits.renamed


def test_rows_are_counted_by_the_names_that_tables_get():
    found = source(
        "a.db", "CREATE TABLE agents (k INTEGER PRIMARY KEY)", rows={"agents_foreign": 7}
    )
    (table,) = found.mapping.tables
    assert table.target == "agents_foreign"
    alone = found.remapped(found.traits._replace(alone=True))
    assert alone.mapping.tables[0].target == "agents"
    assert alone.contents.row_counts == ({"agents": 7},)
    assert alone.contents.fingerprint == found.contents.fingerprint


def test_files_that_are_alike_share_one_mapping():
    first, second = (source(name).remapped(Traits("none", alone=True)) for name in ("a.db", "b.db"))
    assert first.mapping is second.mapping
    assert first.remapped(first.traits) is first


@pytest.mark.parametrize(
    ("status", "has_ended"),
    [("completed", True), ("failed", True), ("running", False), ("pending", False), (None, False)],
)
def test_a_run_has_ended_where_its_status_is_one_of_an_end(status, has_ended):
    assert run("a", status).has_ended is has_ended


def test_rows_of_nobody_are_a_simulation_without_an_id():
    assert run(None, "unattributed").is_unattributed
    assert not run("a", "unattributed").is_unattributed
    assert not run(None, None).is_unattributed
