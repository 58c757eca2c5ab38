"""Exports are read back by others: csv, json, pyarrow, DuckDB."""

from __future__ import annotations

import csv
import gzip
import json
import subprocess
import sys

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from farm_merge.cli import main
from farm_merge.errors import FarmMergeError, InvalidOptionError, OutputError, ShardError
from farm_merge.merge import merge_shards
from farm_merge.read.export import export_tables
from farm_merge.read.formats import BATCH_ROWS
from tests.conftest import query

STATES = (
    "SELECT simulation_id, step_number, agent_id, position_x FROM agent_states ORDER BY 1, 2, 3"
)


@pytest.fixture
def experiment(make_shard, tmp_path):
    output = tmp_path / "exp.db"
    merge_shards([make_shard("a"), make_shard("b/2", shift=0.1, file="b.db")], output)
    return output


def test_csv_has_every_value(experiment, tmp_path):
    exported = export_tables([experiment], tmp_path / "out", "csv")
    with (tmp_path / "out/agent_states.csv").open(newline="") as file:
        rows = [(r["simulation_id"], int(r["step_number"]), r["agent_id"], float(r["position_x"]))
                for r in csv.DictReader(file)]  # fmt: skip
    assert sorted(rows) == query(experiment, STATES)
    assert exported.rows["agent_states"] == len(rows)


@pytest.mark.parametrize(("compression", "reader"), [("gz", gzip.open), ("zst", None)])
def test_compressed_text(experiment, tmp_path, compression, reader):
    import zstandard

    export_tables([experiment], tmp_path / "plain", "csv", tables=["agents"])
    export_tables(
        [experiment], tmp_path / "packed", "csv", tables=["agents"], compression=compression
    )
    with (reader or zstandard.open)(tmp_path / f"packed/agents.csv.{compression}", "rb") as file:
        assert file.read() == (tmp_path / "plain/agents.csv").read_bytes()


