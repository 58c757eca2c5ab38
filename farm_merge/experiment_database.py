"""One database for all simulations of an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from farm_merge.database.opening import close_database, naming, open_database, open_session
from farm_merge.database.registry import set_status
from farm_merge.database.writer import SimulationWriter, settings_of
from farm_merge.errors import FarmMergeError, RefusedRowsError, yielding_to
from farm_merge.notebook import html_table
from farm_merge.read.open import frame
from farm_merge.read.where import STATUS
from farm_merge.schema import now
from farm_merge.sqlite import file_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from os import PathLike
    from types import TracebackType

    import pandas as pd
    import sqlite_utils
    from sqlalchemy.orm import Session

    from farm_merge.config import DatabaseConfig, SimulationConfig

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
        settings: How the file is written; by default as in the configuration.
        name: Of the experiment, for people; its id by default.
        description: Of the experiment, for people.

    Raises:
        OutputError: If the file is something else, or cannot be written.
    """

    context_class: ClassVar[type[SimulationContext]] = SimulationContext

    def __init__(
        self,
        db_path: str | PathLike[str],
        experiment_id: str,
        config: SimulationConfig | None = None,
        *,
        settings: DatabaseConfig | None = None,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        self.db_path = Path(db_path)
        self.experiment_id = experiment_id
        self.config = config
        self._settings = settings_of(config, settings)
        self._contexts: list[SimulationContext] = []
        self._closed = False
        self._connection = open_database(self.db_path, self._settings, experiment=True)
        experiment = (experiment_id, name or experiment_id, description, now(), now())
        with naming(self.db_path):
            self._connection.execute(
                "INSERT OR IGNORE INTO experiments"
                " (experiment_id, name, description, creation_date, last_updated, status)"
                " VALUES (?, ?, ?, ?, ?, 'running')",
                experiment,
            )

    def __repr__(self) -> str:
        return f"<ExperimentDatabase {self._summary()}>"

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the simulations, as far as they are written."""
        rows = (
            ()
            if self._closed
            else self._connection.execute(
                f"SELECT simulation_id, {STATUS}, seed, parameters FROM simulations"
                " WHERE experiment_id = ? ORDER BY simulation_id",
                (self.experiment_id,),
            ).fetchall()
        )
        columns = ["simulation", "status", "seed", "parameters"]
        return html_table(self._summary(), columns, rows, len(rows))

    def _summary(self) -> str:
        state = "closed" if self._closed else _number(len(self.get_simulation_ids()))
        return f"{self.db_path}: experiment {self.experiment_id}, {state}"

    @property
    def db(self) -> sqlite_utils.Database:
        """The experiment as sqlite-utils sees it, with everything logged so far.

        It has this object's own connection: what is written through it is in turn with what the
        simulations log. Importing sqlite-utils takes a moment, so it is done here.
        """
        import sqlite_utils

        self.flush_all_buffers()
        return sqlite_utils.Database(self._connection, execute_plugins=False)

    def create_simulation_context(
        self,
        simulation_id: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        settings: DatabaseConfig | None = None,
        resume: bool = False,
    ) -> SimulationContext:
        """Register a simulation and return what it writes to.

        Args:
            simulation_id: Unique in the database.
            parameters: What is stored with it; `seed` among them is stored as its seed too.
            settings: How its rows are buffered; by default as the experiment's.
            resume: Go on with a simulation that is there.

        Raises:
            SimulationExistsError: If the simulation is there and `resume` is not set.
        """
        context = self.context_class(
            self._connection,
            lambda: open_session(file_uri(self.db_path)),
            self.config,
            simulation_id,
            path=str(self.db_path.absolute()),
            settings=settings or self._settings,
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
            ShardError: If there is no such table or simulation, or the table has no steps.
        """
        self.flush_all_buffers()
        return frame(self.db_path, table, simulation_id, steps)

    def flush_all_buffers(self) -> None:
        """Write everything that the simulations' loggers hold.

        Raises:
            OutputError: If SQLite cannot write some of it; the rest is written.
        """
        if problems := self._in_all_contexts(SimulationContext.flush_all_buffers):
            raise problems[0]

    def _in_all_contexts(self, act: Callable[[SimulationContext], None]) -> list[FarmMergeError]:
        """Do something for every simulation, whatever becomes of the others."""
        problems = []
        for context in self._contexts:
            try:
                act(context)
            except FarmMergeError as exc:
                problems.append(exc)
        return problems

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
        """Record the status of a simulation; any status but "running" and "pending" ends it.

        Raises:
            FarmMergeError: If there is no such simulation.
        """
        for context in reversed(self._contexts):  # one that was resumed has the rows
            if context.simulation_id == simulation_id:
                context.update_simulation_status(status, results_summary)
                return
        with naming(self.db_path):
            set_status(self._connection, simulation_id, status, results_summary)

    def update_experiment_status(
        self, status: str, results_summary: Mapping[str, Any] | None = None
    ) -> None:
        """Record the status of the experiment."""
        changes: dict[str, Any] = {"status": status, "last_updated": now()}
        if results_summary is not None:
            changes["results_summary"] = dict(results_summary)
        with naming(self.db_path):
            self.db.table("experiments").update(self.experiment_id, changes)

    def close(self) -> None:
        """Write what is held, and leave one file, unless another process has it open.

        Raises:
            RefusedRowsError: If rows were refused; everything else is written, and all is closed.
            OutputError: If SQLite cannot write something; it is still held, and open, then.
        """
        if self._closed:
            return
        problems = self._in_all_contexts(SimulationContext.close)
        for problem in problems:
            if not isinstance(problem, RefusedRowsError):
                raise problem
        self._closed = True
        with naming(self.db_path):
            close_database(self._connection)
        if problems:
            raise RefusedRowsError(
                "not all rows could be stored", path=self.db_path, causes=problems
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with yielding_to(error):
            self.close()


def _number(simulations: int) -> str:
    return f"{simulations:,} simulation{'' if simulations == 1 else 's'}"
