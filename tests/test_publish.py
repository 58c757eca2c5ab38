"""A new file appears whole or not at all; an existing one grows by transactions."""

from __future__ import annotations

import pytest

from farm_merge.errors import OutputError
from farm_merge.merge import merge_shards
from tests.conftest import query


def test_an_output_of_another_schema_is_refused_and_stays(make_shard, tmp_path):
    output = tmp_path / "exp.db"
    query(output, "CREATE TABLE precious (x)")
    before = output.read_bytes()
    with pytest.raises(OutputError, match=r"NEW\.db"):
        merge_shards([make_shard("a")], output)
    assert output.read_bytes() == before
