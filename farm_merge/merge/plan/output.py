"""Output: what an experiment database holds before a merge."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from farm_merge.errors import OutputError
from farm_merge.merge.inputs.sidecar import json_object
from farm_merge.merge.inputs.simulations import read_experiments
from farm_merge.merge.ledger import read_ledger
from farm_merge.merge.tables.cost import may_be_extended
from farm_merge.merge.tables.structure import read_structure
from farm_merge.publish import read_output

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from farm_merge.merge.ledger import LedgerEntry
    from farm_merge.merge.tables.structure import Structure

__all__ = ["Output", "look_at_output"]


@dataclass(frozen=True, slots=True)
class Output:
    """An experiment database before a merge.

    Attributes:
        path: Where it is, or will be.
        structure: Its tables; None where it does not exist.
        simulation_ids: Its simulations.
        ledger: What was merged from where, the oldest first.
        experiments: How it describes experiments.
    """

    path: Path
    structure: Structure | None = field(default=None, hash=False)
    simulation_ids: frozenset[str] = frozenset()
    ledger: tuple[LedgerEntry, ...] = field(default=(), hash=False)
    experiments: Mapping[str, tuple[object, ...]] = field(default_factory=dict, hash=False)

    def entries(self) -> dict[str, list[LedgerEntry]]:
        """Return the entries of the ledger, the oldest first, of each simulation that is there."""
        entries: dict[str, list[LedgerEntry]] = {}
        for entry in self.ledger:
            if entry.simulation_id in self.simulation_ids:
                entries.setdefault(entry.simulation_id, []).append(entry)
        return entries

    def parameters_of(self, simulation_id: str) -> dict[str, Any]:
        """Return the parameters of a simulation; none where they are no JSON object."""
        with read_output(self.path) as connection:
            row = connection.execute(
                "SELECT parameters FROM simulations WHERE simulation_id = ?", (simulation_id,)
            ).fetchone()
        return (row and json_object(row[0])) or {}

    def remedy_for(self, path: Path) -> str:
        """Return how an input gets into an experiment database that this one cannot take it into.

        The tables of a new one are made to hold the rows of both.
        """
        return (
            ""
            if self.is_new
            else f"make a new one of both: farm-merge {self.path} {path} -o NEW.db"
        )

    @property
    def is_new(self) -> bool:
        """Whether it does not exist."""
        return self.structure is None


def look_at_output(path: Path) -> Output:
    """Return what an output holds.

    Raises:
        OutputError: If to write it could take for ever, by what it computes then.
    """
    if not path.exists():
        return Output(path)
    with read_output(path) as connection:
        structure = read_structure(connection)
        if not may_be_extended(structure):
            raise OutputError(
                "has computed columns, defaults or indexes that may take very long to write",
                path=path,
                remedy=f"merge it into one without: farm-merge {path} -o NEW.db",
            )
        ids = connection.execute("SELECT simulation_id FROM simulations")
        return Output(
            path,
            structure,
            frozenset(simulation_id for (simulation_id,) in ids),
            read_ledger(connection),
            read_experiments(connection),
        )
