"""What a file is, which simulations are in it, and whether it can be carried."""

from __future__ import annotations

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge import inspect_shard
from tests.merge.eras import write


def test_a_file_without_tables_holds_nothing_to_merge(tmp_path):
    with pytest.raises(ShardError, match="no table of data"):
        inspect_shard(write(tmp_path / "x.db", "CREATE VIEW v AS SELECT 1"))
