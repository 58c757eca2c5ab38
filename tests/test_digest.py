"""A digest is that of the content: of every value, and of nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from farm_merge.digest import digest_simulations, store_digests
from farm_merge.errors import FarmMergeError
from farm_merge.merge import merge_shards
from tests.conftest import query, vacuumed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    MakeShard = Callable[..., Path]


def digest(path: Path, simulation_id: str = "a") -> str:
    """Return the digest of a simulation."""
    (found,) = digest_simulations(path, [simulation_id])
    return found.digest


def test_a_digest_is_the_same_in_a_shard_and_an_experiment(
    tmp_path: Path, make_shard: MakeShard
) -> None:
    shards = [make_shard("a"), make_shard("b", shift=1.0)]
    merge_shards(shards, tmp_path / "graft.db")
    merge_shards(shards, tmp_path / "attach.db", engine="attach")
    for name, shard in zip("ab", shards, strict=True):
        assert (
            digest(shard, name)
            == digest(tmp_path / "graft.db", name)
            == digest(tmp_path / "attach.db", name)
        )


def test_a_digest_depends_neither_on_pages_nor_names_nor_clocks(make_shard: MakeShard) -> None:
    shard = make_shard("a")
    before = digest(shard)
    vacuumed(shard, "PRAGMA page_size=512")
    query(shard, "UPDATE simulation_config SET timestamp = 12345")
    query(shard, "UPDATE simulations SET status = 'unknown', end_time = '2020-01-01'")
    assert digest(shard) == before
    assert digest(make_shard("other"), "other") == before


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE agent_states SET position_x = position_x + 1e-9 WHERE step_number = 3",
        "UPDATE agents SET agent_type = ''",
        "DELETE FROM health_incidents",
        "INSERT INTO health_incidents (simulation_id, incident_id, step_number, agent_id, cause) SELECT simulation_id, 2, step_number, agent_id, cause FROM health_incidents",
        "UPDATE simulation_config SET config_data = CAST(config_data AS BLOB)",
        "UPDATE agent_actions SET action_id = -action_id WHERE action_id = 1",
        "UPDATE agents SET position_x = position_y, position_y = position_x",
    ],
)  # fmt: skip
def test_whatever_changes_changes_the_digest(make_shard: MakeShard, change: str) -> None:
    shard = make_shard("a")
    before = digest(shard)
    query(shard, change)
    assert digest(shard) != before


def test_a_table_of_one_s_own_counts_in_any_order(tmp_path: Path) -> None:
    digests = []
    for name, order in (("up", "1, 2"), ("down", "2, 1")):
        file = tmp_path / name / "a.db"
        file.parent.mkdir()
        query(file, "CREATE TABLE ticks (tick, value)")
        for tick in order.split(", "):
            query(file, f"INSERT INTO ticks VALUES ({tick}, 'v')")
        merge_shards([file], tmp_path / f"{name}.db")
        digests.append(digest(tmp_path / f"{name}.db"))
    assert digests[0] == digests[1]


def test_a_stored_digest_shows_what_changed_later(tmp_path: Path, make_shard: MakeShard) -> None:
    output = tmp_path / "exp.db"
    merge_shards([make_shard("a"), make_shard("b")], output)
    assert store_digests(output, digest_simulations(output)) == 2
    assert all(found.is_as_stored and found.stored for found in digest_simulations(output))
    query(output, "UPDATE agents SET birth_time = 7 WHERE simulation_id = 'b'")
    assert [found.is_as_stored for found in digest_simulations(output)] == [True, False]
    assert merge_shards([make_shard("c")], output).rows  # the ledger is read as before


def test_a_simulation_that_is_not_there_is_named(make_shard: MakeShard) -> None:
    with pytest.raises(FarmMergeError, match="no simulation b"):
        digest_simulations(make_shard("a"), ["b"])


@pytest.mark.parametrize("engine", ["graft", "attach"])
def test_a_merge_that_compares_content_keeps_digests_to_be_checked_without_shards(
    tmp_path: Path, make_shard: MakeShard, engine: Any
) -> None:
    output, shards = tmp_path / "exp.db", [make_shard("a"), make_shard("b")]
    before = {it.simulation_id: it.digest for shard in shards for it in digest_simulations(shard)}
    merge_shards(shards, output, engine=engine, verify="content")
    merge_shards([make_shard("c", folder="more")], output, verify="content")
    merge_shards([make_shard("d", folder="more")], output)
    for shard in shards:
        shard.unlink()
    found = {it.simulation_id: it for it in digest_simulations(output)}
    assert {name: found[name].stored for name in "ab"} == before
    assert (found["c"].stored, found["d"].stored) == (found["c"].digest, None)
    query(output, "UPDATE agents SET death_time = 3 WHERE simulation_id = 'b'")
    changed = [it.simulation_id for it in digest_simulations(output) if not it.is_as_stored]
    assert changed == ["b"]


def test_a_digest_does_not_outlive_rows_that_join_its_simulation(tmp_path: Path) -> None:
    for folder, number in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "run.db"
        query(path, "CREATE TABLE t (k INTEGER PRIMARY KEY, v)")
        query(path, "INSERT INTO t VALUES (?, 'x')", number)
    output = tmp_path / "exp.db"
    options = {"simulation_id": "{stem}", "join": True}
    merge_shards([tmp_path / "one"], output, verify="content", **options)
    (first,) = digest_simulations(output)
    assert first.stored == first.digest
    merge_shards([tmp_path / "one", tmp_path / "two"], output, **options)
    (second,) = digest_simulations(output)
    assert second.digest != first.digest
    assert second.stored is None
