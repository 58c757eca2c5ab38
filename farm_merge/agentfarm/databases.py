"""AgentFarm's databases: those of this package, with the calls of its simulation on top."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from farm_merge import database, experiment_database
from farm_merge.agentfarm.logger import DataLogger, DataLoggingConfig
from farm_merge.agentfarm.sessions import Sessions
from farm_merge.agentfarm.settings import database_settings, setting, stored_parameters
from farm_merge.database import SimulationWriter
from farm_merge.database.opening import close_database, naming, open_database
from farm_merge.database.registry import stored_json
from farm_merge.errors import InvalidOptionError, InvalidRecordError, SimulationExistsError
from farm_merge.schema import DATA_TABLES, stored_time
from farm_merge.sqlite import sqlite3, transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from os import PathLike

    from farm_merge.config import DatabaseConfig

__all__ = [
    "ExperimentDatabase",
    "InMemorySimulationDatabase",
    "SimulationContext",
    "SimulationDatabase",
]

_log = logging.getLogger(__name__)


class _Calls(SimulationWriter, Sessions):
    """What AgentFarm's simulation calls on its database, whatever that is."""

    logger_class: ClassVar[type[DataLogger]] = DataLogger
    logger: DataLogger
    _has_record = False

    def add_simulation_record(
        self, simulation_id: str, start_time: datetime, status: str, parameters: Mapping[str, Any]
    ) -> None:
        """Enter what is known of the simulation as it begins.

        Raises:
            SimulationExistsError: If it was entered before.
            InvalidRecordError: If this is the database of another simulation.
        """
        if simulation_id != self.simulation_id:
            raise InvalidRecordError(
                f"this is the database of simulation {self.simulation_id!r}, not {simulation_id!r}"
            )
        if self._has_record:
            raise SimulationExistsError(f"simulation {simulation_id!r} has its record already")
        self._change(
            start_time=stored_time(start_time),
            status=status,
            parameters=stored_json(parameters),
            seed=parameters.get("seed"),
        )
        self._has_record = True

    def update_simulation_record(
        self,
        simulation_id: str,
        *,
        status: str | None = None,
        end_time: datetime | None = None,
        results_summary: Mapping[str, Any] | None = None,
        simulation_db_path: str | None = None,
    ) -> None:
        """Change what is known of the simulation; None leaves it, and so does another id."""
        if simulation_id != self.simulation_id:
            _log.warning("%r is not simulation %r: not updated", simulation_id, self.simulation_id)
            return
        self.flush_all_buffers()
        self._change(
            status=status,
            end_time=None if end_time is None else stored_time(end_time),
            results_summary=None if results_summary is None else stored_json(results_summary),
            simulation_db_path=simulation_db_path,
        )

    def _change(self, **columns: Any) -> None:
        known = {name: value for name, value in columns.items() if value is not None}
        changes = ", ".join(f"{name} = :{name}" for name in known)
        with naming(self._path), transaction(self._connection, "IMMEDIATE"):
            if known:
                self._connection.execute(
                    f"UPDATE simulations SET {changes} WHERE simulation_id = :own",
                    {**known, "own": self.simulation_id},
                )
            self._report_refusals()

    def update_agent_death(self, agent_id: str, death_time: int, cause: str = "starvation") -> None:
        """Record an agent's death; of an agent that was never logged, nothing."""
        if self.logger.knows(agent_id):
            final = {"final_state": "dead"}
            self.logger.log_death(agent_id, death_time, cause, health_before=0.0, details=final)

    def log_step(self, *args: Any, **kwargs: Any) -> None:
        """Log a step, as the logger does."""
        self.logger.log_step(*args, **kwargs)

    def log_agent(self, *args: Any, **kwargs: Any) -> None:
        """Log an agent, as the logger does."""
        self.logger.log_agent(*args, **kwargs)

    def log_agent_action(self, *args: Any, **kwargs: Any) -> None:
        """Log an action, as the logger does."""
        self.logger.log_agent_action(*args, **kwargs)

    def log_health_incident(self, *args: Any, **kwargs: Any) -> None:
        """Log a change of health, as the logger does."""
        self.logger.log_health_incident(*args, **kwargs)

    def _end(self, status: str | None) -> None:
        if self.logger.needs_flush:  # maybe logged after it was closed
            self.flush_all_buffers()
            self._closed = False
        super()._end(status)


