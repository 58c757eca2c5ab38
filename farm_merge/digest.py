"""Digest: a short text that a simulation's content, and no other, has.

It can be printed in a paper and checked years later without the shards. It depends on the names of
tables and columns and on every value with its type, and on nothing else: not on the order of rows
or columns, the layout of pages, the machine, the simulation's name, clocks, nor metadata.

How it is computed is described in `farm_merge/merge/tables/digest.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from farm_merge.merge.ledger import keep_digest, read_digests
from farm_merge.merge.tables.digest import digest_of, digests_by_table
from farm_merge.merge.tables.structure import read_structure
from farm_merge.progress import counting, silent
from farm_merge.publish import existing_output, locked
from farm_merge.read.open import reading
from farm_merge.read.where import chosen_simulations
from farm_merge.sqlite import transaction

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from farm_merge.progress import ReportCount

__all__ = ["Digest", "digest_simulations", "store_digests"]


@dataclass(frozen=True, slots=True)
class Digest:
    """The digest of a simulation.

    Attributes:
        simulation_id: The simulation.
        digest: 32 hexadecimal digits.
        tables: The digest of each table that has rows of it.
        stored: What the ledger has; None if it has none.
    """

    simulation_id: str
    digest: str
    tables: dict[str, str]
    stored: str | None

    @property
    def is_as_stored(self) -> bool:
        """Whether the content is what it was when the digest was stored, as far as is known."""
        return self.stored in {None, self.digest}


def digest_simulations(
    database: str | PathLike[str],
    simulations: Iterable[str] = (),
    *,
    where: Iterable[str] = (),
    progress: ReportCount | bool | None = None,
) -> list[Digest]:
    """Return the digests of simulations, in the order of their names.

    Args:
        database: A shard or experiment database.
        simulations: Their ids; all by default.
        where: Conditions that all have to hold, as `compare_simulations` takes them.
        progress: Called with the number of simulations digested, and of all; True draws a
            bar.

    Raises:
        FarmMergeError: If one of them is not there.
        ShardError: If the database cannot be read.
    """
    path = Path(database)
    digests = []
    with reading(path) as connection, counting(progress, "digest", "simulations") as report:
        chosen = chosen_simulations(connection, where, simulations, path=path)
        structure = read_structure(connection)
        stored = read_digests(connection)
        for number, simulation_id in enumerate(chosen, start=1):
            tables = digests_by_table(connection, structure, simulation_id)
            digest = digest_of(tables)
            digests.append(Digest(simulation_id, digest, tables, stored.get(simulation_id)))
            report(number, len(chosen))
    return digests


def store_digests(database: str | PathLike[str], digests: Iterable[Digest]) -> int:
    """Keep digests in the ledger; return of how many simulations.

    A simulation that was never merged has no ledger to keep it in.

    Raises:
        OutputError: If the database cannot be written.
    """
    path = Path(database)
    with (
        locked(path, silent),
        existing_output(path) as connection,
        transaction(connection, "IMMEDIATE"),
    ):
        return sum(keep_digest(connection, it.simulation_id, it.digest) for it in digests)
