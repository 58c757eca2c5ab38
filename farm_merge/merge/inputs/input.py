"""Input: what is known of a file before anything is decided."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from farm_merge.schema import METADATA_TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from farm_merge.merge.inputs.file import InputFile
    from farm_merge.merge.inputs.mapping import FileMapping, Kind, Traits
    from farm_merge.merge.tables.structure import Structure

__all__ = ["Choices", "Contents", "Input", "KeptRow", "SimulationInFile"]

KeptRow = Literal["first", "last"]


@dataclass(frozen=True, slots=True)
class SimulationInFile:
    """A simulation in a file.

    Attributes:
        simulation_id: None where the file does not name it, and its path has to.
        status: As the file says; None where it does not.
    """

    simulation_id: str | None
    status: str | None


@dataclass(frozen=True, slots=True)
class Choices:
    """What of a file is not carried as it is.

    Attributes:
        duplicate_rows: Of tables in which rows repeat a key: which of them is kept, and how many
            are left out, by table of the output.
        unresolved: How many references of `agent_actions` point at no state, by column.
    """

    duplicate_rows: Mapping[str, tuple[KeptRow, int]] = field(default_factory=dict)
    unresolved: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Contents:
    """What is known of a file once all of it was read.

    Attributes:
        fingerprint: A hash of its bytes.
        row_counts: For each of its simulations, the rows by table of the output.
        choices: What is not carried as it is.
    """

    fingerprint: str
    row_counts: tuple[Mapping[str, int], ...]
    choices: Choices = Choices()


@dataclass(frozen=True, slots=True)
class Input:
    """What is known of an input.

    Attributes:
        file: The file.
        schema: What its schema is called: "farm-merge 1", "AgentFarm era …" or "foreign".
        kind: The family of its schema.
        structure: Its tables.
        simulations: The simulations in it.
        traits: What its content decided about the mapping.
        mapping: What each of its tables becomes.
        experiments: What it says about experiments: name, description and hypothesis by id.
        notes: What is not carried.
        contents: Its rows and its bytes; None until they are read, when its pages are copied.
    """

    file: InputFile
    schema: str
    kind: Kind
    structure: Structure = field(hash=False)
    simulations: tuple[SimulationInFile, ...]
    traits: Traits
    mapping: FileMapping
    experiments: Mapping[str, tuple[object, ...]] = field(hash=False)
    notes: tuple[str, ...] = ()
    contents: Contents | None = field(default=None, hash=False)

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.file.path

    @property
    def is_shard(self) -> bool:
        """Whether it has the form of a shard, and needs no rewriting."""
        return self.kind == "today" and all(
            definition.merged or definition.name in METADATA_TABLES
            for definition in self.structure.tables.values()
        )

    @property
    def details(self) -> tuple[str, ...]:
        """How it is carried, where that is not as it is."""
        return tuple(note for table in self.mapping.tables for note in table.notes)

    @property
    def is_unnamed(self) -> bool:
        """Whether the file does not name its simulation."""
        return any(simulation.simulation_id is None for simulation in self.simulations)

    def named(self, name: str) -> Input:
        """Return the input with a name for the simulation that had none."""
        renamed = tuple(replace(simulation, simulation_id=name) for simulation in self.simulations)
        return replace(self, simulations=renamed)
