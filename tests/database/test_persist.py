"""Persisting: a new file appears whole or not at all, a database that is there takes it in."""

from __future__ import annotations

import multiprocessing

import pytest

from farm_merge.database import InMemorySimulationDatabase, SimulationDatabase
from farm_merge.database.persist import _copy
from farm_merge.errors import ConflictError, InvalidRecordError, OutputError
from farm_merge.experiment_database import ExperimentDatabase
from tests.conftest import content, query
from tests.logged import write


def test_memory_is_persisted_to_a_file_that_equals_a_shard(tmp_path):
    with SimulationDatabase(tmp_path / "shard.db", simulation_id="run") as db:
        write(db)
    with InMemorySimulationDatabase(simulation_id="run") as db:
        write(db)
        report = db.persist_to_disk(tmp_path / "deep" / "memory.db", show_progress=False)
    for path in (tmp_path / "shard.db", tmp_path / "deep" / "memory.db"):
        query(path, "UPDATE simulation_config SET timestamp = 0")
    assert content(tmp_path / "deep" / "memory.db") == content(tmp_path / "shard.db")
    assert [file.name for file in (tmp_path / "deep").iterdir()] == ["memory.db"]
    assert report["rows"]["agent_states"] == 3
    assert report["total_rows"] == 1 + 3 * 4 + 1
    assert not report["merged"]
    where = "SELECT simulation_db_path FROM simulations"
    assert query(tmp_path / "deep" / "memory.db", where) == [(str(tmp_path / "deep/memory.db"),)]


def test_only_some_tables_can_be_persisted(tmp_path):
    with InMemorySimulationDatabase(simulation_id="run") as db:
        write(db)
        report = db.persist_to_disk(tmp_path / "x.db", tables=["agents"], show_progress=False)
        with pytest.raises(InvalidRecordError, match="colours"):
            db.persist_to_disk(tmp_path / "y.db", tables=["colours"])
    assert report["rows"] == {"agents": 1}
    assert query(tmp_path / "x.db", "SELECT count(*) FROM agent_states") == [(0,)]


def persist(path, simulation_id, **options):
    with InMemorySimulationDatabase(simulation_id=simulation_id, **options) as db:
        write(db)
        db.persist_to_disk(path, show_progress=False)


def test_several_processes_can_persist_into_one_experiment(tmp_path):
    path = tmp_path / "exp.db"
    persist(path, "first")
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.starmap(persist, [(path, f"run_{number}") for number in range(5)])
        pool.close()
        pool.join()
    counts = query(path, "SELECT simulation_id, count(*) FROM agent_states GROUP BY 1")
    assert counts == [("first", 3), *((f"run_{number}", 3) for number in range(5))]
    assert [file.name for file in tmp_path.iterdir()] == ["exp.db"]


def test_persisting_other_data_under_an_id_that_is_there_is_a_conflict(tmp_path):
    persist(tmp_path / "exp.db", "run")
    with InMemorySimulationDatabase(simulation_id="run") as db:
        write(db, steps=1)
        with pytest.raises(ConflictError, match="run"):
            db.persist_to_disk(tmp_path / "exp.db", show_progress=False)
    assert [file.name for file in tmp_path.iterdir()] == ["exp.db"]


def test_processes_that_persist_first_at_once_all_succeed(tmp_path):
    names = [f"run_{number}" for number in range(6)]
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        pool.starmap(persist, [(tmp_path / "exp.db", name) for name in names])
        pool.close()
        pool.join()
    assert query(tmp_path / "exp.db", "SELECT simulation_id FROM simulations ORDER BY 1") == [
        (name,) for name in names
    ]


def test_a_database_that_appears_meanwhile_is_joined(tmp_path, monkeypatch):
    def copy_late(source, disk, **options):
        monkeypatch.undo()
        persist(tmp_path / "exp.db", "faster")
        _copy(source, disk, **options)

    monkeypatch.setattr("farm_merge.database.persist._copy", copy_late)
    persist(tmp_path / "exp.db", "slower")
    assert query(tmp_path / "exp.db", "SELECT simulation_id FROM simulations ORDER BY 1") == [
        ("faster",),
        ("slower",),
    ]


def test_a_folder_without_its_parent_is_made(tmp_path):
    persist(tmp_path / "not" / "yet" / "run.db", "run")
    assert query(tmp_path / "not" / "yet" / "run.db", "SELECT count(*) FROM agents") == [(1,)]


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_a_companion_without_its_database_is_refused_by_name(tmp_path, suffix):
    stray = tmp_path / f"run.db{suffix}"
    stray.write_bytes(b"of another database")
    with pytest.raises(OutputError, match=stray.name):
        persist(tmp_path / "run.db", "run")
    assert [file.name for file in tmp_path.iterdir()] == [stray.name]
    assert stray.read_bytes() == b"of another database"


def test_persisting_ends_the_run_unless_it_goes_on(tmp_path):
    db = InMemorySimulationDatabase(simulation_id="run")
    write(db)
    db.persist_to_disk(tmp_path / "over.db", show_progress=False)
    db.persist_to_disk(tmp_path / "goes_on.db", show_progress=False, ended=False)
    db.update_simulation_status("failed")
    db.persist_to_disk(tmp_path / "failed.db", show_progress=False)
    db.close()
    asked = "SELECT status, end_time IS NULL FROM simulations"
    assert query(tmp_path / "over.db", asked) == [("completed", 0)]
    assert query(tmp_path / "goes_on.db", asked) == [("running", 1)]
    assert query(tmp_path / "failed.db", asked) == [("failed", 0)]


def test_what_was_refused_is_recorded_in_the_file(tmp_path):
    db = InMemorySimulationDatabase(simulation_id="run")
    with pytest.raises(InvalidRecordError):
        db.logger.log_agent_action(-1, "a1", "move")
    db.persist_to_disk(tmp_path / "run.db", show_progress=False)
    refused = (
        "SELECT status, results_summary ->> '$.refused_rows.log_agent_action' FROM simulations"
    )
    assert query(tmp_path / "run.db", refused) == [("incomplete", 1)]
    db.logger.refused.clear()
    db.close()


def test_a_run_joins_the_experiment_of_a_database_that_has_one(tmp_path):
    with ExperimentDatabase(tmp_path / "exp.db", "e1"):
        pass
    persist(tmp_path / "exp.db", "joins")
    persist(tmp_path / "exp.db", "has_its_own", experiment_id="e2")
    persist(tmp_path / "exp.db", "has_a_choice_of_two")
    experiments = dict(
        query(tmp_path / "exp.db", "SELECT simulation_id, experiment_id FROM simulations")
    )
    assert experiments["joins"] == "e1"
    assert experiments["has_its_own"] == "e2"
    assert experiments["has_a_choice_of_two"] not in {"e1", "e2"}


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match=r"run\.db: cannot be written"):
        persist(tmp_path / "file" / "run.db", "run")


def test_a_file_of_something_else_stays_as_it_is(tmp_path):
    query(tmp_path / "other.db", "CREATE TABLE precious (x)")
    before = (tmp_path / "other.db").read_bytes()
    with pytest.raises(OutputError, match="not an experiment database"):
        persist(tmp_path / "other.db", "run")
    assert (tmp_path / "other.db").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["other.db"]
