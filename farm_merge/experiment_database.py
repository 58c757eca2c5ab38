"""One database for all simulations of an experiment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from farm_merge.database import (
    SimulationWriter,
    close_database,
    open_database,
    open_session,
    set_simulation_status,
)
from farm_merge.read.open import frame
from farm_merge.schema import now
from farm_merge.sqlite import file_uri

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from os import PathLike
    from types import TracebackType

    import pandas as pd
    from sqlalchemy.orm import Session

    from farm_merge.config import SimulationConfig

__all__ = ["ExperimentDatabase", "SimulationContext"]


class SimulationContext(SimulationWriter):
    """A simulation in an experiment database; the same interface as `SimulationDatabase`."""


class ExperimentDatabase:
    """An experiment database that simulations write themselves, one after the other or at once.

    For many simulations in parallel, shards and a merge are faster: SQLite has one writer a file.

    Args:
        db_path: The file; its folder is made. An existing one must be of today's schema.
        experiment_id: The experiment; registered if it is new.
        config: Its database settings govern the file and the buffers.

    Raises:
        OutputError: If the file is something else.
    """

    def __init__(
        self,
        db_path: str | PathLike[str],
        experiment_id: str,
        config: SimulationConfig | None = None,
    ) -> None:
        self.db_path = Path(db_path)
        self.experiment_id = experiment_id
        self.config = config
        self._contexts: list[SimulationContext] = []
        self._closed = False
        self._connection = open_database(self.db_path, config)
        self._connection.execute(
            "INSERT OR IGNORE INTO experiments"
            " (experiment_id, name, creation_date, last_updated, status)"
            " VALUES (:id, :id, :now, :now, 'running')",
            {"id": experiment_id, "now": now()},
        )

    def create_simulation_context(
        self,
        simulation_id: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        resume: bool = False,
    ) -> SimulationContext:
        """Register a simulation and return what it writes to.

        Args:
            simulation_id: Unique in the database.
            parameters: What is stored with it; `seed` among them is stored as its seed too.
            resume: Go on with a simulation that is there.

        Raises:
            SimulationExistsError: If the simulation is there and `resume` is not set.
        """
        context = SimulationContext(
            self._connection,
            lambda: open_session(file_uri(self.db_path)),
            self.config,
            simulation_id,
            path=str(self.db_path.absolute()),
            experiment_id=self.experiment_id,
            parameters={} if parameters is None else parameters,
            resume=resume,
        )
        self._contexts.append(context)
        return context

    def Session(self) -> Session:  # noqa: N802  (the name that users know)
        """Open an SQLAlchemy session that sees everything logged so far."""
        self.flush_all_buffers()
        return open_session(file_uri(self.db_path))

    def frame(
        self,
        table: str,
        simulation_id: str | Iterable[str] | None = None,
        steps: range | None = None,
    ) -> pd.DataFrame:
        """Return rows of a table as a pandas frame, with everything logged so far.

        Args:
            table: Its name.
            simulation_id: One simulation or several; None for all in the database.
            steps: A range of steps, where the table has them; None for all.

        Raises:
            ShardError: If there is no such table.
        """
        self.flush_all_buffers()
        return frame(self.db_path, table, simulation_id, steps)

    def flush_all_buffers(self) -> None:
        """Write everything that the simulations' loggers hold."""
        for context in self._contexts:
            context.flush_all_buffers()

    def get_simulation_ids(self) -> list[str]:
        """Return the ids of this experiment's simulations, in order."""
        rows = self._connection.execute(
            "SELECT simulation_id FROM simulations WHERE experiment_id = ? ORDER BY simulation_id",
            (self.experiment_id,),
        )
        return [simulation_id for (simulation_id,) in rows]

    def update_simulation_status(
        self,
        simulation_id: str,
        status: str,
        results_summary: Mapping[str, Any] | None = None,
    ) -> None:
        """Record how a simulation stands; any status but "running" and "pending" ends it.

        Raises:
            FarmMergeError: If there is no such simulation.
        """
        self.flush_all_buffers()
        set_simulation_status(self._connection, simulation_id, status, results_summary)

    def update_experiment_status(
        self, status: str, results_summary: Mapping[str, Any] | None = None
    ) -> None:
        """Record how the experiment stands."""
        summary = (
            None if results_summary is None else json.dumps(dict(results_summary), default=str)
        )
        self._connection.execute(
            "UPDATE experiments SET status = ?, last_updated = ?,"
            " results_summary = coalesce(?, results_summary) WHERE experiment_id = ?",
            (status, now(), summary, self.experiment_id),
        )

    def close(self) -> None:
        """Write what is held, and leave one file, unless another process has it open."""
        if self._closed:
            return
        for context in self._contexts:
            context.close()
        self._closed = True
        close_database(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
