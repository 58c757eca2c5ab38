"""Plans and inputs as plain data, for people and for programs."""

from __future__ import annotations

import json

from farm_merge.merge import describe_input, describe_plan, inspect_shard, merge_shards, plan_merge
from tests.conftest import query
from tests.merge.checks import counts_of
from tests.merge.eras import write_era, write_nameless


def test_an_input(make_shard):
    path = make_shard("a", "b", steps=4)
    query(path, "CREATE VIEW v AS SELECT 1")
    described = describe_input(inspect_shard(path))
    assert json.loads(json.dumps(described)) == described
    assert described["path"] == str(path)
    assert described["schema"] == "farm-merge 1"
    assert described["size_bytes"] == path.stat().st_size
    assert len(described["fingerprint"]) == 32
    assert [it["simulation_id"] for it in described["simulations"]] == ["a", "b"]
    assert sum(it["rows"] for it in described["simulations"]) == sum(counts_of(path).values())
    assert described["simulations"][0]["status"] == "completed"
    assert described["notes"] == ["holds no data, so not carried: view v"]


def test_a_plan_for_a_new_output(make_shard, tmp_path):
    sources = [make_shard("s"), *(write_era(tmp_path / f"r{n}.db", 3) for n in (1, 2))]
    query(sources[2], "UPDATE agents SET birth_time = 9")
    text = tmp_path / "text.db"
    text.write_text("nothing")
    plan = plan_merge([*sources, text], tmp_path / "new" / "exp.db", on_bad_shard="skip", jobs=1)
    described = describe_plan(plan)
    assert json.loads(json.dumps(described)) == described
    assert (described["output"], described["exists"]) == (str(tmp_path / "new" / "exp.db"), False)
    assert [(it["simulation_id"], it["action"]) for it in described["simulations"]] == [
        ("r1", "merged"),
        ("r2", "merged"),
        ("s", "merged"),
    ]
    assert described["rows"] == sum(sum(it["tables"].values()) for it in described["simulations"])
    assert described["added_tables"] == ["learning_experiences"]
    assert "agent_states.original_id" in described["added_columns"]
    (mapping,) = described["mappings"]  # once for both
    assert (mapping["files"], mapping["first"]) == (2, str(sources[1]))
    assert mapping["schema"].startswith("AgentFarm era 3")
    states = next(it for it in mapping["tables"] if it["to"] == "agent_states")
    assert states["columns"]["original_id"] == 't."id"'
    (left,) = described["left_out"]
    assert left["path"] == str(text)
    sizes = [path.stat().st_size for path in sources]
    assert described["bytes_needed"] == sum(sizes) + max(sizes[1:])
    assert described["bytes_free"] > 0
    assert not (tmp_path / "new").exists()


def test_a_plan_for_an_output_that_has_all(make_shard, tmp_path):
    merge_shards([make_shard("s")], tmp_path / "exp.db")
    described = describe_plan(plan_merge([tmp_path / "shards"], tmp_path / "exp.db"))
    assert described["exists"]
    assert [it["action"] for it in described["simulations"]] == ["already merged"]
    for nothing in (
        "added_tables",
        "added_columns",
        "added_indexes",
        "mappings",
        "left_out",
        "tables",
    ):
        assert not described[nothing], nothing
    assert (described["rows"], described["bytes_needed"]) == (0, 0)


def test_tables_and_indexes_that_an_output_gains(tmp_path):
    path = write_nameless(tmp_path / "a.db", 1)
    query(path, "CREATE INDEX by_value ON t (v)")
    described = describe_plan(plan_merge([path], tmp_path / "exp.db"))
    assert described["tables"] == {"t": ["k", "v"]}
    assert described["added_indexes"] == ["by_value"]
