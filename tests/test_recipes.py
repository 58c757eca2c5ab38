"""What the documentation shows of Python runs as it stands there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from farm_merge import ExperimentDatabase
from farm_merge.merge import merge_shards
from farm_merge.read.export import export_tables
from farm_merge.sweep import load_sweep, run_sweep
from tests.conftest import query
from tests.sweep.small import threads

DOCS = Path(__file__).parents[1] / "docs"
SECTIONS = {
    title: re.findall(r"```python\n(.*?)```", body, re.DOTALL)
    for title, body in re.findall(
        r"^## (.*?)\n(.*?)(?=^## |\Z)", (DOCS / "tools.md").read_text(), re.DOTALL | re.MULTILINE
    )
}
NEEDS = {"pandas": "pandas", "DuckDB": "duckdb", "Polars": "polars", "Dask": "dask.dataframe"}


def blocks(page, language="python"):
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def block(page, words, language="python"):
    """Return the one block of a page in which some words are."""
    (found,) = [text for text in blocks(page, language) if words in text]
    return found


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
    names = {}
    exec(block("reading.md", "session.query"), names)
    assert len(names["states"]) == 15


def test_the_built_in_model_writes_two_shards(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    exec(blocks("models.md")[1].replace("200", "3"), {})
    assert len(merge_shards(["shards"], "exp.db").simulations) == 2


def test_a_model_is_recorded_by_two_calls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(blocks("models.md")[0], {})
    assert merge_shards(["shards"], "exp.db").rows == 200


def test_the_readme_records_a_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(block("../README.md", "SimulationDatabase"), {})
    assert merge_shards(["shards"], "exp.db").rows == 100


def test_simulations_are_compared_and_read_as_frames(make_shard, tmp_path, monkeypatch):
    merge_shards([make_shard("lr0.1_pop10_r1"), make_shard("other")], tmp_path / "exp.db")
    query(tmp_path / "exp.db", """UPDATE simulations SET parameters = '{"learning_rate": 0.1}'""")
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(block("reading.md", "group_repetitions"), names)
    assert names["grouped"]["n"].max() == 2
    assert names["states"].empty  # they have five steps


def test_the_dataset_is_read_by_duckdb(make_shard, tmp_path, monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    merge_shards([make_shard("run_a")], tmp_path / "exp.db")
    export_tables([tmp_path / "exp.db"], tmp_path / "lake", "parquet")
    monkeypatch.chdir(tmp_path)
    recipe = block("reading.md", "import duckdb").replace("duckdb.sql", "found = duckdb.sql", 1)
    names = {"duckdb": duckdb}
    exec(recipe, names)
    assert [simulation_id for simulation_id, _ in names["found"].fetchall()] == ["run_a"]


def test_an_experiment_is_a_database_of_sqlite_utils(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with ExperimentDatabase("exp.db", "exp") as experiment:
        experiment.create_simulation_context("sim_1", {})
    exec(block("agentfarm.md", "experiment.db.query"), {"ExperimentDatabase": ExperimentDatabase})
    assert capsys.readouterr().out == "running 1\n"
    assert query(tmp_path / "exp.db", "SELECT text FROM notes") == [("look at step 40",)]


def test_mesa_is_recorded_in_the_ways_that_are_shown(tmp_path, monkeypatch):
    pytest.importorskip("mesa")
    from tests.mesa.models import Walkers

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "my_model", SimpleNamespace(MyModel=Walkers))
    names = {"__name__": "__main__"}
    exec(block("mesa.md", "import record"), names)
    exec(block("mesa.md", "Recorder").replace("100_000", "300"), names)
    assert len(merge_shards(["shards"], "runs.db").simulations) == 2
    batch = block("mesa.md", "batch_run").replace("range(10, 100, 10)", "[10, 20]")
    exec(batch.replace("number_processes=None", "number_processes=1"), names)
    assert query(tmp_path / "exp.db", "SELECT count(*) FROM simulations") == [(10,)]


def test_sweep_files_are_read_as_they_are_shown(tmp_path):
    pytest.importorskip("scipy")
    (tmp_path / "points.csv").write_text("width\n100\n")
    head = 'experiment_id = "e"\nsteps = 1\n'
    for text, number in (
        (block("sweep.md", "attack_by_population", "toml"), 12),
        (
            head + block("sweep.md", "[sample.ranges]", "toml").replace("\nwidth =", "\nheight ="),
            256,
        ),
    ):
        (tmp_path / "sweep.toml").write_text(text)
        assert len(load_sweep(tmp_path / "sweep.toml").runs()) == number


def test_a_sweep_is_run_from_python(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "SWEEP.toml").write_text(
        'experiment_id = "e"\nsteps = 2\nconfig.population = 6\ngrid.learning_rate = [0.1, 1.0]\n'
    )
    script = block("sweep.md", "for failure in report.failed").replace("jobs=4", "jobs=1")
    exec(script, {"__name__": "__main__"})
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_function_is_swept(tmp_path, monkeypatch):
    (tmp_path / "shown.py").write_text(block("sweep.md", "def function"))
    monkeypatch.syspath_prepend(tmp_path)
    head = 'experiment_id = "e"\nsteps = 3\nrepetitions = 2\n'
    named = block("sweep.md", '"package.module:function"', "toml").replace(
        "package.module", "shown"
    )
    (tmp_path / "SWEEP.toml").write_text(head + named)
    with threads() as executor:
        sweep = load_sweep(tmp_path / "SWEEP.toml")
        report = run_sweep(sweep, tmp_path / "s", tmp_path / "exp.db", executor=executor)
    assert report.merge.rows >= 6
