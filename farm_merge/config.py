"""Configuration: the parameters of a simulation, and how its database is written."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from farm_merge.errors import FarmMergeError

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["DatabaseConfig", "SimulationConfig"]

PragmaProfile = Literal["balanced", "performance", "safety", "memory"]
Synchronous = Literal["OFF", "NORMAL", "FULL", "EXTRA"]
JournalMode = Literal["DELETE", "TRUNCATE", "PERSIST", "MEMORY", "WAL", "OFF"]

_PROFILES: dict[PragmaProfile, tuple[JournalMode, Synchronous, int]] = {
    # journal mode, synchronous, cache in MB
    "balanced": ("WAL", "NORMAL", 64),
    "performance": ("WAL", "OFF", 256),
    "safety": ("WAL", "FULL", 64),
    "memory": ("WAL", "NORMAL", 4),
}


@cache
def _packaged() -> dict[str, Any]:
    return tomllib.loads(files("farm_merge").joinpath("defaults.toml").read_text("utf-8"))


def _parameter(name: str, **bounds: Any) -> Any:
    return Field(default_factory=lambda: _packaged()[name], **bounds)


def _setting(name: str, **bounds: Any) -> Any:
    return Field(default_factory=lambda: _packaged()["database"][name], **bounds)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DatabaseConfig(_Strict):
    """How a simulation's database is written; None leaves a setting to the profile.

    Attributes:
        pragma_profile: A set of PRAGMAs: "balanced" survives a killed process and keeps what was
            committed, "performance" does so unless the machine itself fails, "safety" syncs
            every commit, "memory" keeps the page cache small.
        journal_mode: Instead of the profile's.
        synchronous: Instead of the profile's.
        cache_size_mb: Page cache in MB, instead of the profile's.
        busy_timeout_ms: How long to wait for another writer.
        buffer_size: Rows that the logger holds before it writes them.
        commit_interval_seconds: After how long it writes them in any case.
    """

    pragma_profile: PragmaProfile = _setting("pragma_profile")
    journal_mode: JournalMode | None = None
    synchronous: Synchronous | None = None
    cache_size_mb: int | None = Field(default=None, gt=0)
    busy_timeout_ms: int = _setting("busy_timeout_ms", ge=0)
    buffer_size: int = _setting("buffer_size", gt=0)
    commit_interval_seconds: float = _setting("commit_interval_seconds", ge=0)

    def pragmas(self) -> dict[str, str | int]:
        """Return the PRAGMAs of the profile, with what was set on top."""
        journal_mode, synchronous, cache_mb = _PROFILES[self.pragma_profile]
        return {
            "journal_mode": self.journal_mode or journal_mode,
            "synchronous": self.synchronous or synchronous,
            "cache_size": -1024 * (self.cache_size_mb or cache_mb),
        }


class SimulationConfig(_Strict):
    """The parameters of the built-in model, and the settings of its database.

    Lengths are in units of the world, amounts in units of resource, rates a step; the defaults and
    their meaning are in `defaults.toml`. Unknown names are errors.
    """

    seed: int = _parameter("seed", ge=0, lt=2**63)
    width: int = _parameter("width", gt=0)
    height: int = _parameter("height", gt=0)
    system_agents: int = _parameter("system_agents", ge=0)
    independent_agents: int = _parameter("independent_agents", ge=0)
    control_agents: int = _parameter("control_agents", ge=0)
    max_population: int = _parameter("max_population", gt=0)
    resources: int = _parameter("resources", ge=0)
    initial_resource_amount: float = _parameter("initial_resource_amount", ge=0)
    max_resource_amount: float = _parameter("max_resource_amount", ge=0)
    resource_regen_rate: float = _parameter("resource_regen_rate", ge=0, le=1)
    resource_regen_amount: float = _parameter("resource_regen_amount", ge=0)
    initial_agent_resources: float = _parameter("initial_agent_resources", ge=0)
    starting_health: float = _parameter("starting_health", gt=0)
    consumption: float = _parameter("consumption", ge=0)
    starvation_limit: int = _parameter("starvation_limit", gt=0)
    movement_range: float = _parameter("movement_range", ge=0)
    gather_range: float = _parameter("gather_range", ge=0)
    gather_amount: float = _parameter("gather_amount", ge=0)
    share_range: float = _parameter("share_range", ge=0)
    share_amount: float = _parameter("share_amount", ge=0)
    attack_range: float = _parameter("attack_range", ge=0)
    attack_damage: float = _parameter("attack_damage", ge=0)
    reproduction_threshold: float = _parameter("reproduction_threshold", ge=0)
    offspring_cost: float = _parameter("offspring_cost", ge=0)
    offspring_initial_resources: float = _parameter("offspring_initial_resources", ge=0)
    mutation_rate: float = _parameter("mutation_rate", ge=0, le=1)
    mutation_scale: float = _parameter("mutation_scale", ge=0)
    learning_rate: float = _parameter("learning_rate", ge=0)
    database: DatabaseConfig = Field(default_factory=DatabaseConfig)

    @property
    def population(self) -> int:
        """The number of founders, of all kinds."""
        return self.system_agents + self.independent_agents + self.control_agents

    def with_population(self, population: int) -> Self:
        """Return a copy with this many founders, as evenly of the three kinds as can be."""
        return type(self)(**{**self.model_dump(), **_founders(population)})

    @classmethod
    def from_centralized_config(
        cls, path: str | PathLike[str] | None = None, **overrides: Any
    ) -> Self:
        """Return the packaged defaults, changed by a TOML file and then by keyword.

        Args:
            path: A TOML file with any of the parameters; a table `[database]` with its settings.
            overrides: Parameters by name, and `population` for an even number of each kind.

        Raises:
            FarmMergeError: If the file cannot be read, a name is unknown, or a value out of range.
        """
        values = {**_read(path), **overrides} if path is not None else dict(overrides)
        if "population" in values:
            values.update(_founders(values.pop("population")))
        try:
            return cls(**values)
        except ValidationError as exc:
            raise FarmMergeError(_problems(exc), path=path or "configuration") from exc


def _founders(population: int) -> dict[str, int]:
    kinds = ("system_agents", "independent_agents", "control_agents")
    return {kind: (population + 2 - place) // 3 for place, kind in enumerate(kinds)}


def _read(path: str | PathLike[str]) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as exc:
        raise FarmMergeError(f"cannot be read ({exc.strerror})", path=path) from exc
    except ValueError as exc:
        raise FarmMergeError(f"not a TOML file ({exc})", path=path) from exc


def _problems(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].lower()}"
        for problem in error.errors()
    )
