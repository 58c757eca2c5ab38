"""Databases in memory: sessions see them, and their limit loses nothing."""

from __future__ import annotations

import pytest

from farm_merge.database import InMemorySimulationDatabase
from farm_merge.errors import FarmMergeError
from tests.logged import STATE


def test_the_memory_limit_is_kept_and_nothing_is_lost(tmp_path):
    db = InMemorySimulationDatabase(memory_limit_mb=1, simulation_id="run")
    rows = [(f"agent_{number}", *STATE[1:]) for number in range(40_000)]
    with pytest.raises(FarmMergeError, match=r"still held .*the limit is 1 MB"):
        db.logger.log_step(0, rows, [], {})
    db._connection.execute("PRAGMA max_page_count = 100000")
    assert db.get_table_row_count("agent_states") == 40_000
    db.close()
