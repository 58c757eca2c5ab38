"""What is known about a run comes along with its rows, or is made from them."""

from __future__ import annotations

from farm_merge.merge import merge_shards
from tests.conftest import query


def test_registry_rows_come_along_and_can_be_put_under_an_experiment(make_shard, tmp_path):
    own = make_shard("a", experiment=("exp_1", "First"))
    none = make_shard("b")
    merge_shards([own, none], tmp_path / "exp.db")
    rows = "SELECT simulation_id, experiment_id, status, parameters FROM simulations"
    assert query(tmp_path / "exp.db", rows) == [
        ("a", "exp_1", "completed", '{"rate": 0.1}'),
        ("b", "exp", "completed", '{"rate": 0.1}'),
    ]
    assert query(tmp_path / "exp.db", "SELECT experiment_id, name FROM experiments") == [
        ("exp", "exp"),
        ("exp_1", "First"),
    ]
    merge_shards([own, none], tmp_path / "x.db", experiment_id="E", name="N", description="D")
    assert query(
        tmp_path / "x.db", "SELECT e.experiment_id, name, description, count(*) FROM experiments e"
        " JOIN simulations USING (experiment_id) GROUP BY 1"
    ) == [("E", "N", "D", 2)]  # fmt: skip


def test_shards_that_describe_an_experiment_differently_are_told(make_shard, tmp_path):
    shards = [
        make_shard("a", experiment=("e", "First")),
        make_shard("b", experiment=("e", "Second")),
    ]
    report = merge_shards(shards, tmp_path / "exp.db")
    assert [note for note in report.notes if str(shards[1]) in note and "'e'" in note]
    assert query(tmp_path / "exp.db", "SELECT name FROM experiments") == [("First",)]


def test_a_shard_without_its_registry_row_is_registered(make_shard, tmp_path):
    shard = make_shard("a")
    query(shard, "DELETE FROM simulations")
    merge_shards([shard], tmp_path / "exp.db")
    assert query(tmp_path / "exp.db", "SELECT simulation_id, status FROM simulations") == [
        ("a", "unknown")
    ]
