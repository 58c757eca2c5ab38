"""Text in UTF-16 arrives as the same text in UTF-8."""

from __future__ import annotations

import pytest

from farm_merge.merge import merge_shards
from tests.conftest import query
from tests.merge.checks import merge_checked, typed
from tests.merge.eras import write


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_utf_16_files(tmp_path, encoding):
    source = write(
        tmp_path / "run.db",
        "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT, b BLOB, c AS (k + 1))",
        "CREATE TABLE log (v)",
        "CREATE INDEX i ON t (v)",
        "CREATE VIEW w AS SELECT 1",
        "CREATE VIRTUAL TABLE words USING fts5(text)",
        "INSERT INTO t VALUES (1, 'caf\u00e9 \u2603 \U0001f41c', x'ff00'), (2, NULL, 'text'), (3, 'a' || char(0) || 'b', 1.5)",
        "INSERT INTO log VALUES (1), (1), ('x')",
        encoding=encoding,
    )
    output = tmp_path / "exp.db"
    merge_checked(output, source)
    assert typed(output, "t", "k", "v", "b") == typed(source, "t", "k", "v", "b")
    assert query(output, "SELECT v FROM log") == [(1,), (1,), ("x",)]
    report = merge_shards([source], tmp_path / "again.db")
    assert any("view w" in note for note in report.notes)
    assert any("words" in note for note in report.notes)


def test_a_shard_in_utf_16(make_shard, tmp_path):
    shard = make_shard("a")
    statements = query(shard, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
    other = write(tmp_path / "wide.db", *(sql for (sql,) in statements), encoding="UTF-16le")
    for mark in ("application_id", "user_version"):
        ((value,),) = query(shard, f"PRAGMA {mark}")
        query(other, f"PRAGMA {mark} = {value}")
    query(other, "INSERT INTO simulations (simulation_id, parameters, simulation_db_path)"
          " VALUES ('a', '{}', '')")  # fmt: skip
    query(
        other,
        "INSERT INTO agents (simulation_id, agent_id, agent_type) VALUES ('a', '\u2603', 'x')",
    )
    merge_shards([other], tmp_path / "exp.db")
    assert query(tmp_path / "exp.db", "SELECT agent_id FROM agents") == [("\u2603",)]
