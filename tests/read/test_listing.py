"""What is in a database: its simulations, its tables, its ledger, and what is wrong with it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from farm_merge import ExperimentDatabase
from farm_merge.errors import FarmMergeError, ShardError
from farm_merge.merge import merge_shards
from farm_merge.read.listing import describe_database, differing_parameters, list_simulations
from farm_merge.read.sizes import table_sizes
from tests.conftest import query
from tests.read.foreign import write_foreign_runs


def test_simulations_are_listed_with_their_parameters(four_runs):
    simulations = list_simulations(four_runs, ["learning_rate<0.5"])
    assert [row["simulation_id"] for row in simulations] == ["a1", "a2"]
    assert simulations[1] == {
        "simulation_id": "a2",
        "experiment_id": "exp",
        "status": "completed",
        "parameters": {"learning_rate": 0.1, "repetition": 2, "world": {"size": 10}},
        "steps": 3,
        "agents": 2,
    }
    with pytest.raises(FarmMergeError, match="not a condition"):
        list_simulations(four_runs, ["learning_rate"])


def test_parameters_that_are_no_json_are_no_parameters(four_runs):
    query(four_runs, "UPDATE simulations SET parameters = '{' WHERE simulation_id = 'a1'")
    assert list_simulations(four_runs)[0]["parameters"] == {}


def test_what_is_in_a_database(four_runs):
    facts = describe_database(four_runs)
    assert facts["statuses"] == {"completed": 3, "failed": 1}
    assert facts["tables"]["agent_actions"]["rows"] == 16
    assert facts["experiments"] == {"exp": {"name": "exp", "simulations": 4}}
    assert facts["ledger"]["files"] == 4
    assert facts["ledger"]["choices"] == {}
    assert facts["problems"] == []


def test_references_that_lead_nowhere_are_a_problem(four_runs):
    query(four_runs, "DELETE FROM agents WHERE simulation_id = 'a1'")
    assert describe_database(four_runs)["problems"] == [
        "4 rows of agent_actions refer to rows that agents does not have"
    ]
    assert describe_database(four_runs, check=False)["problems"] == []


def test_a_file_of_another_schema_is_refused_with_advice(tmp_path):
    query(tmp_path / "other.db", "CREATE TABLE t (x)")
    with pytest.raises(ShardError, match=r"other\.db: not a database of today's schema; merge it"):
        list_simulations(tmp_path / "other.db")


def test_a_database_without_agentfarms_tables_is_described(tmp_path):
    query(tmp_path / "a.db", "CREATE TABLE prey (id INTEGER PRIMARY KEY, x REAL)")
    query(tmp_path / "a.db", "INSERT INTO prey (x) VALUES (1), (2)")
    merge_shards([tmp_path / "a.db"], tmp_path / "exp.db")
    (simulation,) = list_simulations(tmp_path / "exp.db")
    assert (simulation["simulation_id"], simulation["steps"], simulation["agents"]) == (
        "a", None, None,
    )  # fmt: skip
    assert describe_database(tmp_path / "exp.db")["tables"]["prey"]["rows"] == 2


def test_the_sizes_of_all_tables_make_up_the_file(four_runs):
    sizes = table_sizes(four_runs)
    # The first page is the schema's own table, and nothing is free.
    assert sum(sizes.values()) == four_runs.stat().st_size
    assert table_sizes(four_runs.with_name("nothing.db")) == {}


def test_to_describe_a_database_costs_no_lock_that_this_process_has_on_it(four_runs):
    """Two copies of SQLite in one process would drop each other's."""
    with ExperimentDatabase(four_runs, "exp") as database:
        database._connection.execute("BEGIN IMMEDIATE")
        describe_database(four_runs)
        code = (
            "import sqlite3, sys\n"
            "c = sqlite3.connect(sys.argv[1], timeout=0, isolation_level=None)\n"
            "c.execute('BEGIN IMMEDIATE')\n"
        )
        command = [sys.executable, "-c", code, os.fspath(four_runs)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert "database is locked" in done.stderr
        database._connection.execute("ROLLBACK")


def test_steps_and_agents_of_any_model_are_counted(tmp_path):
    found = list_simulations(write_foreign_runs(tmp_path))
    assert [(run["steps"], run["agents"]) for run in found] == [(3, 2)] * 3
    assert differing_parameters(found) == [{"speed": 1}, {"speed": 1}, {"speed": 2}]
    assert differing_parameters(found[:1]) == [{"speed": 1, "size": 10}]
