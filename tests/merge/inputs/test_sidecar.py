"""The parameters of a run, from a file beside its database."""

from __future__ import annotations

import json

from farm_merge.merge import merge_shards
from tests.conftest import query
from tests.merge.eras import write_era


def test_a_config_beside_the_run_becomes_its_parameters(tmp_path):
    sources = [write_era(tmp_path / f"run_{number}" / "simulation.db", 1) for number in (1, 2)]
    for number, source in enumerate(sources):
        (source.parent / "config.json").write_text(json.dumps({"rate": number}))
        query(source, "UPDATE AgentStates SET position_x = ?", number)
    merge_shards([tmp_path], tmp_path / "out" / "exp.db")
    assert query(
        tmp_path / "out" / "exp.db", "SELECT simulation_id, parameters FROM simulations"
    ) == [
        ("run_1_simulation", '{"rate": 0}'),
        ("run_2_simulation", '{"rate": 1}'),
    ]


def test_a_config_that_could_be_anybodys_is_nobodys(tmp_path):
    write_era(tmp_path / "runs" / "a.db", 1)
    write_era(tmp_path / "runs" / "b.db", 2)
    (tmp_path / "runs" / "config.json").write_text('{"rate": 1}')
    merge_shards([tmp_path / "runs"], tmp_path / "exp.db")
    sql = "SELECT simulation_id, parameters FROM simulations"
    assert query(tmp_path / "exp.db", sql) == [("a", "{}"), ("b", '{"width": 100}')]
