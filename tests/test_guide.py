"""What AgentFarm's guide to centralized storage promises works, imports aside."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pandas as pd
import pytest

from farm_merge import models
from farm_merge.config import SimulationConfig
from farm_merge.database import InMemorySimulationDatabase, SimulationDatabase
from farm_merge.experiment_database import ExperimentDatabase
from farm_merge.models import AgentStateModel, SimulationStepModel
from tests.conftest import query
from tests.logged import RESOURCE, STATE

METRICS = {"total_agents": 1, "total_resources": 2.5}
STEP = {
    "agent_states": [STATE],
    "resource_states": [RESOURCE],
    "metrics": METRICS,
}


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return SimulationConfig.from_centralized_config()


def test_the_quick_start_stores_many_simulations_in_one_file(config):
    experiment_db = ExperimentDatabase(
        db_path="experiments/my_experiment.db", experiment_id="exp_001", config=config
    )
    for number in range(10):
        sim_id = f"sim_{number:03d}"
        context = experiment_db.create_simulation_context(
            simulation_id=sim_id, parameters={"run": number, "seed": number * 100}
        )
        context.logger.log_step(step_number=0, **STEP)
        context.flush_all_buffers()
        experiment_db.update_simulation_status(
            simulation_id=sim_id, status="completed", results_summary={"final_agents": 100}
        )
    experiment_db.close()
    path = Path("experiments/my_experiment.db")
    assert query(path, "SELECT count(*), sum(seed) FROM simulations") == [(10, 4500)]
    assert query(path, "SELECT count(*) FROM agent_states") == [(10,)]


def test_both_of_the_guides_queries_work(config):
    with ExperimentDatabase("exp.db", "exp_001", config) as experiment_db:
        for name in ("sim_001", "sim_002"):
            context = experiment_db.create_simulation_context(name)
            for step in range(3):
                context.logger.log_step(step, [STATE], [RESOURCE], {**METRICS, "births": step})
        session = experiment_db.Session()
        states = (
            session.query(AgentStateModel).filter(AgentStateModel.simulation_id == "sim_001").all()
        )
        assert [state.step_number for state in states] == [0, 1, 2]
        results = []
        for sim_id in experiment_db.get_simulation_ids():
            final_step = (
                session.query(SimulationStepModel)
                .filter(SimulationStepModel.simulation_id == sim_id)
                .order_by(SimulationStepModel.step_number.desc())
                .first()
            )
            results.append({"simulation_id": sim_id, "final_births": final_step.births})
        session.close()
    assert pd.DataFrame(results)["final_births"].describe()["mean"] == 2


def test_a_context_has_the_interface_of_a_simulation_database(config):
    with ExperimentDatabase("exp.db", "exp_001", config) as experiment_db:
        context = experiment_db.create_simulation_context("a")
        database = SimulationDatabase("a.db")
        memory = InMemorySimulationDatabase(memory_limit_mb=1000, config=config)
        public = {name for name in dir(database) if not name.startswith("_")} - {"db_path"}
        assert public <= set(dir(context))
        assert public <= set(dir(memory))
        database.close()
        memory.close()


GUIDE = os.environ.get("FARM_MERGE_GUIDE")


@pytest.mark.skipif(not GUIDE, reason="FARM_MERGE_GUIDE does not name the guide's file")
def test_every_code_block_of_the_guide_runs(config, capsys):
    text = Path(GUIDE).read_text(encoding="utf-8", errors="replace")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    names = {
        "config": config,
        "num_steps": 5,
        "run_id": "77",
        "__name__": "__main__",
        "SimulationStepModel": models.SimulationStepModel,
        **STEP,
    }
    for block in blocks:
        exec(compile(_ours(block), "guide", "exec"), names)  # the guide's own code is the test
    names["experiment_db"].close()
    assert len(blocks) == 10
    assert "Experiment complete!" in capsys.readouterr().out
    sweep = "SELECT count(*) FROM simulations WHERE status = 'completed'"
    assert query(Path("experiments/param_sweep_001.db"), sweep) == [(12,)]


def _ours(block: str) -> str:
    """Map the imports, and put arguments where the guide only indicates them."""
    block = block.replace("from farm.database.", "from farm_merge.")
    block = block.replace("from farm.config", "from farm_merge.config")
    block = block.replace("from farm.core.simulation", "from farm_merge.simulation")
    block = block.replace("log_step(...)", "log_step(0, agent_states, resource_states, metrics)")
    return block.replace(
        "# Pass sim_context to your simulation",
        "from farm_merge.simulation import run_simulation\n"
        "run_simulation(num_steps, config, db=sim_context)",
    )
