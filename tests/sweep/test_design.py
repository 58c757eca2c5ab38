"""The design of a sweep: its runs, their names and seeds, and what cannot be run."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from farm_merge.errors import FarmMergeError
from farm_merge.sweep import load_sweep
from tests.sweep.small import sweep

DEFAULT = Path(str(files("farm_merge").joinpath("default_sweep.toml")))


def test_the_shipped_sweep_is_that_of_the_guide() -> None:
    runs = load_sweep(DEFAULT).runs()
    assert len(runs) == len({run.simulation_id for run in runs}) == 24
    assert len({run.seed for run in runs}) == 24
    assert runs[0].simulation_id == "lr0.01_pop10_r1"
    assert {run.parameters["population"] for run in runs} == {10, 50, 100}
    assert {run.parameters["learning_rate"] for run in runs} == {0.01, 0.1, 0.5, 1.0}


def test_a_grid_that_grows_keeps_the_runs_it_has() -> None:
    before = sweep().runs()
    after = sweep(grid={"learning_rate": [0.01, 0.1, 1.0]}, repetitions=3).runs()
    assert set(map(repr, before)) < set(map(repr, after))


def test_another_root_seed_gives_other_seeds() -> None:
    assert not {r.seed for r in sweep().runs()} & {r.seed for r in sweep(seed=2).runs()}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"color": "red"}, "color"),
        ({"steps": 0}, "steps"),
        ({"steps": "5"}, "steps"),
        ({"grid": {"lerning_rate": [0.1]}}, "lerning_rate"),
        ({"grid": {"learning_rate": [-1.0]}}, "learning_rate"),
        ({"grid": {"learning_rate": []}}, "learning_rate"),
        ({"grid": {"learning_rate": [0.1, 0.1]}}, "twice"),
        ({"grid": {"population": [1]}}, "leave one"),
        ({"grid": {"seed": [1, 2]}}, "root `seed`"),
        ({"repetitions": 30_000_000}, "60,000,000 runs"),
    ],
)
def test_what_cannot_be_run_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        sweep(**changes)


@pytest.mark.parametrize(
    "text", ["steps = ", "steps = 1", 'experiment_id = "a"\nsteps = 1\nx = 1', "\xff"]
)
def test_a_file_that_is_no_sweep_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(FarmMergeError, match=r"my\.toml: "):
        load_sweep(path)
