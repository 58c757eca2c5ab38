"""What is wrong in a sweep file is named with its line, its key, and the nearest right one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm_merge.errors import FarmMergeError
from farm_merge.sweep import load_sweep

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('experiment_id = "a"\nstep = 1\n', "line 2: step: there is no such key; the nearest is steps"),
        ('experiment_id = "a"\nsteps = "1"\n', "line 2: steps: Input should be a valid integer"),
        ('experiment_id = "a"\nsteps = 1\n[gird]\nn = [1]\n', "line 3: gird: there is no such key; the nearest is grid"),
        ('experiment_id = "a"\nsteps = 1\n\n[grid]\n# x\nlearning_rte = [1]\n', "line 6: learning_rte is no parameter of the model; the nearest is learning_rate"),
        ('experiment_id = "a"\nsteps = 1\n[grid]\npopulation = [3, 3]\n', "line 3: grid: population has a value twice"),
        ('experiment_id = "a"\nsteps = 1\n[grid]\npopulation = 3\n', "line 4: grid.population: "),
        ('experiment_id = "a"\n', "steps is missing"),
        ("steps = 1\n", "experiment_id: Field required"),
        ('experiment_id = "a"\n[sample]\nmethod = "sobol"\npoint = 8\n[sample.ranges]\n', "line 4: sample.point: there is no such key; the nearest is points"),
        ('experiment_id = "a"\n[sample]\nmethod = "sobol"\npoints = 8\n[sample.ranges]\nx = { lo = 1 }\n', "line 6: sample.ranges.x.lo: there is no such key; the nearest is low"),
        ('experiment_id = "a"\n[sample]\nmethod = "sobol"\npoints = 8\n[sample.ranges]\nx = { low = 2, high = 1 }\n', "line 6: sample.ranges.x: low and high are both needed, and low is below high"),
        ('experiment_id = "a"\nsteps = = 1\n', "line 2"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text)
    with pytest.raises(FarmMergeError) as refused:
        load_sweep(path)
    assert str(refused.value).startswith(f"{path}: ")
    assert message in str(refused.value)
