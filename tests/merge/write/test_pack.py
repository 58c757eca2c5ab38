"""Small shards are copied into one, whose pages are grafted; whatever is wrong costs one of them."""

from __future__ import annotations

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge import merge_shards
from farm_merge.merge.write import graft, pack, write
from tests.conftest import content, query, union
from tests.merge.damage import swap
from tests.merge.pages.raw import Raw


@pytest.fixture
def shards(make_shard, monkeypatch):
    monkeypatch.setattr(write, "_LITTLE_BYTES", 0)  # they are few
    return [make_shard(f"s{number}", steps=3 + number) for number in range(8)]


def test_all_of_one_form_are_one_pack(shards, tmp_path, grafted):
    report = merge_shards(shards, tmp_path / "exp.db", verify="content")
    assert len(grafted) == 1
    assert content(tmp_path / "exp.db") == union(*shards)
    other = merge_shards(shards, tmp_path / "attach.db", engine="attach")
    assert [it.row_counts for it in report.simulations] == [
        it.row_counts for it in other.simulations
    ]
    for rows in (
        "SELECT simulation_id, fingerprint, size_bytes, row_counts FROM merged_shards",
        "SELECT simulation_id, status, parameters FROM simulations",
    ):
        assert query(tmp_path / "exp.db", rows) == query(tmp_path / "attach.db", rows)
    assert query(tmp_path / "exp.db", "PRAGMA integrity_check") == [("ok",)]


def test_a_pack_ends_where_it_is_full(shards, tmp_path, grafted, monkeypatch):
    monkeypatch.setattr(graft, "_PACK_BYTES", 3 * shards[0].stat().st_size)
    merge_shards(shards, tmp_path / "exp.db")
    assert len(grafted) == 3
    assert content(tmp_path / "exp.db") == union(*shards)


def test_another_form_is_another_pack(shards, tmp_path, grafted):
    query(shards[3], "ALTER TABLE agents ADD COLUMN mood TEXT")
    query(shards[3], "UPDATE agents SET mood = 'good'")
    merge_shards(shards, tmp_path / "exp.db")
    assert len(grafted) == 3
    moods = "SELECT DISTINCT simulation_id FROM agents WHERE mood = 'good'"
    assert query(tmp_path / "exp.db", moods) == [("s3",)]
    assert query(tmp_path / "exp.db", "SELECT count(DISTINCT simulation_id) FROM agents") == [(8,)]


def test_those_that_are_damaged_cost_themselves(shards, tmp_path, grafted):
    """Only `integrity_check` sees it: rows are in another order than their keys."""
    bad = [shards[2], shards[6]]
    for path in bad:
        raw = Raw(path)
        (leaf, *_) = raw.leaves(raw.roots["agent_states"])
        pointers = raw.pointers(leaf)
        swap(raw, pointers[0], pointers[1], 2)
        raw.save()
    with pytest.raises(ShardError) as caught:
        merge_shards(shards, tmp_path / "exp.db")
    assert [cause.path for cause in caught.value.causes] == bad
    assert not (tmp_path / "exp.db").exists()
    report = merge_shards(shards, tmp_path / "exp.db", on_bad_shard="skip")
    assert [it.path for it in report.left_out] == bad
    assert content(tmp_path / "exp.db") == union(*(it for it in shards if it not in bad))
    assert grafted == []


def test_one_that_changes_meanwhile_costs_itself(shards, tmp_path, monkeypatch):
    honest = pack.fingerprint

    def fingerprint(file):
        if file.path == shards[5]:
            query(file.path, "DELETE FROM agent_states WHERE step_number = 0")
        return honest(file)

    monkeypatch.setattr(pack, "fingerprint", fingerprint)
    report = merge_shards(shards, tmp_path / "exp.db", on_bad_shard="skip", jobs=1)
    assert [it.path for it in report.left_out] == [shards[5]]
    assert content(tmp_path / "exp.db") == union(*shards[:5], *shards[6:])


def test_expressions_of_unknown_cost_are_not_computed(shards, tmp_path):
    """Such a file is read by what reads files that are not trusted, which may refuse it."""
    query(
        shards[1],
        "CREATE INDEX costly ON agents (simulation_id, length(hex(zeroblob(agent_id))))",
    )
    report = merge_shards(shards, tmp_path / "exp.db", on_bad_shard="skip")
    assert [it.path for it in report.left_out] == [shards[1]]
    assert "may take very long" in report.left_out[0].reason
    assert content(tmp_path / "exp.db") == union(shards[0], *shards[2:])
