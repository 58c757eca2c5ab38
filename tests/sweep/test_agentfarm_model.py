"""AgentFarm's runner in a sweep: a stand-in with its interface, writing as AgentFarm does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from farm_merge.errors import FarmMergeError
from farm_merge.sweep import load_sweep, run_sweep
from tests.conftest import query
from tests.sweep.small import hidden

if TYPE_CHECKING:
    from pathlib import Path

RUNNER = """
from pathlib import Path
from types import SimpleNamespace

from farm_merge.agentfarm import setup_db

def run_simulation(
    num_steps, config, path=None, save_config=True, seed=None, simulation_id=None,
    identity_service=None, disable_console_logging=False, on_environment_ready=None,
    on_step_end=None, on_simulation_end=None,
):
    if seed is not None:
        config.seed = seed
    if config.learning.learning_rate == 0.5:
        raise ValueError("no learning")
    db = setup_db(str(Path(path) / "simulation.db"), simulation_id, {"seed": config.seed})
    for step in range(num_steps + 1):
        db.logger.log_step(step, [], [], {"total_agents": config.seed % 100 + step})
    if save_config:
        (Path(path) / "config.yaml").write_text("seed: 1")
    db.update_simulation_status("completed")
    db.close()
    db.close()
    return SimpleNamespace(db=db)
"""

CONFIGURE = """
from types import SimpleNamespace

def configure(parameters, seed):
    return SimpleNamespace(seed=seed, learning=SimpleNamespace(**parameters))
"""

SWEEP = """
experiment_id = "farm"
simulation = "agentfarm:my_farm:configure"
steps = 3
[grid]
learning_rate = [0.001, 0.01]
"""


@pytest.fixture
def sweep_file(tmp_path: Path) -> Path:
    package = tmp_path / "farm" / "core"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "simulation.py").write_text(RUNNER)
    (tmp_path / "my_farm.py").write_text(CONFIGURE)
    path = tmp_path / "farm.toml"
    path.write_text(SWEEP)
    return path


def test_agentfarm_s_runner_is_swept_by_a_function_that_makes_its_configurations(
    tmp_path: Path, sweep_file: Path
) -> None:
    output = tmp_path / "exp.db"
    report = run_sweep(load_sweep(sweep_file), tmp_path / "s", output, jobs=1)
    assert (len(report.completed), report.failed) == (2, ())
    found = query(output, "SELECT simulation_id, status, seed, parameters FROM simulations")
    for simulation_id, status, seed, parameters in found:
        assert status == "completed"
        assert json.loads(parameters)["steps"] == 3
        steps = query(
            output,
            "SELECT total_agents FROM simulation_steps WHERE simulation_id = ? ORDER BY step_number",
            simulation_id,
        )
        assert steps == [(seed % 100 + step,) for step in range(4)]
    assert hidden(tmp_path / "s") == []


def test_what_agentfarm_raises_is_a_failure(tmp_path: Path, sweep_file: Path) -> None:
    sweep_file.write_text(SWEEP.replace("0.01]", "0.5]"))
    report = run_sweep(load_sweep(sweep_file), tmp_path / "s", tmp_path / "exp.db", jobs=1)
    assert [failure.reason for failure in report.failed] == ["ValueError: no learning"]
    assert hidden(tmp_path / "s") == []


def test_steps_are_needed(sweep_file: Path) -> None:
    sweep_file.write_text(SWEEP.replace("steps = 3", ""))
    with pytest.raises(FarmMergeError, match="steps is missing"):
        load_sweep(sweep_file)
