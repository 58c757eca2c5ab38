"""Databases that a simulation writes: a shard on disk, or one in memory that is persisted later."""

from __future__ import annotations

import json
import os
import time
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from farm_merge.config import DatabaseConfig, SimulationConfig
from farm_merge.data_logging import DataLogger
from farm_merge.errors import (
    FarmMergeError,
    InvalidRecordError,
    OutputError,
    SimulationExistsError,
)
from farm_merge.provenance import provenance
from farm_merge.schema import DATA_TABLES, SCHEMA_VERSION, create_schema, is_current, now
from farm_merge.sqlite import file_uri, quoted, sqlite3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from os import PathLike
    from types import TracebackType

    from sqlalchemy.orm import Session

__all__ = ["InMemorySimulationDatabase", "SimulationDatabase", "SimulationWriter"]


class SimulationWriter:
    """What a simulation needs to write itself down, whatever the database it is in.

    Args:
        connection: The database, in autocommit mode.
        open_session: Makes an SQLAlchemy session on the same database.
        config: The simulation's configuration; its database settings govern the buffers.
        simulation_id: Unique in the database.
        path: Where the database is, for the registry.
        experiment_id: The experiment it belongs to.
        parameters: What is stored with the simulation; the configuration by default.
        seed: What its randomness starts from; that of the configuration or parameters by default.
        resume: Go on with a simulation that is there.
        hint: What to do when rows cannot be written.

    Attributes:
        simulation_id: Which simulation this is.
        logger: Takes the rows.
        config: The configuration, or None.

    Raises:
        SimulationExistsError: If the simulation is there and `resume` is not set.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        open_session: Callable[[], Session],
        config: SimulationConfig | None,
        simulation_id: str,
        *,
        path: str,
        experiment_id: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        seed: int | None = None,
        resume: bool = False,
        hint: str = "",
    ) -> None:
        self.simulation_id = simulation_id
        self.config = config
        self._connection = connection
        self._open_session = open_session
        self._closed = False
        stored = _parameters(config, parameters)
        row = {
            "simulation_id": simulation_id,
            "experiment_id": experiment_id,
            "start_time": now(),
            "status": "running",
            "parameters": json.dumps(stored, default=str),
            "simulation_db_path": path,
            "seed": stored.get("seed") if seed is None else seed,
            **provenance(),
        }
        _register(connection, row, resume=resume)
        settings = config.database if config else DatabaseConfig()
        self.logger = DataLogger(
            connection,
            simulation_id,
            buffer_size=settings.buffer_size,
            commit_interval=settings.commit_interval_seconds,
            hint=hint,
        )

    def flush_all_buffers(self) -> None:
        """Write everything that the logger holds."""
        self.logger.flush_all_buffers()

    def Session(self) -> Session:  # noqa: N802  (the name that users know)
        """Open an SQLAlchemy session that sees everything logged so far."""
        self.flush_all_buffers()
        return self._open_session()

    def update_agent_death(self, agent_id: str, death_time: int, cause: str = "starvation") -> None:
        """Record an agent's death, and the health incident that it was.

        Raises:
            InvalidRecordError: If no such agent was logged.
        """
        self.logger.log_death(agent_id, death_time, cause)

    def update_agent_state(
        self, agent_id: str, step_number: int, state_data: Mapping[str, Any]
    ) -> None:
        """Change columns of an agent's state at a step.

        Raises:
            InvalidRecordError: If a column is unknown, or the agent has no state at that step.
        """
        self.flush_all_buffers()
        known = {row[1] for row in self._connection.execute("PRAGMA table_info(agent_states)")}
        if unknown := sorted(state_data.keys() - known):
            raise InvalidRecordError(f"no column of agent_states: {', '.join(unknown)}")
        changes = ", ".join(f"{quoted(column)} = ?" for column in state_data)
        changed = self._connection.execute(
            f"UPDATE agent_states SET {changes}"
            " WHERE simulation_id = ? AND step_number = ? AND agent_id = ?",
            (*state_data.values(), self.simulation_id, step_number, agent_id),
        ).rowcount
        if not changed:
            raise InvalidRecordError(f"agent {agent_id!r} has no state at step {step_number}")

    def save_configuration(self, config: Mapping[str, Any]) -> None:
        """Store a configuration; the newest one is what `get_configuration` returns."""
        self._connection.execute(
            "INSERT INTO simulation_config (simulation_id, config_id, timestamp, config_data)"
            " SELECT :id, 1 + coalesce(max(config_id), 0), :now, :config"
            " FROM simulation_config WHERE simulation_id = :id",
            {
                "id": self.simulation_id,
                "now": int(time.time()),
                "config": json.dumps(dict(config), default=str),
            },
        )

    def get_configuration(self) -> dict[str, Any]:
        """Return the configuration that was saved last, or an empty dictionary."""
        row = self._connection.execute(
            "SELECT config_data FROM simulation_config WHERE simulation_id = ?"
            " ORDER BY config_id DESC LIMIT 1",
            (self.simulation_id,),
        ).fetchone()
        return dict(json.loads(row[0])) if row else {}

    def get_table_row_count(self, table_name: str) -> int:
        """Return how many rows this simulation has in a data table.

        Raises:
            InvalidRecordError: If there is no such table.
        """
        if table_name not in DATA_TABLES:
            raise InvalidRecordError(f"no data table: {table_name!r}; {', '.join(DATA_TABLES)}")
        self.flush_all_buffers()
        (count,) = self._connection.execute(
            f"SELECT count(*) FROM {table_name} WHERE simulation_id = ?", (self.simulation_id,)
        ).fetchone()
        return int(count)

    def update_simulation_status(
        self, status: str, results_summary: Mapping[str, Any] | None = None
    ) -> None:
        """Record how the simulation stands; any status but "running" and "pending" ends it."""
        self.flush_all_buffers()
        set_simulation_status(self._connection, self.simulation_id, status, results_summary)

    def cleanup(self) -> None:
        """Write what is held and let go of everything; the same as `close`."""
        self.close()

    def close(self) -> None:
        """Write what is held. The run has ended, whatever its status says."""
        if self._closed:
            return
        self.flush_all_buffers()
        self._connection.execute(
            "UPDATE simulations SET end_time = coalesce(end_time, ?) WHERE simulation_id = ?",
            (now(), self.simulation_id),
        )
        self._closed = True
        self._release()

    def _release(self) -> None:
        """Let go of what this object alone holds."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; a run that raised has failed, one that is still running is completed."""
        if not self._closed:
            self.flush_all_buffers()
            self._connection.execute(
                "UPDATE simulations SET status = ?, end_time = coalesce(end_time, ?)"
                " WHERE simulation_id = ? AND status = 'running'",
                ("completed" if error is None else "failed", now(), self.simulation_id),
            )
            self.close()


