"""A simulation's database in memory, to be persisted when the run is over.

One that reaches its limit goes on in a file, and loses nothing.
"""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.database.opening import close_database, naming, open_session
from farm_merge.database.writer import SimulationWriter, require_data_table, settings_of
from farm_merge.schema import DATA_TABLES, create_schema
from farm_merge.sqlite import connect, file_uri

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike

    from farm_merge.config import DatabaseConfig, SimulationConfig

__all__ = ["InMemorySimulationDatabase"]

_MOST_MB = 1000
"""SQLite keeps a gigabyte in memory at most (SQLITE_CONFIG_MEMDB_MAXSIZE)."""

_FEWEST_PAGES = 100
"""The schema and what is written beside the rows need so many."""

_NEAR = 0.9


class InMemorySimulationDatabase(SimulationWriter):
    """A simulation's database in memory, to be persisted when the run is over.

    Args:
        memory_limit_mb: How large it may grow in memory; it goes on in a file then. SQLite's own
            limit, a gigabyte, by default.
        config: The simulation's configuration.
        simulation_id: Unique in an experiment; a random one by default.
        settings: How rows are buffered; by default as in the configuration.
        experiment_id: The experiment it belongs to.
        parameters: What is stored with the simulation; the configuration by default.
        seed: What its randomness starts from; that of the configuration or parameters by default.
        spill_to: The file that it goes on in; by default a temporary one, gone when it is closed.
    """

    def __init__(
        self,
        memory_limit_mb: int | None = None,
        config: SimulationConfig | None = None,
        simulation_id: str | None = None,
        *,
        settings: DatabaseConfig | None = None,
        experiment_id: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        seed: int | None = None,
        spill_to: Path | None = None,
    ) -> None:
        # A named database of SQLite's memdb file system, so that sessions can open it too.
        uri = f"file:/{uuid.uuid4().hex}?vfs=memdb"
        chosen = settings_of(config, settings)
        connection = connect(uri, timeout=chosen.busy_timeout_ms / 1000)
        create_schema(connection)
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        limit = _MOST_MB if memory_limit_mb is None else min(memory_limit_mb, _MOST_MB)
        self._most_pages = max(limit * 2**20 // page_size, _FEWEST_PAGES)
        connection.execute(f"PRAGMA max_page_count = {self._most_pages}")
        self._spill_to = spill_to
        self._spilled: Path | None = None
        super().__init__(
            connection,
            lambda: open_session(file_uri(self._spilled) if self._spilled else uri),
            config,
            simulation_id or f"sim_{uuid.uuid4().hex[:8]}",
            path=":memory:",
            settings=chosen,
            experiment_id=experiment_id,
            parameters=parameters,
            seed=seed,
        )

    @property
    def is_in_memory(self) -> bool:
        """Whether it is in memory still."""
        return self._spilled is None

    def flush_all_buffers(self) -> None:
        """Write everything that the logger holds; near the limit, go on in a file."""
        super().flush_all_buffers()
        if self.is_open and self.is_in_memory:
            (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
            if pages > _NEAR * self._most_pages:
                self.spill()

    def spill(self) -> None:
        """Go on in a file, from here on.

        Raises:
            OutputError: If it cannot be written; all is in memory still.
        """
        if self._spilled is not None:
            return
        path = self._spill_to or _temporary_file()
        with naming(path), ExitStack() as stack:
            disk = connect(file_uri(path))
            stack.callback(disk.close)
            self._connection.backup(disk)
            for pragma in ("journal_mode=WAL", "synchronous=OFF"):  # as safe as memory was
                disk.execute(f"PRAGMA {pragma}")
            stack.pop_all()
        self._connection.close()
        self._connection, self._spilled = disk, path

    def _make_room(self) -> bool:
        if not self.is_in_memory:
            return False
        self.spill()
        return True

    def persist_to_disk(
        self,
        db_path: str | PathLike[str],
        tables: Iterable[str] | None = None,
        show_progress: bool = True,
        *,
        ended: bool = True,
    ) -> dict[str, Any]:
        """Write the simulation to a file, or merge it into an experiment database that exists.

        A new file appears whole or not at all. Merging is safe from several processes at once; a
        simulation without an experiment joins that of the database, if it has one alone.

        Args:
            db_path: The file.
            tables: The data tables to write; all by default. Those of the model's own are always
                written.
            show_progress: Draw a bar while pages are copied, where a person is looking.
            ended: Whether the run is over: if it is still `running`, it is `completed` in the file.

        Returns:
            `path`, `merged` (whether the file was there before), `rows` by table, `total_rows`
            and `seconds`.

        Raises:
            InvalidRecordError: If one of `tables` is no data table.
            OutputError: If the file is something else, or cannot be written.
            ConflictError: If the experiment database has other data under this simulation_id.
        """
        from farm_merge.database.persist import persist

        started = time.perf_counter()
        kept = DATA_TABLES if tables is None else tuple(tables)
        for table in kept:
            require_data_table(table)
        self.flush_all_buffers()
        merged = persist(
            self._connection,
            self.simulation_id,
            Path(db_path),
            kept,
            status="completed" if ended else None,
            refused=self.logger.refused.rows,
            show_progress=show_progress,
        )
        counted = (*kept, *self.logger.tables)
        rows = {table: self.get_table_row_count(table) for table in counted}
        return {
            "path": str(db_path),
            "merged": merged,
            "rows": rows,
            "total_rows": sum(rows.values()),
            "seconds": time.perf_counter() - started,
        }

    def _release(self) -> None:
        close_database(self._connection)
        if self._spilled is not None and self._spill_to is None:
            self._spilled.unlink()


def _temporary_file() -> Path:
    descriptor, name = tempfile.mkstemp(prefix="farm-merge-", suffix=".db")
    os.close(descriptor)
    return Path(name)
