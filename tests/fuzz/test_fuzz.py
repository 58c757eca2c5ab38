"""A sample of `make fuzz`, the same every time; and what it found, as small files."""

from __future__ import annotations

from contextlib import closing

import pytest

from farm_merge.merge import merge_shards
from farm_merge.sqlite import sqlite3
from tests.conftest import query
from tests.fuzz.harness import run_all
from tests.merge.eras import write_era

_COUNT = 50


@pytest.mark.parametrize("first", range(0, 3 * _COUNT, _COUNT))
def test_what_becomes_of_a_mutant_is_what_sqlite_reads_of_it(first):
    found = run_all(first, _COUNT, 1)
    assert [(number, wrong) for number, _, wrong in found if wrong] == []
    assert {outcome for _, outcome, _ in found} == {"left out", "merged"}


# What was found


def costs_itself(bad, good, tmp_path, engine):
    """Return what is reported about a bad file; the good one is merged all the same."""
    report = merge_shards([bad, good], tmp_path / "exp.db", on_bad_shard="skip", engine=engine)
    assert query(tmp_path / "exp.db", "SELECT simulation_id FROM simulations") == [("good",)]
    ((path, reason),) = [(left.path, left.reason) for left in report.left_out]
    assert path == bad
    return reason


@pytest.fixture(params=["attach", "graft"])
def engine(request):
    return request.param


@pytest.mark.parametrize("entry", ["NULL", "'no JSON'", "'[1]'", '\'{"agents": "many"}\'', "x'ff'"])
def test_a_ledger_with_an_entry_that_is_none_costs_its_file(make_shard, tmp_path, engine, entry):
    merge_shards([make_shard("bad")], tmp_path / "bad.db")
    with closing(sqlite3.connect(str(tmp_path / "bad.db"), isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")  # as it is, it refuses NULL
        connection.execute(
            "UPDATE sqlite_schema SET sql = replace(sql, 'row_counts JSON NOT NULL', 'row_counts JSON')"
        )
        connection.execute("PRAGMA writable_schema = RESET")
        connection.execute(f"UPDATE merged_shards SET row_counts = {entry}")
    reason = costs_itself(tmp_path / "bad.db", make_shard("good"), tmp_path, engine)
    assert "has an entry that is none" in reason


def test_names_that_are_bytes_are_read_as_sqlite_reads_them(make_shard, tmp_path, engine):
    shard = make_shard("a")
    with closing(sqlite3.connect(str(shard), isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_schema SET tbl_name = CAST(tbl_name AS BLOB)")
    merge_shards([shard], tmp_path / "exp.db", engine=engine)
    assert query(tmp_path / "exp.db", "SELECT count(*) FROM agents") == [(3,)]


def test_a_configuration_that_is_no_utf_8_costs_nothing(tmp_path, engine):
    path = write_era(tmp_path / "run.db", 3)
    query(path, "UPDATE simulation_config SET config_data = CAST(x'7bff7d' AS TEXT)")
    merge_shards([path], tmp_path / "exp.db", engine=engine)
    assert query(
        tmp_path / "exp.db", "SELECT CAST(config_data AS BLOB) FROM simulation_config"
    ) == [(b"{\xff}",)]


def test_an_index_that_names_another_simulation_costs_its_file(make_shard, tmp_path, engine):
    """Rows that are counted by an index, and are not found in their table."""
    bad = write_era(tmp_path / "bad.db", 5)
    query(bad, "CREATE INDEX of_runs ON simulation_steps (simulation_id)")
    data = bad.read_bytes()
    (root,) = query(bad, "SELECT rootpage FROM sqlite_schema WHERE name = 'of_runs'")[0]
    size = int.from_bytes(data[16:18], "big")
    page = data[(root - 1) * size : root * size]
    at = (root - 1) * size + page.index(b"sim_one")
    bad.write_bytes(data[:at] + b"XXX_one" + data[at + 7 :])
    report = merge_shards(
        [bad, make_shard("good")], tmp_path / "exp.db", on_bad_shard="skip", engine=engine
    )
    have = {name for (name,) in query(tmp_path / "exp.db", "SELECT simulation_id FROM simulations")}
    assert "good" in have
    assert report.left_out or "XXX_one" not in have
