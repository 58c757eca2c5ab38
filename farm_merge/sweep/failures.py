"""Failures: what became of runs that did not complete, as rows of the experiment database."""

from __future__ import annotations

import json
import traceback
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from farm_merge.database.opening import naming
from farm_merge.database.provenance import provenance
from farm_merge.database.registry import stored_json
from farm_merge.merge.tables.structure import read_structure
from farm_merge.merge.write.registry import remove_simulation
from farm_merge.progress import silent
from farm_merge.publish import (
    building,
    existing_output,
    locked,
    new_output,
    read_output,
    require_experiment,
    workshop,
)
from farm_merge.schema import EXPERIMENT_MARK, create_schema, now, stored_time
from farm_merge.sqlite import connect, file_uri, sqlite3, transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from farm_merge.sweep.runs import Run

__all__ = ["Failure", "forget_failures", "record_failures"]

_LONGEST_TRACEBACK = 20_000


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that did not complete, and why.

    Attributes:
        run: The run.
        stage: What was going on: "start" of the worker or the model, "simulate", "store" of the
            shard, or "executor" for what is not the run's doing.
        exception: The name of the exception; "Killed" and "TimeoutError" are the sweep's own.
        message: What the exception says.
        traceback: Where it was raised; empty for a run that was killed.
        worker: The process and the host.
        seconds: How long the run went on.
        attempts: How often it was tried.
        partial: The unfinished shard of the run, if that is kept.
    """

    run: Run
    stage: str
    exception: str
    message: str
    traceback: str
    worker: str
    seconds: float
    attempts: int = 1
    partial: Path | None = None

    @classmethod
    def of(
        cls, run: Run, error: BaseException, *, stage: str, worker: str, seconds: float
    ) -> Failure:
        """Return the failure that an exception means."""
        text = "".join(traceback.format_exception(error))[-_LONGEST_TRACEBACK:]
        return cls(run, stage, type(error).__name__, str(error), text, worker, seconds)

    @property
    def reason(self) -> str:
        """The exception, as Python would print it."""
        return f"{self.exception}: {self.message}"

    def __str__(self) -> str:
        """Return what failed and why, in a line."""
        return f"{self.run.simulation_id}: {self.reason}"

    @property
    def record(self) -> dict[str, Any]:
        """What is stored of it."""
        stored = asdict(self)
        del stored["run"], stored["partial"]
        return stored

    def mark(self) -> bool:
        """Write the failure into the unfinished shard; return whether there is one to merge."""
        if self.partial is None:
            return False
        row = {column: value for column, value in _row(self).items() if column in _OUTCOME}
        changes = ", ".join(f"{column} = :{column}" for column in row)
        try:
            with closing(connect(file_uri(self.partial, mode="rw"))) as connection:
                changed = connection.execute(f"UPDATE simulations SET {changes}", row).rowcount
        except sqlite3.Error:  # it was killed before there was anything
            return False
        return changed == 1


def record_failures(output: Path, experiment_id: str, failures: Sequence[Failure]) -> None:
    """Write failures into an experiment database, new or existing; what completed stays.

    Args:
        output: The experiment database.
        experiment_id: What the runs belong to.
        failures: The failures.

    Raises:
        OutputError: If it cannot be written, or is something else.
    """
    with _written(output) as connection:
        connection.execute(
            "INSERT OR IGNORE INTO experiments (experiment_id, name, creation_date, status)"
            " VALUES (?, ?, ?, 'completed')",
            (experiment_id, experiment_id, now()),
        )
        for failure in failures:
            row: dict[str, Any] = {"experiment_id": experiment_id, **_row(failure)}
            changes = ", ".join(f"{column} = excluded.{column}" for column in row)
            connection.execute(
                f"INSERT INTO simulations ({', '.join(row)})"
                f" VALUES ({', '.join(f':{column}' for column in row)})"
                f" ON CONFLICT DO UPDATE SET {changes}"
                f" WHERE {_IS_FAILURE}",
                row,
            )


def forget_failures(output: Path, simulation_ids: Iterable[str]) -> None:
    """Remove the records of failures of runs that have completed since, and their rows.

    Raises:
        OutputError: If it cannot be written, or is something else.
    """
    if not output.exists():
        return
    ids = (json.dumps(list(simulation_ids)),)
    them = f"simulations WHERE simulation_id IN (SELECT value FROM json_each(?)) AND {_IS_FAILURE}"
    require_experiment(output)
    with naming(output), read_output(output) as connection:
        if not connection.execute(f"SELECT EXISTS (SELECT 1 FROM {them})", ids).fetchone()[0]:
            return
    with _written(output) as connection:
        structure = read_structure(connection)
        failed = connection.execute(f"SELECT simulation_id FROM {them}", ids).fetchall()
        for (simulation_id,) in failed:
            remove_simulation(connection, structure, simulation_id)


_IS_FAILURE = (
    "simulations.status = 'failed' AND simulations.results_summary ->> '$.failure' IS NOT NULL"
)
"""Whether a row records the failure of a run of a sweep."""

_OUTCOME = {"end_time", "status", "results_summary"}
"""What a failure changes in the row of a simulation that had begun."""


@contextmanager
def _written(output: Path) -> Iterator[sqlite3.Connection]:
    """Yield an experiment database in a transaction; it is made if there is none."""
    with locked(output, silent), naming(output):
        require_experiment(output)
        if output.exists():
            with existing_output(output) as connection, transaction(connection, "IMMEDIATE"):
                yield connection
            return
        with (
            workshop(output) as folder,
            new_output(output, folder) as partial,
            building(partial) as connection,
            transaction(connection),
        ):
            create_schema(connection, mark=EXPERIMENT_MARK, registry_only=True)
            yield connection


def _row(failure: Failure) -> dict[str, Any]:
    ended = datetime.now(UTC)
    return {
        "simulation_id": failure.run.simulation_id,
        "start_time": stored_time(ended - timedelta(seconds=failure.seconds)),
        "end_time": stored_time(ended),
        "status": "failed",
        "parameters": stored_json(failure.run.record),
        "results_summary": stored_json({"failure": failure.record}),
        "simulation_db_path": "",
        "seed": failure.run.seed,
        **provenance(),
    }
