"""AgentFarm's runner: a run gets a configuration of it, and leaves a database that is adopted."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from farm_merge.errors import FarmMergeError
from farm_merge.merge import find_inputs
from farm_merge.schema import now
from farm_merge.sweep.adopt import adopt, files_of
from farm_merge.sweep.load import load
from farm_merge.sweep.simulators import FunctionSimulator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from farm_merge.sweep.runs import Run
    from farm_merge.sweep.shards import Jobs

__all__ = ["AGENTFARM", "AgentFarmSimulator"]

AGENTFARM = "agentfarm:"
"""How the name of a function begins that makes AgentFarm's configurations."""

_RUNNER = "farm.core.simulation:run_simulation"


class AgentFarmSimulator(FunctionSimulator):
    """AgentFarm's `run_simulation`, with what a function makes of the parameters and the seed."""

    __slots__ = ()

    prefix = AGENTFARM

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Refuse parameters without `steps`, and what `check_parameters` of the module refuses.

        Raises:
            FarmMergeError: With the name of the parameter.
        """
        if "steps" not in parameters:
            raise FarmMergeError("steps is missing: how many steps every run has")
        super().check(parameters)

    def simulate(self, run: Run, path: Path, jobs: Jobs) -> None:
        """Let AgentFarm simulate into a folder, and make a shard of the database that it leaves."""
        started, files = now(), files_of(path)
        files.mkdir()
        parameters = dict(run.parameters)
        steps = parameters.pop("steps")
        load(_RUNNER, self.folder)(
            num_steps=steps,
            config=self.load()(parameters, run.seed),
            path=str(files),
            seed=run.seed,
            simulation_id=run.simulation_id,
            save_config=False,
        )
        found = find_inputs([files]).files
        if len(found) != 1:
            raise FarmMergeError(f"AgentFarm left {len(found)} databases, and not one", path=files)
        adopt(found[0], path, run, jobs.experiment_id, started)
        shutil.rmtree(files)
