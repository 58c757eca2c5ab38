"""Rows of one simulation, copied in one transaction with its ledger entry."""

from __future__ import annotations

from collections import Counter
from contextlib import closing

import pytest

from farm_merge.errors import OutputError, ShardError
from farm_merge.merge import merge_shards
from farm_merge.merge.tables.structure import read_structure
from farm_merge.merge.write import attach
from farm_merge.merge.write.check import count_rows, require_counts, require_same
from farm_merge.sqlite import connect, file_uri
from tests.merge.checks import counts_of


def test_verification_by_content_sees_what_counting_does_not(make_shard, tmp_path, monkeypatch):
    """A copy that changes a value on the way is stopped before it is kept."""
    honest = attach.copy_rows

    def dishonest(connection, found, target, simulation_id, **options):
        rows = honest(connection, found, target, simulation_id, **options)
        connection.execute("UPDATE main.agents SET position_x = position_x + 1")
        return rows

    monkeypatch.setattr(attach, "copy_rows", dishonest)
    shard = make_shard("a")
    merge_shards([shard], tmp_path / "counts.db", engine="attach")
    with pytest.raises(ShardError, match=r"a\.db: .*table agents: the output differs"):
        merge_shards([shard], tmp_path / "content.db", engine="attach", verify="content")
    assert not (tmp_path / "content.db").exists()


@pytest.fixture
def path(make_shard):
    """A database with one simulation."""
    return make_shard("a", steps=4)


def test_rows_of_a_simulation_are_counted_by_table(path):
    with closing(connect(file_uri(path))) as connection:
        tables = counts_of(path)
        assert count_rows(connection, "a", tables) == Counter(tables)
        assert +count_rows(connection, "b", tables) == Counter()
        assert count_rows(connection, "a", ["agents"]) == Counter(agents=3)


@pytest.mark.parametrize("changes", [{"agents": 2}, {"AGENTS": 4}, {"agents": 0}])
def test_a_simulation_that_does_not_add_up_is_named(path, changes):
    counts = counts_of(path)
    with closing(connect(file_uri(path))) as connection:
        require_counts(connection, "a", counts, counts)
        require_counts(connection, "a", [], {"AGENT_STATES": 12})
        wrong = {**counts, **changes}
        with pytest.raises(OutputError, match=r"simulation 'a', table .*nothing of it was kept"):
            require_counts(connection, "a", counts, wrong)
        with pytest.raises(OutputError, match="table agents: 0 rows in the shard, 3 in the output"):
            require_counts(connection, "a", ["agents"], {})


def test_content_that_differs_is_named(path, make_shard):
    other = make_shard("a", folder="other", steps=4)
    with closing(connect(file_uri(path))) as connection:
        connection.execute("ATTACH DATABASE ? AS shard", (file_uri(other),))
        structures = read_structure(connection), read_structure(connection, "shard")
        require_same(connection, "a", *structures)
        connection.execute("UPDATE shard.agents SET position_x = 7 WHERE agent_id = 'agent_1'")
        with pytest.raises(OutputError, match="'a', table agents: the output differs"):
            require_same(connection, "a", *structures)