class SimulationDatabase(SimulationWriter):
    """A shard: a file of one simulation's own, written at full speed.

    Closed, it is one file in journal mode DELETE, with nothing beside it.

    Args:
        db_path: The file; its folder is made. An existing one must be of today's schema.
        config: The simulation's configuration.
        simulation_id: Unique in an experiment; the file's stem by default.
        experiment_id: The experiment it belongs to.
        parameters: What is stored with the simulation; the configuration by default.
        seed: What its randomness starts from; that of the configuration or parameters by default.
        resume: Go on with a simulation that is there.

    Raises:
        SimulationExistsError: If the simulation is there and `resume` is not set.
        OutputError: If the file is something else.
    """

    def __init__(
        self,
        db_path: str | PathLike[str],
        config: SimulationConfig | None = None,
        simulation_id: str | None = None,
        *,
        experiment_id: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        seed: int | None = None,
        resume: bool = False,
    ) -> None:
        self.db_path = Path(db_path)
        connection = open_database(self.db_path, config)
        try:
            super().__init__(
                connection,
                lambda: open_session(file_uri(self.db_path)),
                config,
                simulation_id or self.db_path.stem,
                path=str(self.db_path.absolute()),
                experiment_id=experiment_id,
                parameters=parameters,
                seed=seed,
                resume=resume,
            )
        except BaseException:
            close_database(connection)
            raise

    def _release(self) -> None:
        close_database(self._connection)


