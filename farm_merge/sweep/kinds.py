"""Kinds: which simulator a key of the sweep file names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from farm_merge.sweep.agentfarm_model import AGENTFARM, AgentFarmSimulator
from farm_merge.sweep.command import CommandSimulator
from farm_merge.sweep.mesa_model import MESA, MesaSimulator
from farm_merge.sweep.simulators import FunctionSimulator

if TYPE_CHECKING:
    from farm_merge.sweep.simulators import Simulator

__all__ = ["simulator_of"]


def simulator_of(kind: Literal["simulation", "command"], label: str, folder: str) -> Simulator:
    """Return what simulates runs.

    Args:
        kind: The key of the sweep file.
        label: Its value.
        folder: That of the sweep file.
    """
    if kind == "command":
        return CommandSimulator(label, folder)
    if label.startswith(AGENTFARM):
        return AgentFarmSimulator(label, folder)
    if label.startswith(MESA):
        return MesaSimulator(label, folder)
    return FunctionSimulator(label, folder)
