"""Shelves: where each worker has one shard, with all that it has simulated.

For file systems that punish many small files. A worker puts every run that is complete into its
shard by one transaction; while it may still grow, that is hidden. A sweep takes it over when it is
old, or when nobody writes it any more, and from then on it never changes.
"""

from __future__ import annotations

import threading
import time
import uuid
from contextlib import closing
from typing import TYPE_CHECKING

from farm_merge.merge import merge_shards
from farm_merge.merge.ledger import forget
from farm_merge.merge.tables.structure import read_structure
from farm_merge.merge.write.registry import remove_simulation
from farm_merge.progress import silent
from farm_merge.publish import locked, publish_new, settle_output, workshop
from farm_merge.schema import SHARD_MARK
from farm_merge.sqlite import connect, file_uri, storable, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from farm_merge.sqlite import sqlite3

__all__ = ["Shelf", "put_on_shelf", "simulations_in"]

_PREFIX, _GROWING = "worker-", ".growing"

_LEAST_SECONDS, _PART = 60.0, 8
"""A shard that is as old as that, and as an eighth of the sweep, is taken over to be merged while
the others go on: so there are few of them, and little is left for the end."""

_LOOK_SECONDS = 1.0

_own = threading.local()


def put_on_shelf(shard: Path, folder: Path) -> None:
    """Put a complete shard into that of this worker, by one transaction.

    Args:
        shard: The shard; what is in it is in the other then.
        folder: Where the shards of workers are.
    """
    if not hasattr(_own, "name"):
        _own.name = f".{uuid.uuid4().hex}{_GROWING}"
    merge_shards([shard], folder / _own.name, include_running=True, jobs=1)


def simulations_in(shard: Path) -> list[str]:
    """Return the simulations of a shard: one, of which it has the name, or those of a worker."""
    if not shard.name.startswith(_PREFIX):
        return [shard.stem]
    with closing(connect(file_uri(shard, mode="ro"), read_only=True)) as connection:
        return _simulations(connection)


class Shelf:
    """The shards of workers in a folder, and what they hold.

    Args:
        folder: The folder of the shards.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._began = self._looked = time.monotonic()
        self._seen: dict[Path, float] = {}
        self._where: dict[str, Path] = {}
        for shard in sorted(folder.glob(f"{_PREFIX}*.db")):
            self._where |= dict.fromkeys(simulations_in(shard), shard)

    def find(self, simulation_id: str) -> Path | None:
        """Return the shard that has a simulation, if one has."""
        return self._where.get(simulation_id)

    def take_over(self) -> Iterator[Path]:
        """Yield the shards that are now complete: all that were growing, of killed workers too."""
        for growing in sorted(self._growing()):
            yield from self._take_over(growing)

    def take_over_old(self) -> Iterator[Path]:
        """Yield the shards that have grown for long; their workers go on in new ones."""
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        oldest = max(_LEAST_SECONDS, (now - self._began) / _PART)
        for growing in sorted(self._growing()):
            if now - self._seen.setdefault(growing, now) >= oldest:
                yield from self._take_over(growing)

    def _growing(self) -> set[Path]:
        """Return the shards that grow, those that a worker was killed over among them."""
        found = self._folder.glob(f".*{_GROWING}*")
        names = {f".{path.name.lstrip('.').partition('.')[0]}{_GROWING}" for path in found}
        return {self._folder / name for name in names}

    def _take_over(self, growing: Path) -> Iterator[Path]:
        # A worker that puts a run there waits, and makes a new one then.
        with locked(growing, silent), workshop(growing):
            if not growing.exists():
                return
            shard = self._folder / f"{_PREFIX}{uuid.uuid4().hex}.db"
            settle_output(growing)
            with closing(connect(file_uri(growing, mode="rw"))) as connection:
                found = self._tidied(connection, shard)
            if found:
                publish_new(growing, shard, links=False)
            else:
                growing.unlink()
        self._where |= dict.fromkeys(found, shard)
        if found:
            yield shard

    def _tidied(self, connection: sqlite3.Connection, shard: Path) -> list[str]:
        """Make a shard of what a worker wrote, without what is there already; return what it has.

        An executor may have a run done twice.
        """
        structure = read_structure(connection)
        with transaction(connection):
            for simulation_id in _simulations(connection):
                forget(connection, simulation_id)  # it names a file that is gone
                if simulation_id in self._where:
                    remove_simulation(connection, structure, simulation_id)
            connection.execute("UPDATE simulations SET simulation_db_path = ?", (storable(shard),))
            connection.execute(f"PRAGMA application_id = {SHARD_MARK}")
        return _simulations(connection)


def _simulations(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT simulation_id FROM simulations")]
