"""Mesa's models: each run makes one, steps it to its end, and records what it collects."""

from __future__ import annotations

import inspect
from importlib import import_module
from typing import TYPE_CHECKING, Any

from farm_merge.errors import FarmMergeError
from farm_merge.nearest import with_nearest
from farm_merge.sweep.simulators import LoadedSimulator

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from farm_merge.sweep.runs import Run
    from farm_merge.sweep.shards import Jobs

__all__ = ["MESA", "MesaSimulator"]

MESA = "mesa:"
"""How the name of one of Mesa's models begins."""

_SEEDS = ("seed", "rng")


class MesaSimulator(LoadedSimulator):
    """A model of Mesa's, recorded while it runs: "mesa:package.module:Model"."""

    __slots__ = ()

    prefix = MESA

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Refuse parameters that the model's `__init__` does not take, or lacks.

        Raises:
            FarmMergeError: With the name of the parameter.
        """
        if "steps" not in parameters:
            raise FarmMergeError("steps is missing: when a run ends that has not stopped")
        known = inspect.signature(self.load()).parameters
        takes_any = any(it.kind is it.VAR_KEYWORD for it in known.values())
        for name in parameters:
            if name != "steps" and name not in known and not takes_any:
                reason = f"{name} is no parameter of {self.label}"
                raise FarmMergeError(with_nearest(reason, name, known))
        for name, parameter in known.items():
            is_needed = parameter.default is parameter.empty and parameter.kind in {
                parameter.POSITIONAL_OR_KEYWORD,
                parameter.KEYWORD_ONLY,
            }
            if is_needed and name not in {*parameters, *_SEEDS}:
                raise FarmMergeError(f"{name} is missing: {self.label} needs it")

    def simulate(self, run: Run, path: Path, jobs: Jobs) -> None:
        """Step a model until it stops, or as often as `steps`, and record it."""
        model_class = self.load()
        arguments = {name: value for name, value in run.parameters.items() if name != "steps"}
        seed = "seed" if "seed" in inspect.signature(model_class).parameters else "rng"
        model = model_class(**arguments, **{seed: run.seed})
        # A layer above this one: it is loaded where a sweep names it, as any model is.
        recorder = import_module("farm_merge.mesa").Recorder(
            model,
            path,
            parameters=run.record,
            seed=run.seed,
            simulation_id=run.simulation_id,
            experiment_id=jobs.experiment_id,
        )
        with recorder:
            while model.running and model.steps < run.parameters["steps"]:
                model.step()
        import_module("farm_merge.mesa.collected").forget_model(model)
