"""A simulation that is run again gives the same, or the difference is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm_merge.errors import FarmMergeError
from farm_merge.merge import merge_shards
from farm_merge.sweep import load_sweep, rerun_simulation, run_sweep
from tests.conftest import query
from tests.sweep.small import sweep, threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_simulation_of_the_built_in_model_is_made_again(tmp_path: Path) -> None:
    output = tmp_path / "exp.db"
    with threads() as executor:
        run_sweep(sweep(), tmp_path / "s", output, executor=executor)
    again = rerun_simulation(output, "lr0.1_r2")
    assert (again.is_same, again.differing, again.notes) == (True, (), ())
    query(output, "UPDATE agent_states SET age = 99 WHERE simulation_id = 'lr0.1_r2'")
    assert rerun_simulation(output, "lr0.1_r2").differing == ("agent_states",)


def test_a_program_is_run_again_and_what_changed_is_named(tmp_path: Path) -> None:
    script, path = tmp_path / "model.sh", tmp_path / "a.toml"
    script.write_text('printf "tick,value\\n1,$1\\n" > "$2/ticks.csv"\n')
    path.write_text('experiment_id = "a"\ncommand = "sh model.sh {n} {folder}"\ngrid.n = [1, 2]\n')
    with threads() as executor:
        run_sweep(load_sweep(path), tmp_path / "s", tmp_path / "exp.db", executor=executor)
    assert rerun_simulation(tmp_path / "exp.db", "n2_r1", folder=tmp_path).is_same
    script.write_text('printf "tick,value\\n1,3\\n" > "$2/ticks.csv"\n')
    again = rerun_simulation(tmp_path / "exp.db", "n2_r1", folder=tmp_path)
    assert again.differing == ("ticks",)
    assert [note.partition(" was ")[0] for note in again.notes] == ["source"]


def test_what_no_sweep_made_cannot_be_made_again(
    tmp_path: Path, make_shard: Callable[..., Path]
) -> None:
    merge_shards([make_shard("a")], tmp_path / "exp.db")
    with pytest.raises(FarmMergeError, match="not made by a sweep"):
        rerun_simulation(tmp_path / "exp.db", "a")
    with pytest.raises(FarmMergeError, match="no simulation b"):
        rerun_simulation(tmp_path / "exp.db", "b")
