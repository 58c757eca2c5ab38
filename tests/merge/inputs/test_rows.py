"""Rows counted before they are merged, and those that cannot be."""

from __future__ import annotations

import json

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge import audit, merge_shards
from tests.conftest import query
from tests.merge.eras import write_era


@pytest.fixture
def with_duplicates(tmp_path):
    source = write_era(tmp_path / "run.db", 2)
    query(source, "INSERT INTO AgentStates VALUES (0, 0, 77.5, 1, 1, 1)")
    return source


def test_a_key_that_repeats_stops_the_merge_with_table_key_and_count(with_duplicates, tmp_path):
    with pytest.raises(ShardError, match=r"AgentStates: 1 rows repeat .*step_number, agent_id"):
        merge_shards([with_duplicates], tmp_path / "exp.db")


@pytest.mark.parametrize(("choice", "x"), [("first", 0.5), ("last", 77.5)])
def test_the_user_can_choose_among_rows_with_one_key(with_duplicates, tmp_path, choice, x):
    output = tmp_path / "exp.db"
    report = merge_shards([with_duplicates], output, on_duplicate_row=choice)
    assert query(output, "SELECT position_x FROM agent_states LIMIT 1") == [(x,)]
    assert query(output, "SELECT count(*) FROM agent_states") == [(5,)]
    ((choices,),) = query(output, "SELECT choices FROM merged_shards")
    assert json.loads(choices) == {
        "duplicate_rows": {"agent_states": {"kept": choice, "left_out": 1}},
        "own_id": None,
    }
    assert report.simulations[0].rows == sum(
        json.loads(query(output, "SELECT row_counts FROM merged_shards")[0][0]).values()
    )
    assert audit(output, [with_duplicates], on_duplicate_row=choice).problems == ()
