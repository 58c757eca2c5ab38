"""What is known about a run comes along with its rows, or is made from them."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from farm_merge.merge import merge_shards
from farm_merge.merge.tables.structure import read_structure
from farm_merge.merge.write.registry import copy_rows, highest_number, remove_simulation
from farm_merge.sqlite import connect, file_uri
from tests.conftest import query
from tests.merge.checks import counts_of, ids
from tests.merge.values import table


def test_registry_rows_come_along_and_can_be_put_under_an_experiment(make_shard, tmp_path):
    own = make_shard("a", experiment=("exp_1", "First"))
    none = make_shard("b")
    merge_shards([own, none], tmp_path / "exp.db")
    rows = "SELECT simulation_id, experiment_id, status, parameters FROM simulations"
    assert query(tmp_path / "exp.db", rows) == [
        ("a", "exp_1", "completed", '{"rate": 0.1}'),
        ("b", "exp", "completed", '{"rate": 0.1}'),
    ]
    assert query(tmp_path / "exp.db", "SELECT experiment_id, name FROM experiments") == [
        ("exp", "exp"),
        ("exp_1", "First"),
    ]
    merge_shards([own, none], tmp_path / "x.db", experiment_id="E", name="N", description="D")
    assert query(
        tmp_path / "x.db", "SELECT e.experiment_id, name, description, count(*) FROM experiments e"
        " JOIN simulations USING (experiment_id) GROUP BY 1"
    ) == [("E", "N", "D", 2)]  # fmt: skip


def test_shards_that_describe_an_experiment_differently_are_noted(make_shard, tmp_path):
    shards = [
        make_shard("a", experiment=("e", "First")),
        make_shard("b", experiment=("e", "Second")),
    ]
    report = merge_shards(shards, tmp_path / "exp.db")
    assert [note for note in report.notes if str(shards[1]) in note and "'e'" in note]
    assert query(tmp_path / "exp.db", "SELECT name FROM experiments") == [("First",)]


def test_a_shard_without_its_registry_row_is_registered(make_shard, tmp_path):
    shard = make_shard("a")
    query(shard, "DELETE FROM simulations")
    merge_shards([shard], tmp_path / "exp.db")
    assert query(tmp_path / "exp.db", "SELECT simulation_id, status FROM simulations") == [
        ("a", "unknown")
    ]


def registered(output, columns="status"):
    return query(output, f"SELECT simulation_id, {columns} FROM simulations ORDER BY 1")


def test_the_row_of_a_run_is_made_of_its_data_and_its_file(make_shard, tmp_path):
    shard = make_shard("a", steps=4)
    query(shard, "DELETE FROM simulations")
    query(
        shard, "UPDATE simulation_config SET timestamp = 1732000000, config_data = '{\"n\": NaN}'"
    )
    os.utime(shard, (1e9, 1e9))
    merge_shards([shard], tmp_path / "exp.db")
    columns = "status, start_time, end_time, parameters, results_summary, simulation_db_path"
    assert registered(tmp_path / "exp.db", columns) == [
        (
            "a", "unknown", "2024-11-19 07:06:40.000000", "2001-09-09 01:46:40.000000",
            '{"n": null}', '{"steps": 4, "agents": 3}', str(shard),
        )
    ]  # fmt: skip


@pytest.mark.parametrize("timestamp", [0, -5, 10**15])
def test_times_that_no_calendar_knows_are_none(make_shard, tmp_path, timestamp):
    shard = make_shard("a")
    query(shard, "DELETE FROM simulations")
    query(shard, "UPDATE simulation_config SET timestamp = ?", timestamp)
    merge_shards([shard], tmp_path / "exp.db")
    assert registered(tmp_path / "exp.db", "start_time") == [("a", None)]


@pytest.mark.parametrize(
    ("parameters", "beside", "expected"),
    [
        ('{"a": 1}', '{"a": 2, "b": 3}', '{"a": 1}'),  # it has some, so nobody looks further
        ("{}", '{"b": 3}', '{"b": 3}'),
        ('{"a": NaN}', None, '{"a": null}'),  # which SQLite could not read
        ("no json", None, "no json"),
    ],
)
def test_parameters_are_completed_and_made_readable(
    make_shard, tmp_path, parameters, beside, expected
):
    shard = make_shard("a")
    query(shard, "UPDATE simulations SET parameters = ?", parameters)
    if beside:
        shard.with_name("a.json").write_text(beside)
    merge_shards([shard], tmp_path / "exp.db")
    assert registered(tmp_path / "exp.db", "parameters") == [("a", expected)]


def test_a_run_is_where_its_registry_has_it_or_where_its_file_was(make_shard, tmp_path):
    shards = [make_shard("a"), make_shard("b")]
    query(shards[0], "UPDATE simulations SET simulation_db_path = '/elsewhere/a.db'")
    query(shards[1], "UPDATE simulations SET simulation_db_path = ''")
    merge_shards(shards, tmp_path / "exp.db")
    assert registered(tmp_path / "exp.db", "simulation_db_path") == [
        ("a", "/elsewhere/a.db"),
        ("b", str(shards[1])),
    ]


def test_an_experiment_is_made_once_and_its_first_name_stays(make_shard, tmp_path):
    output = tmp_path / "exp.db"
    merge_shards([make_shard("a")], output, experiment_id="E", name="First", description="D")
    merge_shards([make_shard("b")], output, experiment_id="E", name="Second")
    assert query(output, "SELECT experiment_id, name, description, status FROM experiments") == [
        ("E", "First", "D", "completed")
    ]
    assert registered(output, "experiment_id") == [("a", "E"), ("b", "E")]


def test_a_simulation_that_is_removed_is_gone_from_every_table(make_shard, tmp_path):
    output = tmp_path / "exp.db"
    merge_shards([make_shard("a"), make_shard("b")], output)
    before = counts_of(output)
    with closing(connect(file_uri(output))) as connection:
        rows = remove_simulation(connection, read_structure(connection), "a")
    assert rows == sum(before.values()) / 2
    assert counts_of(output) == {table: number / 2 for table, number in before.items()}
    assert ids(output) == ["b"]
    assert query(output, "SELECT simulation_id FROM merged_shards") == [("b",)]


def test_rows_are_copied_with_null_for_what_the_shard_lacks():
    with closing(connect()) as connection:
        connection.execute("ATTACH ':memory:' AS shard")
        have, want = (
            table("k INT PRIMARY KEY, v"),
            table("k INT PRIMARY KEY, v, w DEFAULT 5, x NOT NULL DEFAULT 6, y AS (k)"),
        )
        connection.execute(want.create())
        connection.execute(have.create().replace('TABLE "t"', 'TABLE shard."t"'))
        connection.execute("INSERT INTO shard.t VALUES ('a', 1, 'x'), ('b', 1, 'y')")
        structures = (
            read_structure(connection, "shard").tables["t"],
            read_structure(connection).tables["t"],
        )
        assert copy_rows(connection, *structures, "a") == 1
        assert connection.execute("SELECT * FROM t").fetchall() == [("a", 1, "x", None, 6, 1)]


def test_rows_that_are_joined_are_numbered_after_those_that_are_there():
    with closing(connect()) as connection:
        connection.execute("ATTACH ':memory:' AS shard")
        made = table("row_number INT PRIMARY KEY, v").create()
        connection.execute(made)
        connection.execute(made.replace('TABLE "t"', 'TABLE shard."t"'))
        connection.execute("INSERT INTO t VALUES ('a', 1, 'x'), ('a', 4, 'y'), ('b', 9, 'z')")
        connection.execute("INSERT INTO shard.t VALUES ('a', 1, 'u'), ('a', 2, 'v')")
        found, target = (
            read_structure(connection, "shard").tables["t"],
            read_structure(connection).tables["t"],
        )
        after = highest_number(connection, target, "a")
        assert (after, highest_number(connection, target, "c")) == (4, 0)
        copy_rows(connection, found, target, "a", after=after)
        rows = "SELECT row_number, v FROM t WHERE simulation_id = 'a'"
        assert connection.execute(rows).fetchall() == [(1, "x"), (4, "y"), (5, "u"), (6, "v")]
    assert highest_number(None, table("k INT PRIMARY KEY"), "a") == 0
