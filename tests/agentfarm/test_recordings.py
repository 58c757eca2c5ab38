"""A real simulation's calls, replayed: the rows are those that AgentFarm's own classes wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from farm_merge.agentfarm import (
    ExperimentDatabase,
    InMemorySimulationDatabase,
    SimulationDatabase,
)
from farm_merge.merge import merge_shards
from tests.agentfarm.replay import Digests, Replay, recorded
from tests.conftest import content, query, union

FOLDER = os.environ.get("FARM_MERGE_CALLS")
RECORDINGS = ("disk", "memory", "experiment")

pytestmark = pytest.mark.skipif(not FOLDER, reason="FARM_MERGE_CALLS names no folder")


@pytest.fixture
def expected():
    return json.loads(Path(FOLDER, "expected.json").read_text(encoding="utf-8"))


def calls(name):
    return recorded(Path(FOLDER, f"{name}.jsonl.gz"))


def require_equal(path, name, expected, but=frozenset()):
    """Compare a database with what was recorded, `but` for the column where they may differ."""
    digests = Digests(path, expected["digest"]["json_columns"])
    for table, recording in expected["recordings"][name]["tables"].items():
        columns = {
            column: digest for column, digest in recording["columns"].items() if column not in but
        }
        rows, whole, by_column = digests.of(table, columns)
        assert by_column == columns, table
        assert rows == recording["rows"], table
        if columns == recording["columns"]:
            assert whole == recording["sha256"], table
        types = {column: digests.types(table, column) for column in recording["typeof"]}
        if table == "health_incidents":  # those of deaths are of no simulation in AgentFarm's files
            assert types["simulation_id"] == {"text": rows}
            types["simulation_id"] = recording["typeof"]["simulation_id"]
        assert {**types, **dict.fromkeys(but & types.keys())} == {
            **recording["typeof"],
            **dict.fromkeys(but & types.keys()),
        }, table


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recording_gives_the_rows_that_were_recorded(tmp_path, expected, name):
    path = tmp_path / "out" / "run.db"
    Replay(path).run(calls(name))
    require_equal(path, name, expected)
    assert [file.name for file in path.parent.iterdir()] == ["run.db"]
    assert query(path, "PRAGMA integrity_check") == [("ok",)]


def test_the_run_on_disk_gives_the_same_rows_in_memory(tmp_path, expected):
    path = tmp_path / "run.db"
    replay = Replay(path, lambda name: InMemorySimulationDatabase(simulation_id=name))
    made = calls("disk")
    end = next(number for number, call in enumerate(made) if call["call"] == "close")
    replay.run(made[:end])
    replay.objects["db1"].persist_to_disk(path)
    replay.run(made[end:])
    require_equal(path, "disk", expected)


def test_the_run_in_memory_gives_the_same_rows_on_disk(tmp_path, expected):
    path = tmp_path / "run.db"
    replay = Replay(path, lambda name: SimulationDatabase(path, simulation_id=name))
    replay.run(call for call in calls("memory") if call["call"] != "persist_to_disk")
    require_equal(path, "memory", expected)


@pytest.mark.parametrize("name", ["disk", "memory"])
def test_a_run_gives_the_same_rows_in_a_context(tmp_path, expected, name):
    path = tmp_path / "exp.db"
    with ExperimentDatabase(path, "e") as experiment:
        replay = Replay(path, experiment.create_simulation_context)
        replay.run(call for call in calls(name) if call["call"] != "persist_to_disk")
    assert query(path, "SELECT experiment_id FROM simulations") == [("e",)]
    del expected["recordings"][name]["tables"]["experiments"]
    require_equal(path, name, expected, but={"experiment_id"})


def test_all_runs_merge_into_one_database(tmp_path):
    paths = [tmp_path / f"{name}.db" for name in RECORDINGS]
    for name, path in zip(RECORDINGS, paths, strict=True):
        Replay(path).run(calls(name))
    merge_shards(paths, tmp_path / "all.db")
    assert content(tmp_path / "all.db") == union(*paths)