class InMemorySimulationDatabase(SimulationWriter):
    """A simulation's database in memory, to be persisted when the run is over.

    Args:
        memory_limit_mb: How large it may grow; beyond that, logging raises.
        config: The simulation's configuration.
        simulation_id: Unique in an experiment; a random one by default.
        experiment_id: The experiment it belongs to.
        parameters: What is stored with the simulation; the configuration by default.
        seed: What its randomness starts from; that of the configuration or parameters by default.
    """

    def __init__(
        self,
        memory_limit_mb: int | None = None,
        config: SimulationConfig | None = None,
        simulation_id: str | None = None,
        *,
        experiment_id: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> None:
        # A named database of SQLite's memdb file system, so that sessions can open it too.
        uri = f"file:/{uuid.uuid4().hex}?vfs=memdb"
        connection = _connect(uri, DatabaseConfig())
        create_schema(connection)
        if memory_limit_mb is not None:
            (page_size,) = connection.execute("PRAGMA page_size").fetchone()
            connection.execute(f"PRAGMA max_page_count = {memory_limit_mb * 2**20 // page_size}")
        hint = f"; the limit is {memory_limit_mb} MB: persist what is there, or allow more"
        super().__init__(
            connection,
            lambda: open_session(uri),
            config,
            simulation_id or f"sim_{uuid.uuid4().hex[:8]}",
            path=":memory:",
            experiment_id=experiment_id,
            parameters=parameters,
            seed=seed,
            hint=hint if memory_limit_mb is not None else "",
        )

    def persist_to_disk(
        self,
        db_path: str | PathLike[str],
        tables: Iterable[str] | None = None,
        show_progress: bool = True,
    ) -> dict[str, Any]:
        """Write the simulation to a file, or merge it into an experiment database that exists.

        A new file appears whole or not at all. Merging is safe from several processes at once.

        Args:
            db_path: The file.
            tables: The data tables to write; all by default.
            show_progress: Draw a bar while pages are copied, where a person is looking.

        Returns:
            `path`, `merged` (whether the file was there before), `rows` by table, `total_rows`
            and `seconds`.

        Raises:
            InvalidRecordError: If one of `tables` is no data table.
            OutputError: If the file is something else, or cannot be written.
            ConflictError: If the experiment database has other data under this simulation_id.
        """
        from farm_merge.merge import merge_shards
        from farm_merge.publish import link_new, require_usable

        started = time.perf_counter()
        output = Path(db_path)
        kept = _data_tables(tables)
        self.flush_all_buffers()
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = output.with_name(f".{output.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial")
        require_usable(output)
        merged = output.exists()
        try:
            self._write(partial, output, kept, show_progress=show_progress)
            if merged:
                merge_shards([partial], output, include_running=True)
            else:
                link_new(partial, output)
        finally:
            partial.unlink(missing_ok=True)
        rows = {table: self.get_table_row_count(table) for table in kept}
        return {
            "path": str(output),
            "merged": merged,
            "rows": rows,
            "total_rows": sum(rows.values()),
            "seconds": time.perf_counter() - started,
        }

    def _write(
        self, partial: Path, output: Path, tables: tuple[str, ...], *, show_progress: bool
    ) -> None:
        from tqdm import tqdm

        bar = tqdm(
            unit=" pages", desc="persist", leave=False, disable=None if show_progress else True
        )

        def show(_: int, remaining: int, total: int) -> None:
            bar.total = total
            bar.update(total - remaining - bar.n)

        with (
            bar,
            closing(sqlite3.connect(file_uri(partial), uri=True, isolation_level=None)) as disk,
        ):
            self._connection.backup(disk, pages=4096, progress=show)
            disk.execute("UPDATE simulations SET simulation_db_path = ?", (str(output.absolute()),))
            dropped = [table for table in DATA_TABLES if table not in tables]
            for table in dropped:
                disk.execute(f"DELETE FROM {table}")
            if dropped:
                disk.execute("VACUUM")

    def _release(self) -> None:
        self._connection.close()


def open_database(path: Path, config: SimulationConfig | None) -> sqlite3.Connection:
    """Open a database of today's schema for writing; make it where it does not exist.

    Safe from several processes at once: one of them makes the schema, the others wait for it.

    Raises:
        OutputError: If the file is something else or cannot be opened.
    """
    settings = config.database if config else DatabaseConfig()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = _connect(file_uri(path), settings)
    except (OSError, sqlite3.Error) as exc:
        raise OutputError(f"{path}: cannot be opened ({exc})") from exc
    try:
        _require_schema(path, connection)
        _set_pragmas(connection, settings)
    except sqlite3.DatabaseError as exc:
        connection.close()
        raise OutputError(f"{path}: SQLite cannot write it ({exc})") from exc
    except BaseException:
        connection.close()
        raise
    return connection


def close_database(connection: sqlite3.Connection) -> None:
    """Close a database and leave it as one file, unless others have it open."""
    from farm_merge.publish import settle

    with closing(connection):
        settle(connection)


def open_session(uri: str) -> Session:
    """Open an SQLAlchemy session on a database, with the driver that everything uses."""
    from sqlalchemy import create_engine
    from sqlalchemy.orm import Session as OrmSession
    from sqlalchemy.pool import NullPool

    engine = create_engine(
        "sqlite://",
        module=sqlite3,
        creator=lambda: sqlite3.connect(uri, uri=True, timeout=60, check_same_thread=False),
        poolclass=NullPool,
    )
    return OrmSession(engine)


def set_simulation_status(
    connection: sqlite3.Connection,
    simulation_id: str,
    status: str,
    results_summary: Mapping[str, Any] | None,
) -> None:
    """Record how a simulation stands.

    Raises:
        FarmMergeError: If there is no such simulation.
    """
    ended = None if status in {"running", "pending"} else now()
    changed = connection.execute(
        "UPDATE simulations SET status = ?, end_time = ?,"
        " results_summary = coalesce(?, results_summary) WHERE simulation_id = ?",
        (
            status,
            ended,
            None if results_summary is None else json.dumps(dict(results_summary), default=str),
            simulation_id,
        ),
    ).rowcount
    if not changed:
        raise FarmMergeError(f"no simulation {simulation_id!r} to set the status of")


def _connect(uri: str, settings: DatabaseConfig) -> sqlite3.Connection:
    return sqlite3.connect(
        uri, uri=True, isolation_level=None, timeout=settings.busy_timeout_ms / 1000
    )


def _require_schema(path: Path, connection: sqlite3.Connection) -> None:
    if is_current(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    if not is_current(connection):  # another process may have been faster
        if connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_schema)").fetchone() == (1,):
            raise OutputError(
                f"{path}: not a database of today's schema (version {SCHEMA_VERSION});"
                f" merge it into one: farm-merge {path} -o NEW.db"
            )
        create_schema(connection)
    connection.execute("COMMIT")


def _set_pragmas(connection: sqlite3.Connection, settings: DatabaseConfig) -> None:
    """Set the pragmas; changing the journal mode needs the file for a moment, so it is retried."""
    deadline = time.monotonic() + settings.busy_timeout_ms / 1000
    pragmas = settings.pragmas()
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {pragmas['journal_mode']}")
            break
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute(f"PRAGMA synchronous = {pragmas['synchronous']}")
    connection.execute(f"PRAGMA cache_size = {pragmas['cache_size']}")


def _parameters(
    config: SimulationConfig | None, parameters: Mapping[str, Any] | None
) -> dict[str, Any]:
    if parameters is not None:
        return dict(parameters)
    return config.model_dump(exclude={"database"}) if config else {}


def _register(connection: sqlite3.Connection, row: dict[str, Any], *, resume: bool) -> None:
    try:
        connection.execute(
            f"INSERT INTO simulations ({', '.join(row)})"
            f" VALUES ({', '.join(f':{column}' for column in row)})",
            row,
        )
    except sqlite3.IntegrityError as exc:
        if not resume:
            raise SimulationExistsError(
                f"simulation {row['simulation_id']!r} is there already; choose another id, or go"
                " on with it: resume=True"
            ) from exc
        connection.execute(
            "UPDATE simulations SET status = 'running', end_time = NULL WHERE simulation_id = ?",
            (row["simulation_id"],),
        )


def _data_tables(tables: Iterable[str] | None) -> tuple[str, ...]:
    chosen = DATA_TABLES if tables is None else tuple(tables)
    if unknown := [table for table in chosen if table not in DATA_TABLES]:
        raise InvalidRecordError(f"no data table: {', '.join(unknown)}; {', '.join(DATA_TABLES)}")
    return chosen
