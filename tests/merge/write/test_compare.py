"""What is content is compared by value and type, and nothing else is."""

from __future__ import annotations

import pytest

from farm_merge.errors import ConflictError
from farm_merge.merge import Action, merge_shards
from farm_merge.sqlite import sqlite3
from tests.conftest import query
from tests.merge.checks import actions


def test_a_vacuumed_copy_is_recognised_by_its_content(make_shard, tmp_path):
    shard = make_shard("a")
    query(shard, "DELETE FROM health_incidents WHERE simulation_id = 'nobody'")
    merge_shards([shard], tmp_path / "exp.db")
    copy = tmp_path / "copy.db"
    query(shard, "PRAGMA page_size = 8192")
    query(shard, "VACUUM INTO ?", str(copy))
    with sqlite3.connect(str(copy)) as connection:
        connection.execute("UPDATE simulations SET status = 'archived'")  # metadata, not content
    connection.close()
    assert actions(merge_shards([copy], tmp_path / "exp.db")) == {"a": Action.ALREADY_MERGED}


def test_values_that_are_equal_but_of_another_type_are_a_conflict(make_shard, tmp_path):
    one, other = make_shard("a"), make_shard("a", folder="other")
    query(one, "UPDATE agents SET action_weights = 1")
    query(other, "UPDATE agents SET action_weights = CAST('1' AS BLOB)")
    with pytest.raises(ConflictError):
        merge_shards([one, other], tmp_path / "exp.db")


def test_the_same_run_simulated_anew_is_already_merged(make_shard, tmp_path):
    shard = make_shard("a")
    merge_shards([shard], tmp_path / "exp.db")
    query(shard, "UPDATE simulation_config SET timestamp = 1234")
    query(shard, "UPDATE simulations SET start_time = '2026-01-01 00:00:00', host = 'other'")
    assert actions(merge_shards([shard], tmp_path / "exp.db")) == {"a": Action.ALREADY_MERGED}
