"""Databases in memory: sessions see them, and at their limit they go on in a file."""

from __future__ import annotations

import tempfile

import pytest
from sqlalchemy import text

from farm_merge.database import InMemorySimulationDatabase, SimulationDatabase
from farm_merge.errors import OutputError
from tests.conftest import content, query
from tests.logged import STATE, write

ROWS = [(f"agent_{number}", *STATE[1:]) for number in range(40_000)]


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """Let temporary files be made in a folder that can be looked into."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_a_database_that_reaches_its_limit_goes_on_in_a_file_and_nothing_is_lost(
    tmp_path, temporary
):
    def log(db):
        write(db)
        for step in range(10, 15):
            db.logger.log_step(step, ROWS, [], {})

    with SimulationDatabase(tmp_path / "shard.db", simulation_id="run") as db:
        log(db)
    with InMemorySimulationDatabase(memory_limit_mb=1, simulation_id="run") as db:
        log(db)
        assert db.get_table_row_count("agent_states") == 200_003
        assert not db.is_in_memory
        with db.Session() as session:
            assert session.execute(text("SELECT count(*) FROM agent_states")).scalar() == 200_003
        report = db.persist_to_disk(tmp_path / "memory.db", show_progress=False)
    assert report["rows"]["agent_states"] == 200_003
    for name in ("shard.db", "memory.db"):
        query(tmp_path / name, "UPDATE simulation_config SET timestamp = 0")
    assert content(tmp_path / "memory.db") == content(tmp_path / "shard.db")
    assert list(temporary.iterdir()) == []


def test_rows_that_come_little_by_little_never_reach_the_limit(temporary):
    with InMemorySimulationDatabase(memory_limit_mb=1, simulation_id="run") as db:
        for step in range(50):
            db.logger.log_step(step, ROWS[:1000], [], {})
            db.flush_all_buffers()
        assert not db.is_in_memory
        db.save_configuration({"text": "x" * 200_000})
        assert db.get_table_row_count("agent_states") == 50_000


def test_a_small_database_stays_in_memory(temporary):
    with InMemorySimulationDatabase(memory_limit_mb=50, simulation_id="run") as db:
        write(db)
        db.flush_all_buffers()
        assert db.is_in_memory
    assert list(temporary.iterdir()) == []


def test_a_file_that_cannot_be_written_is_named_and_rows_are_held(tmp_path):
    (tmp_path / "file").write_text("no folder")
    spill_to = tmp_path / "file" / "run.db"
    db = InMemorySimulationDatabase(memory_limit_mb=1, simulation_id="run", spill_to=spill_to)
    with pytest.raises(OutputError, match=r"run\.db: cannot be written"):
        db.logger.log_step(0, ROWS, [], {})
    db._spill_to = tmp_path / "run.db"
    assert db.get_table_row_count("agent_states") == 40_000
    db.close()
    assert query(tmp_path / "run.db", "SELECT count(*) FROM agent_states") == [(40_000,)]
