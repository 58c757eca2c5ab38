"""Simulators: what a run is simulated by; here, a function.

The built-in model is a function like any other. Simulators are values that can be sent to any
process: what they load, they load where they run.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from farm_merge.config import DatabaseConfig
from farm_merge.database import InMemorySimulationDatabase, SimulationDatabase
from farm_merge.sweep.load import load, source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from farm_merge.sweep.runs import Run
    from farm_merge.sweep.shards import Jobs

__all__ = ["BUILT_IN", "FunctionSimulator", "LoadedSimulator", "Simulator"]

BUILT_IN = "farm_merge.sweep.builtin:simulate"
"""The simulation of a sweep that names none."""

_UNPUBLISHED = DatabaseConfig(journal_mode="MEMORY", synchronous="OFF")
"""How a shard is written that nobody sees before it is complete, and then synced once."""


class Simulator(Protocol):
    """What a run is simulated by."""

    @property
    def kind(self) -> str:
        """The key of the sweep file that names it."""

    @property
    def label(self) -> str:
        """How the sweep file calls it."""

    @property
    def folder(self) -> str:
        """Where what it names is looked for."""

    def prepare(self) -> None:
        """Load what every run needs.

        Raises:
            FarmMergeError: If it is not there.
        """

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Refuse parameters that cannot be simulated.

        Raises:
            FarmMergeError: With the name of the parameter.
        """

    def source(self) -> str:
        """Return a digest of the code, as far as it can be seen; another code, another digest."""

    def simulate(self, run: Run, path: Path, jobs: Jobs) -> None:
        """Simulate a run into a new shard.

        Args:
            run: What to simulate.
            path: Where the shard is made.
            jobs: What all runs have in common: the experiment, and how shards are written.
        """


@dataclass(frozen=True, slots=True)
class LoadedSimulator:
    """Something in a module that simulates.

    Attributes:
        label: "package.module:name", after the prefix of its kind.
        folder: Where modules are looked for first.
    """

    label: str
    folder: str

    prefix: ClassVar[str] = ""

    @property
    def kind(self) -> str:
        """The key of the sweep file that names it."""
        return "simulation"

    def load(self) -> Callable[..., Any]:
        """Return what simulates.

        Raises:
            FarmMergeError: If it is not there.
        """
        return load(self.label.removeprefix(self.prefix), self.folder)

    def prepare(self) -> None:
        """Import what simulates.

        Raises:
            FarmMergeError: If it is not there.
        """
        self.load()

    def source(self) -> str:
        """Return a digest of the file that it is in."""
        return source_of(self.load())


class FunctionSimulator(LoadedSimulator):
    """A function that is called with a database, the parameters and the seed."""

    __slots__ = ()

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Let `check_parameters` of the function's module refuse parameters, if it has that.

        Raises:
            FarmMergeError: With the name of the parameter.
        """
        module = sys.modules[self.load().__module__]
        check = getattr(module, "check_parameters", None)
        if check is not None:
            check(parameters)

    def simulate(self, run: Run, path: Path, jobs: Jobs) -> None:
        """Call the function with an open shard, or with a database in memory that becomes one."""
        function = self.load()
        about: dict[str, Any] = {
            "simulation_id": run.simulation_id,
            "experiment_id": jobs.experiment_id,
            "parameters": run.record,
            "seed": run.seed,
        }
        if not jobs.in_memory:
            settings = DatabaseConfig() if jobs.keep_partial else _UNPUBLISHED
            with SimulationDatabase(path, settings=settings, **about) as database:
                function(database, dict(run.parameters), run.seed)
            return
        limit = jobs.memory_limit_mb
        with InMemorySimulationDatabase(limit, spill_to=path, **about) as memory:
            try:
                function(memory, dict(run.parameters), run.seed)
            except BaseException:
                if jobs.keep_partial:
                    memory.spill()
                raise
            memory.spill()
