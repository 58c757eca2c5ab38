"""A new file appears whole or not at all; an existing one grows by transactions."""

from __future__ import annotations

import pytest

from farm_merge.errors import OutputError
from farm_merge.merge import merge_shards
from tests.conftest import query


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_a_stray_companion_of_the_output_is_refused(make_shard, tmp_path, suffix):
    stray = tmp_path / f"exp.db{suffix}"
    stray.write_bytes(b"old")
    with pytest.raises(OutputError, match=stray.name):
        merge_shards([make_shard("a")], tmp_path / "exp.db")
    assert stray.read_bytes() == b"old"


def test_an_output_of_another_schema_is_refused_and_stays(make_shard, tmp_path):
    output = tmp_path / "exp.db"
    query(output, "CREATE TABLE precious (x)")
    before = output.read_bytes()
    with pytest.raises(OutputError, match=r"NEW\.db"):
        merge_shards([make_shard("a")], output)
    assert output.read_bytes() == before


def test_an_output_that_appears_meanwhile_is_never_replaced(make_shard, tmp_path):
    output = tmp_path / "exp.db"

    def intrude(event):
        if event.phase == "verify":
            output.write_bytes(b"somebody else's")

    with pytest.raises(OutputError, match="appeared"):
        merge_shards([make_shard("a")], output, progress=intrude)
    assert output.read_bytes() == b"somebody else's"
