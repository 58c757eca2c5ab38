"""A shard is read once, whole, into memory that is used again."""

from __future__ import annotations

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge.inputs.file import fingerprint, look_at
from farm_merge.merge.write.load import ReadBuffer, load
from tests.conftest import query


def test_a_shard_is_in_memory_as_it_is_on_the_disk(make_shard):
    path = make_shard("a", steps=50)
    query(path, "CREATE INDEX own ON agents (simulation_id, birth_time)")
    with load(look_at(path), ReadBuffer()) as loaded:
        assert loaded.pages.data.tobytes() == path.read_bytes()
    assert loaded.fingerprint == fingerprint(loaded.file)
    roots = dict(query(path, "SELECT name, rootpage FROM sqlite_schema"))
    assert {name: root.page for name, root in loaded.roots.items()} == roots
    assert loaded.roots["own"].table == "agents"
    assert "agent_states" in loaded.structure.content


def test_what_a_shard_holds_about_its_simulations_comes_along_bit_for_bit(make_shard):
    path = make_shard("a", experiment=("e", "An experiment"))
    query(path, "UPDATE simulations SET status = CAST(x'ff61' AS TEXT)")
    with load(look_at(path), ReadBuffer()) as loaded:
        columns, (row,) = loaded.metadata["simulations"]
    found = dict(zip(columns, row, strict=True))
    assert found["simulation_id"] == b"a"
    assert found["status"] == b"\xff\x61"


def test_memory_is_used_again_for_smaller_shards(make_shard):
    buffer = ReadBuffer()
    with load(look_at(make_shard("a", steps=300)), buffer) as loaded:
        large = loaded.pages.data
    with load(look_at(make_shard("b")), buffer) as loaded:
        small = loaded.pages.data
    assert len(small) < len(large)
    assert small.ctypes.data == large.ctypes.data


def test_a_shard_that_changed_since_it_was_looked_at_is_named(make_shard):
    path = make_shard("a")
    file = look_at(path)
    query(path, "DELETE FROM agents")
    with (
        pytest.raises(ShardError, match="changed after it was inspected") as caught,
        load(file, ReadBuffer()),
    ):
        pass
    assert caught.value.path == path
