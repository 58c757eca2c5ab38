"""The writer: what a simulation needs to record itself, whatever database it is in."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, ClassVar, Self

from farm_merge.config import DatabaseConfig
from farm_merge.data_logging import DataLogger
from farm_merge.data_logging.records import as_value
from farm_merge.database.opening import naming
from farm_merge.database.provenance import provenance
from farm_merge.database.registry import (
    end_simulation,
    register,
    report_refusals,
    set_status,
    stored_json,
)
from farm_merge.errors import InvalidRecordError, RefusedRowsError, yielding_to
from farm_merge.schema import DATA_TABLES, now
from farm_merge.sqlite import column_types, quoted, sqlite3, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from sqlalchemy.orm import Session

    from farm_merge.config import SimulationConfig

__all__ = ["SimulationWriter", "require_data_table", "settings_of"]


class SimulationWriter:
    """What a simulation needs to record itself, whatever database it is in.

    Args:
        connection: The database, in autocommit mode.
        open_session: Makes an SQLAlchemy session on the same database.
        config: The simulation's configuration.
        simulation_id: Unique in the database.
        path: Where the database is, for the registry.
        settings: How the database is written; by default as in the configuration.
        experiment_id: The experiment it belongs to.
        parameters: What is stored with the simulation; the configuration by default.
        seed: What its randomness starts from; that of the configuration or parameters by default.
        resume: Go on with a simulation that is there.

    Attributes:
        simulation_id: Which simulation this is.
        logger: Takes the rows.
        config: The configuration, or None.

    Raises:
        SimulationExistsError: If the simulation is there and `resume` is not set.
        OutputError: If SQLite cannot write it.
    """

    logger_class: ClassVar[type[DataLogger]] = DataLogger
    reopens: ClassVar[bool] = False
    """Whether what is logged after `close` is still taken."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        open_session: Callable[[], Session],
        config: SimulationConfig | None,
        simulation_id: str,
        *,
        path: str,
        settings: DatabaseConfig | None = None,
        experiment_id: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        seed: int | None = None,
        resume: bool = False,
    ) -> None:
        self.simulation_id = simulation_id
        self.config = config
        self._connection = connection
        self._open_session = open_session
        self._path = path
        self._closed = False
        stored = _parameters(config, parameters)
        row = {
            "simulation_id": simulation_id,
            "experiment_id": experiment_id,
            "start_time": now(),
            "status": "running",
            "parameters": stored_json(stored),
            "simulation_db_path": path,
            "seed": stored.get("seed") if seed is None else seed,
            **provenance(),
        }
        with naming(path):
            register(connection, row, resume=resume)
            chosen = settings_of(config, settings)
            self.logger = self.logger_class(
                lambda: self._connection,
                simulation_id,
                buffer_size=chosen.buffer_size,
                commit_interval=chosen.commit_interval_seconds,
                make_room=self._make_room,
            )

    @property
    def is_open(self) -> bool:
        """Whether the simulation goes on."""
        return not self._closed

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
        known = column_types(self._connection, "agent_states")
        if unknown := sorted(state_data.keys() - known):
            raise InvalidRecordError(f"no column of agent_states: {', '.join(unknown)}")
        changes = ", ".join(f"{quoted(column)} = ?" for column in state_data)
        changed = self._execute(
            f"UPDATE agent_states SET {changes}"
            " WHERE simulation_id = ? AND step_number = ? AND agent_id = ?",
            (*map(as_value, state_data.values()), self.simulation_id, step_number, agent_id),
        ).rowcount
        if not changed:
            raise InvalidRecordError(f"agent {agent_id!r} has no state at step {step_number}")

    def save_configuration(self, config: Mapping[str, Any]) -> None:
        """Store a configuration; the newest one is what `get_configuration` returns."""
        self._execute(
            "INSERT INTO simulation_config (simulation_id, config_id, timestamp, config_data)"
            " SELECT :id, 1 + coalesce(max(config_id), 0), :now, :config"
            " FROM simulation_config WHERE simulation_id = :id",
            {"id": self.simulation_id, "now": int(time.time()), "config": stored_json(config)},
        )

    def get_configuration(self) -> dict[str, Any]:
        """Return the configuration that was saved last, or an empty dictionary."""
        row = self._execute(
            "SELECT config_data FROM simulation_config WHERE simulation_id = ?"
            " ORDER BY config_id DESC LIMIT 1",
            (self.simulation_id,),
        ).fetchone()
        return dict(json.loads(row[0])) if row else {}

    def get_table_row_count(self, table_name: str) -> int:
        """Return how many rows this simulation has in a data table, or one of the model's own.

        Raises:
            InvalidRecordError: If there is no such table.
        """
        if table_name not in self.logger.tables:
            require_data_table(table_name)
        self.flush_all_buffers()
        (count,) = self._execute(
            f"SELECT count(*) FROM {quoted(table_name)} WHERE simulation_id = ?",
            (self.simulation_id,),
        ).fetchone()
        return int(count)

    def update_simulation_status(
        self, status: str, results_summary: Mapping[str, Any] | None = None
    ) -> None:
        """Record the simulation's status; any status but "running" and "pending" ends it.

        A run of which rows were refused becomes "incomplete" instead of "completed".
        """
        self.flush_all_buffers()
        with naming(self._path), transaction(self._connection, "IMMEDIATE"):
            set_status(self._connection, self.simulation_id, status, results_summary)
            self._report_refusals()

    def cleanup(self) -> None:
        """Write what is held and let go of everything; the same as `close`."""
        self.close()

    def close(self) -> None:
        """Write what is held. The run has ended, whatever its status is.

        Raises:
            RefusedRowsError: If rows were refused; everything else is written, and all is closed.
        """
        self._end(None)

    def _end(self, status: str | None) -> None:
        if self._closed:
            return
        self.flush_all_buffers()
        with naming(self._path), transaction(self._connection, "IMMEDIATE"):
            end_simulation(self._connection, self.simulation_id, status)
            self._report_refusals()
        self._closed = True
        if not self.reopens:
            self.logger.close()
        with naming(self._path):
            self._release()
        if refused := self.logger.refused:
            raise RefusedRowsError(
                f"simulation {self.simulation_id!r}: {refused}",
                path=self._path,
                remedy="log what is missing; or, where that was seen to, forget it before closing:"
                " logger.refused.clear()",
            )

    def _report_refusals(self) -> None:
        if self.logger.refused:
            report_refusals(self._connection, self.simulation_id, self.logger.refused.rows)

    def _make_room(self) -> bool:
        """Make room in a database that is full; return whether that was possible."""
        return False

    def _release(self) -> None:
        """Let go of what this object alone holds."""

    def _execute(self, sql: str, values: Any) -> sqlite3.Cursor:
        with naming(self._path):
            return self._connection.execute(sql, values)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; a run that raised has failed, one that is still running is completed."""
        with yielding_to(error):
            self._end("completed" if error is None else "failed")


def settings_of(config: SimulationConfig | None, settings: DatabaseConfig | None) -> DatabaseConfig:
    """Return how a database is written: the settings, or those of the configuration."""
    if settings is not None:
        return settings
    return config.database if config else DatabaseConfig()


def _parameters(
    config: SimulationConfig | None, parameters: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what is stored with a simulation: its parameters, or its configuration."""
    if parameters is not None:
        return dict(parameters)
    return config.model_dump(exclude={"database"}) if config else {}


def require_data_table(table: str) -> None:
    """Refuse a table that simulations have no rows in.

    Raises:
        InvalidRecordError: If it is none of today's data tables.
    """
    if table not in DATA_TABLES:
        raise InvalidRecordError(f"no data table: {table!r}; there are {', '.join(DATA_TABLES)}")
