"""Recognise: a run that was merged before, under whatever name, or that another input brings too.

What a run came from, its *origin*, is the hash of a file's bytes (with the id in the file, where it
holds several simulations). The ledger of an output has the origins of its simulations, and so has
that of an input which is itself the output of a merge.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from farm_merge.merge.inputs.file import opened
from farm_merge.merge.ledger import path_text, read_ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from farm_merge.merge.inputs.input import Input, SimulationInFile
    from farm_merge.merge.ledger import LedgerEntry, Origin
    from farm_merge.merge.plan.output import Output

__all__ = [
    "Known",
    "KnownRuns",
    "Run",
    "and_others",
    "doubles",
    "needed_whole",
    "origins_of",
    "read_histories",
]

_SHOWN = 5
"""How many simulations a note names."""


class Run(NamedTuple):
    """A simulation of an input.

    Attributes:
        source: The input.
        number: Which of its simulations.
    """

    source: Input
    number: int

    @property
    def simulation(self) -> SimulationInFile:
        """What is known of it."""
        return self.source.simulations[self.number]

    @property
    def path(self) -> Path:
        """Where its file is."""
        return self.source.path

    @property
    def key(self) -> tuple[Path, int]:
        """What distinguishes it from all others."""
        return self.path, self.number

    @property
    def origins(self) -> Iterator[Origin]:
        """What it is to others that come from its file; nothing until that was read."""
        return origins_of(self.source, self.simulation)


class Known(NamedTuple):
    """A run that is known.

    Attributes:
        simulation_id: Its name in the output.
        path: Where it came from, according to the ledger.
        where: Where it is known from, in words.
    """

    simulation_id: str
    path: str
    where: str


@dataclass(slots=True)
class KnownRuns:
    """The runs that are known, by their origins.

    Attributes:
        by_origin: The runs of each origin, the newest last.
        by_path: What the simulations of a file at a path were called, by their ids in it.
    """

    by_origin: dict[Origin, list[Known]] = field(default_factory=dict)
    by_path: dict[tuple[str, str | None], str] = field(default_factory=dict)

    def add(self, entries: Iterable[LedgerEntry], name: str, where: str) -> None:
        """Add a run.

        Args:
            entries: What a ledger records about where it came from.
            name: Its name in the output.
            where: Where it is known from.
        """
        for entry in entries:
            known = Known(name, entry.source_path, where)
            self.by_origin.setdefault(entry.origin, []).append(known)
            self.by_path[entry.source_path, entry.own_id] = name

    def of(self, origins: Iterable[Origin]) -> Iterator[Known]:
        """Yield the runs that have one of these origins."""
        for origin in origins:
            yield from self.by_origin.get(origin, ())

    def name_of_path(self, source: Input, simulation: SimulationInFile) -> str | None:
        """Return what the file at a path was called when it was merged."""
        return self.by_path.get((path_text(source.path), simulation.own_id))


def origins_of(source: Input, simulation: SimulationInFile) -> Iterator[Origin]:
    """Yield what a simulation is to others that come from its file; nothing until it was read."""
    if source.contents:
        is_only = len(source.simulations) == 1
        yield source.contents.fingerprint, None if is_only else simulation.own_id


def read_histories(sources: Iterable[Input]) -> dict[Path, dict[str, list[LedgerEntry]]]:
    """Return what the ledgers of inputs record, by the ids of their simulations."""
    histories: dict[Path, dict[str, list[LedgerEntry]]] = {}
    for source in sources:
        if source.has_history:
            by_id = histories.setdefault(source.path, {})
            with opened(source.file) as connection:
                for entry in read_ledger(connection, "source"):
                    by_id.setdefault(entry.simulation_id, []).append(entry)
    return histories


def needed_whole(sources: Sequence[Input], output: Output) -> set[Path]:
    """Return the inputs that have to be read whole, since more than their names decides.

    These are inputs that name one simulation, or one that the output has or had from a file, under
    whatever name, and those that another input, the output of a merge, may be made of.
    """
    held = output.simulation_ids.union(entry.own_id for entry in output.ledger if entry.own_id)
    times = Counter(run.own_id for source in sources for run in source.simulations)
    sizes = {
        entry.identity.size_bytes
        for by_id in read_histories(sources).values()
        for entries in by_id.values()
        for entry in entries
    }
    return {
        source.path
        for source in sources
        if source.has_history
        or source.file.identity.size_bytes in sizes
        or any(times[run.own_id] > 1 or run.own_id in held for run in source.simulations)
    }


def doubles(output: Output, planned: Iterable[tuple[Input, SimulationInFile]]) -> Iterator[str]:
    """Report the runs that are in the output under several names.

    Args:
        output: What it holds.
        planned: What is written, with names.
    """
    names: dict[Origin, dict[str, None]] = {}
    for simulation_id, entries in output.entries().items():
        for entry in entries:
            names.setdefault(entry.origin, {})[simulation_id] = None
    for source, simulation in planned:
        for origin in origins_of(source, simulation):
            if origin in names:
                names[origin][simulation.simulation_id] = None
    for found in dict.fromkeys(tuple(ids) for ids in names.values() if len(ids) > 1):
        ids = ", ".join(map(repr, found[:_SHOWN]))
        more = and_others(len(found) - _SHOWN)
        yield f"{output.path}: simulations {ids}{more} come from files with equal bytes"


def and_others(number: int) -> str:
    """Return the end of a list that names all but so many; empty if it names all."""
    return f" and {number:,} other{'s'[: number - 1]}" if number > 0 else ""
