"""Which simulations a file holds, by its rows and not only by its registry."""

from __future__ import annotations

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge import inspect_shard
from tests.conftest import query
from tests.merge.checks import merge_checked
from tests.merge.eras import write, write_era


def found(path, **options):
    source = inspect_shard(path, **options)
    return [(it.own_id, it.status) for it in source.simulations], source.traits


def foreign(tmp_path, *ids, more=()):
    rows = ", ".join(f"({name})" for name in ids)
    return write(
        tmp_path / "run.db",
        "CREATE TABLE t (simulation_id, k INTEGER PRIMARY KEY)",
        f"INSERT INTO t (simulation_id) VALUES {rows}",
        *more,
    )


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (["'a'"], ["a"]),
        (["'a'", "'a'"], ["a"]),
        (["'a'", "'b'"], ["a", "b"]),
        (["'a'", "NULL"], ["a"]),  # one run, some rows of which do not name it
        (["'a'", "'b'", "NULL"], [None, "a", "b"]),
        (["'a'", "'A'"], ["A", "a"]),
        (["1"], [None]),
        (["'a'", "1"], [None]),
        (["NULL"], [None]),
        (["x'61'"], [None]),
    ],
)
def test_a_foreign_file_is_named_by_its_rows_where_these_are_names(tmp_path, ids, names):
    runs, traits = found(foreign(tmp_path, *ids))
    assert [name for name, _ in runs] == names
    assert traits.identified_by_column == (names != [None])
    assert traits.ids == ("none" if names == [None] else "one" if len(names) == 1 else "many")


def test_rows_of_a_table_without_ids_belong_to_the_only_run(tmp_path):
    settings = ["CREATE TABLE settings (x)", "INSERT INTO settings VALUES (1), (2)"]
    source = inspect_shard(foreign(tmp_path, "'a'", more=settings))
    assert source.contents.row_counts == ({"t": 1, "settings": 2},)


def test_among_several_they_belong_to_nobody(tmp_path):
    settings = ["CREATE TABLE settings (x)", "INSERT INTO settings VALUES (1), (2)"]
    source = inspect_shard(foreign(tmp_path, "'a'", "'b'", "NULL", more=settings))
    assert next((it.own_id, it.status) for it in source.simulations) == (None, "unattributed")
    assert source.contents.row_counts == ({"t": 1, "settings": 2}, {"t": 1}, {"t": 1})
    assert source.simulations[0].is_unattributed


def test_a_collation_does_not_make_two_ids_one(tmp_path):
    path = write(
        tmp_path / "run.db",
        "CREATE TABLE t (simulation_id TEXT COLLATE NOCASE, k INTEGER PRIMARY KEY)",
        "INSERT INTO t (simulation_id) VALUES ('a'), ('A')",
    )
    assert [name for name, _ in found(path)[0]] == ["A", "a"]
    merge_checked(tmp_path / "exp.db", path)
    assert query(tmp_path / "exp.db", "SELECT simulation_id, k FROM t") == [("A", 2), ("a", 1)]


def test_a_shard_is_named_by_its_rows_and_by_its_registry(make_shard):
    path = make_shard("a", "b")
    query(path, "DELETE FROM simulations WHERE simulation_id = 'a'")
    for table in ("agents", "agent_states", "resource_states", "simulation_steps", "agent_actions",
                  "health_incidents", "simulation_config"):  # fmt: skip
        query(path, f"DELETE FROM {table} WHERE simulation_id = 'b'")
    assert found(path)[0] == [("a", None), ("b", "completed")]


@pytest.mark.parametrize(
    ("status", "end", "expected"),
    [
        ("running", "NULL", "running"),
        ("running", "'2026-01-01'", "closed"),
        ("failed", "NULL", "failed"),
        (None, "NULL", None),
    ],
)
def test_a_run_that_was_closed_is_over_whatever_its_status(make_shard, status, end, expected):
    path = make_shard("a")
    query(path, f"UPDATE simulations SET status = ?, end_time = {end}", status)
    assert found(path)[0] == [("a", expected)]
    (run,) = inspect_shard(path).simulations
    assert run.has_ended == (expected in {"closed", "failed"})


def test_integers_in_a_registry_name_nothing(tmp_path):
    path = write_era(tmp_path / "run.db", 3)
    query(path, "INSERT INTO simulations VALUES (1, NULL, NULL, 'failed', '{}', NULL, '')")
    assert found(path)[0] == [(None, "failed")]
    query(path, "INSERT INTO simulations VALUES (2, NULL, NULL, 'failed', '{}', NULL, '')")
    with pytest.raises(
        ShardError, match="names 2 simulations, and no row names the one that it belongs to"
    ):
        inspect_shard(path)


def test_an_id_that_is_no_text_is_a_problem_of_a_shard(make_shard):
    path = make_shard("a")
    query(path, "UPDATE agents SET simulation_id = x'61' WHERE agent_id = 'agent_0'")
    with pytest.raises(ShardError, match="has a simulation_id that is no text: b'a'"):
        inspect_shard(path)


def test_a_shard_without_any_simulation_holds_none(make_shard):
    path = make_shard("a")
    for (table,) in query(path, "SELECT name FROM sqlite_schema WHERE type = 'table'"):
        query(path, f"DELETE FROM {table}")
    with pytest.raises(ShardError, match="holds no simulation"):
        inspect_shard(path)


def test_parameters_are_there_where_they_say_something(make_shard):
    path = make_shard("a")
    assert [it.has_parameters for it in inspect_shard(path).simulations] == [True]
    query(path, "UPDATE simulations SET parameters = '{}'")
    assert [it.has_parameters for it in inspect_shard(path).simulations] == [False]