class SimulationDatabase(_Calls, database.SimulationDatabase):
    """A file of one simulation; what is logged after it was closed opens it again.

    Args:
        db_path: The file; an empty one for a database that nobody keeps.
        config: A configuration of AgentFarm's, an object or a dictionary, or of this package's.
        simulation_id: Unique in an experiment.
        resume: Go on with a simulation that is there.

    Raises:
        InvalidOptionError: If there is no simulation_id.
        SimulationExistsError: If the simulation is there and `resume` is not set.
        OutputError: If the file is something else, or cannot be written.
    """

    reopens: ClassVar[bool] = True

    def __init__(
        self,
        db_path: str | PathLike[str],
        config: Any = None,
        simulation_id: str | None = None,
        *,
        resume: bool = False,
    ) -> None:
        self._settings = database_settings(config)
        self._file = Path(db_path) if os.fspath(db_path) else self._file_that_nobody_keeps()
        super().__init__(
            self._file,
            None,
            _required(simulation_id),
            settings=self._settings,
            parameters=stored_parameters(config),
            resume=resume,
        )
        self.config = config
        self.db_path = db_path  # type: ignore[assignment]  # AgentFarm's is what it was given

    def _file_that_nobody_keeps(self) -> Path:
        folder = tempfile.mkdtemp(prefix="farm-merge-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder, "simulation.db")

    @property
    def _connection(self) -> sqlite3.Connection:
        if self._closed:
            self._open = open_database(self._file, self._settings)
            self._closed = False
        return self._open

    @_connection.setter
    def _connection(self, connection: sqlite3.Connection) -> None:
        self._open = connection

    def _release(self) -> None:
        close_database(self._open)


class InMemorySimulationDatabase(_Calls, database.InMemorySimulationDatabase):
    """A simulation's database in memory.

    Args:
        memory_limit_mb: How large it may grow in memory; it goes on in a file then, where
            AgentFarm's own stops nothing. `get_memory_usage` compares with it.
        config: A configuration of AgentFarm's, an object or a dictionary, or of this package's.
        simulation_id: Unique in an experiment.

    Raises:
        InvalidOptionError: If there is no simulation_id.
    """

    db_path = ":memory:"

    def __init__(
        self,
        memory_limit_mb: int | None = None,
        config: Any = None,
        simulation_id: str | None = None,
    ) -> None:
        limit = memory_limit_mb or setting(config, "in_memory_db_memory_limit_mb")
        super().__init__(
            limit,
            None,
            _required(simulation_id),
            settings=database_settings(config),
            parameters=stored_parameters(config),
        )
        self.config = config
        self.memory_limit_mb = limit
        self.memory_usage_samples: list[float] = []

    def get_memory_usage(self) -> dict[str, Any]:
        """Return how large the database is.

        Returns:
            `current_mb`; `limit_mb` and `usage_percent` of it, None without a limit; and `trend`,
            "increasing" or "stable", against two calls before.
        """
        pages, size = (
            self._execute(f"PRAGMA {pragma}", ()).fetchone()[0]
            for pragma in ("page_count", "page_size")
        )
        current, limit = pages * size / 2**20, self.memory_limit_mb
        self.memory_usage_samples = [*self.memory_usage_samples[-4:], current]
        before = self.memory_usage_samples[-3:][0]
        return {
            "current_mb": current,
            "limit_mb": limit,
            "usage_percent": current / limit * 100 if limit else None,
            "trend": "increasing" if current > before * 1.05 else "stable",
        }

    def persist_to_disk(
        self,
        db_path: str | PathLike[str],
        tables: Iterable[str] | None = None,
        show_progress: bool = True,
        *,
        ended: bool = True,
    ) -> dict[str, Any]:
        """Write the simulation to a file, or merge it into an experiment database that exists.

        Args:
            db_path: The file.
            tables: Those to write, all by default; what is known of the simulation always is.
            show_progress: Draw a bar while pages are copied, where a person is looking.
            ended: Whether the run is over: if it is still `running`, it is `completed` in the file.

        Returns:
            What this package's own does, and AgentFarm's `tables_copied`, `rows_copied`,
            `tables_skipped`, `start_time`, `end_time` and `duration`, in seconds.

        Raises:
            OutputError: If the file is something else, or cannot be written.
            ConflictError: If the experiment database has other data under this simulation_id.
        """
        started = time.time()
        chosen = set(tables or DATA_TABLES)
        kept = [table for table in DATA_TABLES if table in chosen]
        done = super().persist_to_disk(db_path, kept, show_progress, ended=ended)
        return {
            **done,
            # One more: the simulation's own row.
            "tables_copied": 1 + sum(count > 0 for count in done["rows"].values()),
            "rows_copied": 1 + done["total_rows"],
            "tables_skipped": len(DATA_TABLES) - len(kept),
            "start_time": started,
            "end_time": time.time(),
            "duration": done["seconds"],
        }


class SimulationContext(_Calls, experiment_database.SimulationContext):
    """A simulation in an experiment database; it answers the calls of a database of its own."""

    reopens: ClassVar[bool] = True

    @property
    def db_path(self) -> str:
        """The experiment database."""
        return self._path


class ExperimentDatabase(experiment_database.ExperimentDatabase, Sessions):
    """An experiment database whose contexts answer what AgentFarm's simulation calls.

    Args:
        db_path: The file.
        experiment_id: The experiment.
        config: A configuration of AgentFarm's, an object or a dictionary, or of this package's.

    Raises:
        OutputError: If the file is something else, or cannot be written.
    """

    context_class: ClassVar[type[SimulationContext]] = SimulationContext
    simulation_id = None

    def __init__(
        self, db_path: str | PathLike[str], experiment_id: str, config: Any = None
    ) -> None:
        super().__init__(
            db_path,
            experiment_id,
            settings=database_settings(config),
            name=f"Experiment {experiment_id}",
            description="Created with ExperimentDatabase",
        )
        self.config = config

    def create_simulation_context(
        self,
        simulation_id: str,
        parameters: Mapping[str, Any] | None = None,
        logging_config: DataLoggingConfig | None = None,
        *,
        settings: DatabaseConfig | None = None,
        resume: bool = False,
    ) -> SimulationContext:
        """Register a simulation and return what it writes to.

        Args:
            simulation_id: Unique in the database.
            parameters: What is stored with it; `seed` among them is stored as its seed too.
            logging_config: How its rows are buffered; by default as the experiment's.
            settings: The same, in this package's words.
            resume: Go on with a simulation that is there.

        Raises:
            SimulationExistsError: If the simulation is there and `resume` is not set.
        """
        if logging_config is not None:
            settings = (settings or self._settings).model_copy(
                update={
                    "buffer_size": logging_config.buffer_size,
                    "commit_interval_seconds": logging_config.commit_interval,
                }
            )
        context = super().create_simulation_context(
            simulation_id, parameters, settings=settings, resume=resume
        )
        return cast("SimulationContext", context)

    def update_agent_death(self, agent_id: str, death_time: int, cause: str = "starvation") -> None:
        """Record an agent's death in the simulation that has it and is not closed.

        Raises:
            InvalidRecordError: If several have it; their contexts know which one is meant.
        """
        found = [
            context
            for context in self._contexts
            if context.is_open and context.logger.knows(agent_id)
        ]
        if len(found) > 1:
            error = InvalidRecordError(f"agent {agent_id!r} is in {len(found)} open simulations")
            for context in found:
                context.logger.refused.add("update_agent_death", error)
            raise error
        for context in found:
            context.update_agent_death(agent_id, death_time, cause)


def _required(simulation_id: str | None) -> str:
    if not simulation_id:
        raise InvalidOptionError("simulation_id is needed")
    return simulation_id
