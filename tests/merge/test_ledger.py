"""What came from where, and what that says about a file that is met again."""

from __future__ import annotations

import pytest

from farm_merge.errors import ConflictError
from farm_merge.merge import Action, merge_shards
from farm_merge.merge.inputs import survey
from tests.conftest import content, query
from tests.merge.checks import actions
from tests.merge.eras import write_era


def test_a_file_that_the_ledger_knows_is_not_read_again(make_shard, tmp_path, monkeypatch):
    shards = [make_shard("a"), make_shard("b", "c"), write_era(tmp_path / "shards" / "old.db", 3)]
    output = tmp_path / "exp.db"
    merge_shards(shards, output)

    def read(*_, **__):
        raise AssertionError

    with monkeypatch.context() as forbidden:
        forbidden.setattr(survey, "inspect_file", read)
        forbidden.setattr(survey, "inspect_briefly", read)
        report = merge_shards(shards, output)
    assert set(actions(report).values()) == {Action.ALREADY_MERGED}
    assert len(report.simulations) == 4
    assert report.simulations[0].rows == 35
    query(shards[0], "UPDATE agents SET genome_id = 'changed'")
    with pytest.raises(ConflictError, match="'a' has other data"):
        merge_shards(shards, output)


def test_a_file_of_which_not_all_was_merged_is_read_again(make_shard, tmp_path):
    shard = make_shard("a", "b")
    query(shard, "UPDATE simulations SET status = 'running' WHERE simulation_id = 'b'")
    output = tmp_path / "exp.db"
    merge_shards([shard], output)
    report = merge_shards([shard], output)
    assert [each.simulation_id for each in report.left_out] == ["b"]
    merge_shards([shard], output, include_running=True)
    assert content(output) == content(shard)


def test_the_ledger_says_what_came_from_where(make_shard, tmp_path):
    shard = make_shard("a")
    merge_shards([shard], tmp_path / "half.db")
    merge_shards([tmp_path / "half.db"], tmp_path / "exp.db")
    ledger = query(
        tmp_path / "exp.db",
        "SELECT source_path, json_extract(row_counts, '$.agent_states'), size_bytes"
        " FROM merged_shards WHERE simulation_id = 'a' ORDER BY source_path DESC",
    )
    history, newest = sorted(ledger, key=lambda row: row[0] != str(shard))
    assert history == (str(shard), 15, shard.stat().st_size)
    assert newest[0] == str(tmp_path / "half.db")
