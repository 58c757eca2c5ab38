"""Parameters, seeds and statuses that come from a table, afterwards."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from farm_merge.cli import main
from farm_merge.describe import describe_simulations, read_descriptions
from farm_merge.errors import FarmMergeError
from farm_merge.merge import audit, merge_shards
from tests.conftest import query

REGISTRY = "SELECT simulation_id, seed, status, parameters FROM simulations ORDER BY 1"


@pytest.fixture
def experiment(make_shard, tmp_path):
    merge_shards([make_shard("a"), make_shard("b"), make_shard("c")], tmp_path / "exp.db")
    return tmp_path / "exp.db"


def test_a_csv_file_describes_simulations(experiment, tmp_path):
    (tmp_path / "runs.csv").write_text(
        "\ufeffsimulation_id,seed,status,n,lr,flag,code,rate\n"
        "a,7,failed,10,0.5,true,007,\nb,8,,1e3,2,False,x y,0.9\n"
    )
    words = ["describe", str(experiment), "--from", str(tmp_path / "runs.csv")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "2 simulations described, 1 others stay as they are" in result.output
    rows = [(*row, json.loads(text)) for *row, text in query(experiment, REGISTRY)]
    assert rows == [
        ("a", 7, "failed", {"rate": 0.1, "n": 10, "lr": 0.5, "flag": True, "code": "007"}),
        ("b", 8, "completed",
         {"rate": 0.9, "n": 1000.0, "lr": 2.0, "flag": False, "code": "x y"}),
        ("c", None, "completed", {"rate": 0.1}),
    ]  # fmt: skip
    assert audit(experiment).problems == ()


@pytest.mark.parametrize(
    "text",
    [
        '[{"simulation_id": "a", "world": {"size": 3}, "lr": NaN}]',
        '{"a": {"world": {"size": 3}, "lr": NaN}}',
    ],
)
def test_json_describes_them_too(experiment, tmp_path, text):
    (tmp_path / "runs.json").write_text(text)
    describe_simulations(experiment, read_descriptions(tmp_path / "runs.json"))
    ((_, _, _, parameters), *_) = query(experiment, REGISTRY)
    assert json.loads(parameters) == {"rate": 0.1, "world": {"size": 3}, "lr": None}


def test_a_simulation_whose_name_is_a_number_is_found_by_it(make_shard, tmp_path):
    merge_shards([make_shard("1e5"), make_shard("2")], tmp_path / "exp.db")
    (tmp_path / "runs.csv").write_text("simulation_id,n\n1e5,1\n2,2\n")
    descriptions = read_descriptions(tmp_path / "runs.csv")
    assert descriptions == {"1e5": {"n": 1}, "2": {"n": 2}}
    assert describe_simulations(tmp_path / "exp.db", descriptions) == 0


def test_another_column_may_name_them_and_a_dry_run_writes_nothing(experiment, tmp_path):
    (tmp_path / "runs.csv").write_text("run,n\na,1\n")
    before = experiment.read_bytes()
    words = ["describe", str(experiment), "--from", str(tmp_path / "runs.csv"), "--key", "run"]
    assert "would describe a: n=1" in CliRunner().invoke(main, [*words, "-n"]).output
    assert experiment.read_bytes() == before
    assert CliRunner().invoke(main, words).exit_code == 0
    assert json.loads(query(experiment, REGISTRY)[0][3])["n"] == 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("runs.csv", "simulation_id,n\nnobody,1\na,2\n", "has no simulation nobody"),
        ("runs.csv", "name,n\na,1\n", "row 1 has no simulation_id"),
        ("runs.csv", "simulation_id,n\na,1\na,2\n", "two rows of simulation a"),
        ("runs.csv", "simulation_id,n\na,1,2\n", "line 2 has 3 fields, not 2"),
        ("runs.csv", "simulation_id,n,n\na,1,2\n", "two columns of the same name"),
        ("runs.csv", 'simulation_id,n\na,"1\n', "line 2: unexpected end of data"),
        ("runs.json", "[1]", "not a list of objects"),
        ("runs.json", "{", "cannot be read"),
    ],
)
def test_what_cannot_be_joined_is_an_error_and_nothing_is_written(
    experiment, tmp_path, name, text, message
):
    (tmp_path / name).write_text(text)
    before = query(experiment, REGISTRY)
    with pytest.raises(FarmMergeError, match=message):
        describe_simulations(experiment, read_descriptions(tmp_path / name))
    assert query(experiment, REGISTRY) == before