def test_json_and_json_lines(experiment, tmp_path):
    query(experiment, "UPDATE agents SET position_x = 9e999, agent_type = x'00ff'")
    export_tables([experiment], tmp_path / "json", "json")
    export_tables([experiment], tmp_path / "lines", "jsonl")
    rows = json.loads((tmp_path / "json/agents.json").read_text())
    lines = (tmp_path / "lines/agents.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert rows[0]["position_x"] == float("inf")
    assert rows[0]["agent_type"] == "00ff"
    assert rows[0]["death_time"] is None
    empty = export_tables(
        [experiment], tmp_path / "none", "json", simulations=[], tables=["agents"]
    )
    assert empty.rows == {"agents": 0}
    assert json.loads((tmp_path / "none/agents.json").read_text()) == []


def test_parquet_is_a_hive_dataset_for_duckdb_and_pyarrow(experiment, tmp_path):
    export_tables([experiment], tmp_path / "out", "parquet", jobs=2)
    sql = f"FROM read_parquet('{tmp_path}/out/agent_states/*/*.parquet', hive_partitioning=true)"
    columns = "simulation_id, step_number, agent_id, position_x"
    found = duckdb.sql(f"SELECT {columns} {sql} ORDER BY 1, 2, 3").fetchall()
    assert found == query(experiment, STATES)
    dataset = ds.dataset(tmp_path / "out/agent_states", partitioning="hive")
    table = dataset.to_table()
    assert set(table["simulation_id"].to_pylist()) == {"a", "b/2"}
    assert table.schema.field("position_x").type == pa.float64()
    assert table.schema.field("is_defending").type == pa.bool_()
    assert table.schema.field("starvation_counter").type == pa.int64()  # though all are NULL
    simulations = ds.dataset(tmp_path / "out/simulations").to_table()
    assert simulations.schema.field("start_time").type == pa.timestamp("us")


def test_parquet_straight_from_shards_is_the_same(experiment, tmp_path):
    shards = sorted((tmp_path / "shards").iterdir())
    export_tables(shards, tmp_path / "direct", "parquet")
    export_tables([experiment], tmp_path / "merged", "parquet")
    for table in ("agent_states", "agents", "simulation_steps"):
        direct, merged = (
            ds.dataset(tmp_path / kind / table, partitioning="hive").to_table().to_pylist()
            for kind in ("direct", "merged")
        )
        assert direct == merged


ON_A_CLUSTER = """
import sys
from click.testing import CliRunner
from distributed import Client, LocalCluster
from farm_merge.cli import main

if __name__ == "__main__":
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=":0"
    ) as cluster, Client(cluster) as client:
        result = CliRunner().invoke(main, [*sys.argv[1:], "--scheduler", cluster.scheduler_address])
        assert client.status == "running"
    assert result.exit_code == 0, result.output
"""


def test_a_dask_cluster_does_the_same(experiment, tmp_path):
    # In a process of its own: Dask leaves threads behind, and a merge beside them cannot fork.
    (tmp_path / "on_a_cluster.py").write_text(ON_A_CLUSTER)
    words = ["export", experiment, "-o", tmp_path / "out", "--format", "parquet"]
    command = [sys.executable, tmp_path / "on_a_cluster.py", *words]
    subprocess.run(list(map(str, command)), check=True)
    assert ds.dataset(tmp_path / "out/agents", partitioning="hive").count_rows() == len(
        query(experiment, "SELECT * FROM agents")
    )


def test_selections(experiment, tmp_path):
    result = CliRunner().invoke(
        main,
        ["export", str(experiment), "-o", str(tmp_path / "out"), "--table", "simulation_steps",
         "--simulation", "a", "--steps", "1:3"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    with (tmp_path / "out/simulation_steps.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["simulation_id"], r["step_number"]) for r in rows] == [("a", "1"), ("a", "2")]


def test_a_value_of_another_type_is_named(experiment, tmp_path):
    query(experiment, "UPDATE agents SET birth_time = 'spring' WHERE simulation_id = 'a'")
    with pytest.raises(
        FarmMergeError,
        match=r"exp\.db: table agents: column birth_time: .*; export it as text: as_text=",
    ):
        export_tables([experiment], tmp_path / "out", "parquet")
    assert not (tmp_path / "out").exists()
    export_tables([experiment], tmp_path / "out", "parquet", as_text=["agents.birth_time"])
    table = ds.dataset(tmp_path / "out/agents", partitioning="hive").to_table()
    assert set(table["birth_time"].to_pylist()) == {"spring", "0"}
    with pytest.raises(FarmMergeError, match=r"no exported column agents\.age"):
        export_tables([experiment], tmp_path / "none", "parquet", as_text=["agents.age"])
    export_tables([experiment], tmp_path / "csv", "csv")


def test_a_fraction_in_a_column_of_whole_numbers_is_not_cut_off(experiment, tmp_path):
    query(experiment, "UPDATE agents SET generation = 1.5 WHERE agent_id = 'agent_1'")
    with pytest.raises(FarmMergeError, match=r"column generation: .*int64 in Parquet \(.*1\.5"):
        export_tables([experiment], tmp_path / "out", "parquet", tables="agents")
    export_tables(
        [experiment], tmp_path / "out", "parquet", tables="agents", as_text=["agents.generation"]
    )
    table = ds.dataset(tmp_path / "out/agents", partitioning="hive").to_table()
    assert "1.5" in table["generation"].to_pylist()


def test_rows_of_many_batches_keep_their_order(experiment, tmp_path):
    rows = 2 * BATCH_ROWS + 1
    query(
        experiment,
        "WITH RECURSIVE n (i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n LIMIT"
        f" {rows}) INSERT INTO resource_states (simulation_id, id, resource_id, amount)"
        " SELECT 'a', i, iif(i % 7, 'r', 'r, s'), iif(i % 5, i / 3.0, NULL) FROM n",
    )
    asked = (
        "SELECT id, resource_id, amount FROM resource_states WHERE simulation_id = 'a' ORDER BY id"
    )
    right = query(experiment, asked)
    assert len(right) >= rows
    export_tables([experiment], tmp_path / "out", "parquet", tables="resource_states")
    path = tmp_path / "out/resource_states/simulation_id=a/part-0.parquet"
    found = pq.read_table(path, columns=["id", "resource_id", "amount"])
    assert [tuple(row.values()) for row in found.to_pylist()] == right
    export_tables([experiment], tmp_path / "text", "csv", tables="resource_states", simulations="a")
    with (tmp_path / "text/resource_states.csv").open(newline="") as file:
        assert [
            (int(row["id"]), row["resource_id"], float(row["amount"]) if row["amount"] else None)
            for row in csv.DictReader(file)
        ] == right


@pytest.mark.parametrize(
    ("options", "choices"),
    [
        ({"format": "xml"}, "format is 'xml'; it takes one of 'csv', 'json', 'jsonl', 'parquet'"),
        ({"compression": "zip"}, "compression is 'zip'; it takes one of 'none', 'gz', 'zst'"),
        ({"jobs": 0}, "jobs is 0; it takes a number from 1"),
    ],
)
def test_a_wrong_option_is_refused_with_the_choices(experiment, tmp_path, options, choices):
    with pytest.raises(InvalidOptionError, match=choices):
        export_tables([experiment], tmp_path / "out", **{"format": "csv", **options})
    assert not (tmp_path / "out").exists()


def test_a_name_is_one_name_and_not_its_letters(experiment, tmp_path):
    exported = export_tables(
        [experiment], tmp_path / "out", "csv", tables="agents", simulations="a"
    )
    assert exported.rows == {"agents": 3}


def test_what_cannot_be_exported_is_an_error(experiment, tmp_path, make_shard):
    with pytest.raises(FarmMergeError, match="there is no table agent; the nearest is agents"):
        export_tables([experiment], tmp_path / "out", "csv", tables=["agent"])
    with pytest.raises(FarmMergeError, match="there is no simulation z"):
        export_tables([experiment], tmp_path / "out", "csv", simulations=["z"])
    with pytest.raises(ShardError, match="has simulation a, and so has"):
        export_tables([experiment, tmp_path / "shards/a.db"], tmp_path / "out", "csv")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("")
    with pytest.raises(OutputError, match="not empty"):
        export_tables([experiment], tmp_path / "full", "csv")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["csv", "json", "jsonl", "parquet"])
def test_a_tables_name_never_leaves_the_folder(tmp_path, form):
    names = ["../evil", "..", ".", "a/b", "a\\b:c", "x=y", "ä" * 150, " "]
    for name in names:
        query(tmp_path / "run.db", f'CREATE TABLE "{name}" (id INTEGER PRIMARY KEY, v REAL)')
        query(tmp_path / "run.db", f'INSERT INTO "{name}" VALUES (1, 2)')
    merge_shards([tmp_path / "run.db"], tmp_path / "exp.db")
    before = set(tmp_path.rglob("*"))
    exported = export_tables([tmp_path / "exp.db"], tmp_path / "out" / form, form)
    new = [path for path in set(tmp_path.rglob("*")) - before if path.is_file()]
    assert len(new) == exported.files == len(names) + 3
    assert {path.relative_to(tmp_path).parts[:2] for path in new} == {("out", form)}
    assert {exported.rows[name] for name in names} == {1}


def test_a_simulation_that_no_folder_can_be_called_is_named(make_shard, tmp_path):
    shard = make_shard("ä" * 100, file="run.db")
    with pytest.raises(FarmMergeError, match="too long for the name of a folder"):
        export_tables([shard], tmp_path / "out", "parquet")
    assert not (tmp_path / "out").exists()


def test_an_empty_text_and_null_differ_in_csv_where_null_has_a_word(experiment, tmp_path):
    query(experiment, "UPDATE agents SET genome_id = '', agent_type = NULL, position_y = x'00ff'")
    export_tables([experiment], tmp_path / "out", "csv", tables="agents", null="\\N")
    with (tmp_path / "out/agents.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(r["genome_id"], r["agent_type"], r["position_y"]) for r in rows} == {
        ("", "\\N", "00ff")
    }
    words = ["export", str(experiment), "-o", str(tmp_path / "no"), "--null", "agent_1"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "column agent_id: a text is 'agent_1', as NULL would be" in result.output
    assert not (tmp_path / "no").exists()
