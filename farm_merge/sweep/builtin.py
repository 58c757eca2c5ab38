"""The built-in model as a sweep's simulation: a function like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm_merge.config import SimulationConfig
from farm_merge.errors import FarmMergeError
from farm_merge.nearest import with_nearest
from farm_merge.simulation import run_simulation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from farm_merge.database import SimulationWriter

__all__ = ["check_parameters", "simulate"]

_NAMES = ("population", "steps", *SimulationConfig.model_fields)


def simulate(db: SimulationWriter, parameters: Mapping[str, Any], seed: int) -> None:
    """Simulate the built-in model, and log it.

    Args:
        db: The database of the run.
        parameters: `steps`, `population`, and fields of `SimulationConfig`.
        seed: Of its random numbers.
    """
    run_simulation(parameters["steps"], _config(parameters, seed), db)


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse parameters that the model does not have, or cannot have.

    Raises:
        FarmMergeError: With the name, and the nearest that there is.
    """
    for name in parameters:
        if name not in _NAMES:
            raise FarmMergeError(with_nearest(f"{name} is no parameter of the model", name, _NAMES))
    if "steps" not in parameters:
        raise FarmMergeError("steps is missing: how many steps every run has")
    _config(parameters, seed=0)


def _config(parameters: Mapping[str, Any], seed: int) -> SimulationConfig:
    values = {name: value for name, value in parameters.items() if name != "steps"}
    return SimulationConfig.from_centralized_config(**values, seed=seed)
