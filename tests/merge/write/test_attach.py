"""Rows of one simulation, copied in one transaction with its ledger entry."""

from __future__ import annotations

import pytest

from farm_merge.errors import OutputError
from farm_merge.merge import merge_shards


def test_verification_by_content_sees_what_counting_does_not(make_shard, tmp_path, monkeypatch):
    """A copy that changes a value on the way is stopped before it is kept."""
    from farm_merge.merge.write import attach

    honest = attach.copy_rows

    def dishonest(connection, found, target, simulation_id, **options):
        rows = honest(connection, found, target, simulation_id, **options)
        connection.execute("UPDATE main.agents SET position_x = position_x + 1")
        return rows

    monkeypatch.setattr(attach, "copy_rows", dishonest)
    shard = make_shard("a")
    merge_shards([shard], tmp_path / "counts.db")
    with pytest.raises(OutputError, match="table agents: the output differs"):
        merge_shards([shard], tmp_path / "content.db", verify="content")
    assert not (tmp_path / "content.db").exists()
