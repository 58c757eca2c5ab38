"""Simulators: what a run is simulated by, a function or a command line.

The built-in model is a function like any other. Simulators are values that can be sent to any
process: what they load, they load where they run.
"""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from farm_merge.config import DatabaseConfig
from farm_merge.database import SimulationDatabase
from farm_merge.errors import FarmMergeError
from farm_merge.sweep.nearest import with_nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

    from farm_merge.sweep.runs import Run

__all__ = ["BUILT_IN", "FunctionSimulator", "Simulator", "digest_of"]

BUILT_IN = "farm_merge.sweep.builtin:simulate"
"""The simulation of a sweep that names none."""

_UNPUBLISHED = DatabaseConfig(journal_mode="MEMORY", synchronous="OFF")
"""How a shard is written that nobody sees before it is complete, and then synced once."""

_ADAPTERS = {"mesa": ("farm_merge.mesa", "simulation_of")}
"""By the first word of `"mesa:package.module:Model"`, what makes a function of the rest."""


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

    def simulate(self, run: Run, experiment_id: str, path: Path, *, safely: bool) -> None:
        """Simulate a run into a new shard.

        Args:
            run: What to simulate.
            experiment_id: What it belongs to.
            path: Where the shard is made.
            safely: Whether what is committed survives a kill.
        """


@dataclass(frozen=True, slots=True)
class FunctionSimulator:
    """A function that is called with a database, the parameters and the seed.

    Attributes:
        label: "package.module:function", or what an adapter makes a function of:
            "mesa:package.module:Model".
        folder: Where modules are looked for first.
    """

    label: str
    folder: str

    @property
    def kind(self) -> str:
        """The key of the sweep file that names it."""
        return "simulation"

    def prepare(self) -> None:
        """Import the function.

        Raises:
            FarmMergeError: If it is not there.
        """
        self._function()

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Let `check_parameters` of the function's module refuse parameters, if it has that.

        Raises:
            FarmMergeError: With the name of the parameter.
        """
        module = sys.modules[self._function().__module__]
        check = getattr(module, "check_parameters", None)
        if check is not None:
            check(parameters)

    def source(self) -> str:
        """Return a digest of the file that the function is in."""
        file = getattr(sys.modules[self._function().__module__], "__file__", None)
        return digest_of([file] if file else [])

    def simulate(self, run: Run, experiment_id: str, path: Path, *, safely: bool) -> None:
        """Call the function with an open shard."""
        function = self._function()
        with SimulationDatabase(
            path,
            settings=DatabaseConfig() if safely else _UNPUBLISHED,
            simulation_id=run.simulation_id,
            experiment_id=experiment_id,
            parameters=run.record,
            seed=run.seed,
        ) as database:
            function(database, dict(run.parameters), run.seed)

    def _function(self) -> Callable[..., object]:
        if self.folder not in sys.path:
            sys.path.insert(0, self.folder)
        kind, _, rest = self.label.partition(":")
        if kind in _ADAPTERS and ":" in rest:
            module, name = _ADAPTERS[kind]
            made: Callable[..., object] = self._found(module, name)(rest)
            return made
        return self._found(kind, rest)

    def _found(self, module_name: str, name: str) -> Callable[..., Any]:
        module = self._module(module_name)
        function = getattr(module, name, None)
        if not callable(function):
            callables = (it for it, value in vars(module).items() if callable(value))
            raise self._error(with_nearest(f"{module_name} has no {name!r}", name, callables))
        found: Callable[..., Any] = function
        return found

    def _module(self, name: str) -> ModuleType:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as exc:
            if exc.name and not f"{name}.".startswith(f"{exc.name}."):
                raise  # something that the model itself imports
            raise self._error(f"there is no module {exc.name}") from exc
        except ValueError as exc:
            raise self._error("it is written as package.module:function") from exc

    def _error(self, reason: str) -> FarmMergeError:
        return FarmMergeError(f"simulation {self.label!r}: {reason}")


def digest_of(files: Iterable[str | Path]) -> str:
    """Return a digest of the content of files, those that cannot be read left out."""
    digest = blake2b(digest_size=16)
    for file in files:
        with suppress(OSError):
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()
