"""What the documentation shows of Python runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from farm_merge.merge import merge_shards
from farm_merge.read.export import export_tables

DOCS = Path(__file__).parents[1] / "docs"
SECTIONS = {
    title: re.findall(r"```python\n(.*?)```", body, re.DOTALL)
    for title, body in re.findall(
        r"^## (.*?)\n(.*?)(?=^## |\Z)", (DOCS / "tools.md").read_text(), re.DOTALL | re.MULTILINE
    )
}
NEEDS = {"pandas": "pandas", "DuckDB": "duckdb", "Polars": "polars", "Dask": "dask.dataframe"}


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("tool", NEEDS)
def test_each_tool_reads_the_experiment_and_the_dataset(make_shard, tmp_path, monkeypatch, tool):
    pytest.importorskip(NEEDS[tool])
    merge_shards([make_shard("run_a"), make_shard("run_b")], tmp_path / "exp.db")
    export_tables([tmp_path / "exp.db"], tmp_path / "lake", "parquet")
    monkeypatch.chdir(tmp_path)
    (recipe,) = SECTIONS[tool]
    assert "assert " in recipe
    exec(recipe, {})


def test_what_was_merged_is_read_by_models(make_shard, monkeypatch, tmp_path):
    make_shard("run_1")
    monkeypatch.chdir(tmp_path)
    (recipe,) = [block for block in blocks("reading.md") if "session.query" in block]
    names = {}
    exec(recipe, names)
    assert len(names["states"]) == 15


def test_the_built_in_model_writes_two_shards(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    exec(blocks("models.md")[1].replace("200", "3"), {})
    assert len(merge_shards(["shards"], "exp.db").simulations) == 2


def test_a_model_is_recorded_by_two_calls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(blocks("models.md")[0], {})
    assert merge_shards(["shards"], "exp.db").rows == 200
