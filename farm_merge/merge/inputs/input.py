"""Input: what is known of a file before anything is decided."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from farm_merge.merge.inputs.map_file import map_file
from farm_merge.merge.inputs.mapping import UNATTRIBUTED
from farm_merge.merge.tables.definition import SIMULATION_ID
from farm_merge.schema import METADATA_TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from farm_merge.merge.inputs.file import InputFile
    from farm_merge.merge.inputs.mapping import FileMapping, Kind, Traits
    from farm_merge.merge.tables.structure import Structure

__all__ = ["Choices", "Contents", "Input", "KeptRow", "SimulationInFile"]

KeptRow = Literal["first", "last"]


class SimulationInFile(NamedTuple):
    """A simulation in a file.

    Attributes:
        own_id: What the file calls it; None where it does not, or for rows of nobody.
        status: As it is in the file; None where there is none.
        has_parameters: Whether the file has parameters of it.
        evidence: Why it seems to run still; empty where nothing speaks for that.
        simulation_id: Its name in the output; empty until it has one.
    """

    own_id: str | None
    status: str | None = None
    has_parameters: bool = False
    evidence: str = ""
    simulation_id: str = ""

    @property
    def is_unattributed(self) -> bool:
        """Whether it is made of rows that belong to none of the file's simulations."""
        return self.own_id is None and self.status == UNATTRIBUTED

    @property
    def has_ended(self) -> bool:
        """Whether its status is one of a run that ended."""
        return self.status not in {None, "running", "pending"}


@dataclass(frozen=True, slots=True)
class Choices:
    """What of a file is not carried as it is.

    Attributes:
        duplicate_rows: Of tables in which rows repeat a key: which of them is kept, and how many
            are left out, by table of the output.
        unresolved: How many references of `agent_actions` point at no state, by column.
        orphan_rows: How many rows belong to none of several simulations, by table of the output.
        carries_orphans: Whether they are carried, as a simulation of their own.
    """

    duplicate_rows: Mapping[str, tuple[KeptRow, int]] = field(default_factory=dict)
    unresolved: Mapping[str, int] = field(default_factory=dict)
    orphan_rows: Mapping[str, int] = field(default_factory=dict)
    carries_orphans: bool = True


class Contents(NamedTuple):
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
        experiments: How it describes experiments: name, description and hypothesis by id.
        notes: What is not carried.
        contents: Its rows and its bytes; None until they are read, when its pages are copied.
        has_history: Whether it is the output of a merge, and has a ledger.
        parameters: What lies beside it, or in its name, about the run.
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
    has_history: bool = False
    parameters: Mapping[str, Any] | None = field(default=None, hash=False)

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.file.path

    @property
    def is_shard(self) -> bool:
        """Whether it has the form of a shard, and needs no rewriting."""
        is_todays = self.kind == "today" and not (
            self.traits.renamed or self.traits.numbered or self.traits.stored
        )
        keeps_names = all(
            table.source.lower() == table.target.lower() for table in self.mapping.tables
        )
        return (
            is_todays
            and keeps_names
            and all(
                definition.merged or definition.name in METADATA_TABLES
                for definition in self.structure.tables.values()
            )
        )

    @property
    def details(self) -> tuple[str, ...]:
        """How it is carried, where that is not as it is."""
        return tuple(note for table in self.mapping.tables for note in table.notes)

    def remapped(self, traits: Traits) -> Input:
        """Return the input as it is carried where other facts decide."""
        if traits == self.traits:
            return self
        mapping = map_file(self.structure, self.kind, traits)
        renamed = {
            before.target: after.target
            for before, after in zip(self.mapping.tables, mapping.tables, strict=True)
        }
        contents = self.contents and self.contents._replace(
            row_counts=tuple(
                {renamed[table]: rows for table, rows in counts.items()}
                for counts in self.contents.row_counts
            ),
        )
        return replace(self, traits=traits, mapping=mapping, contents=contents)

    def named(self, names: Sequence[str]) -> Input:
        """Return the input with names for its simulations, whatever it calls them itself."""
        simulations = tuple(
            simulation._replace(simulation_id=name)
            for simulation, name in zip(self.simulations, names, strict=True)
        )
        renamed = any(run.own_id not in {None, run.simulation_id} for run in simulations)
        named = replace(self, simulations=simulations)
        return named.remapped(self.traits._replace(renamed=renamed))

    @property
    def bindings(self) -> dict[str, str | None]:
        """What the expressions of its mapping take for the names of simulations."""
        unattributed = next((run for run in self.simulations if run.is_unattributed), None)
        only = self.simulations[0].simulation_id if self.traits.ids != "many" else None
        return {
            SIMULATION_ID: only,
            UNATTRIBUTED: unattributed.simulation_id if unattributed else None,
        }
