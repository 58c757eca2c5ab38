"""Recorder: what a model collects becomes a shard, after a run or while it goes on."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from farm_merge.database import SimulationDatabase
from farm_merge.errors import InvalidOptionError, yielding_to
from farm_merge.mesa.collected import (
    collector_of,
    described,
    log_agents,
    log_model,
    log_tables,
    parameters_of,
    plain_step,
    seed_of,
    steps_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from os import PathLike
    from types import TracebackType

    from farm_merge.database import SimulationWriter

__all__ = ["Recorder", "record", "write_collected"]


def record(
    model: Any,
    path: str | PathLike[str],
    *,
    parameters: Mapping[str, Any] | None = None,
    seed: int | None = None,
    simulation_id: str | None = None,
    experiment_id: str | None = None,
    status: str = "completed",
) -> Path:
    """Write what a model has collected into a shard.

    Args:
        model: The model, after its run; what it collected stays.
        path: The shard; one that is there gets one simulation more.
        parameters: What the model was made with; by default those arguments of its `__init__` that
            are its attributes, too.
        seed: What its randomness started from; by default what the model says.
        simulation_id: Its name; the file's stem by default.
        experiment_id: The experiment it belongs to.
        status: How the run ended.

    Returns:
        The path.

    Raises:
        FarmMergeError: If the model has no DataCollector.
        SimulationExistsError: If the shard has that simulation.
        OutputError: If it cannot be written.
    """
    collector_of(model)
    with _database(model, path, parameters, seed, simulation_id, experiment_id) as database:
        write_collected(database, model, status)
    return Path(path)


def write_collected(
    database: SimulationWriter,
    model: Any,
    status: str,
    summary: Mapping[str, Any] | None = None,
    agents_at: Callable[[int | float], bool] | None = None,
) -> None:
    """Write what a model has collected, and that its run has ended.

    Args:
        database: Where.
        model: The model, after its run.
        status: How it ended.
        summary: Stored with it, beside its last step.
        agents_at: Whether the agents of a step are written; of all by default.
    """
    collector, logger = collector_of(model), database.logger
    with _uncollected():
        log_model(logger, collector, steps_of(model), 0)
        log_agents(logger, collector, agents_at or (lambda _: True))
        log_tables(logger, collector, lambda _: 0)
        steps = {"steps": plain_step(model.steps)}
        database.update_simulation_status(status, {**steps, **(summary or {})})


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pause Python's search for cycles: rows have none, and their number would set it off often.

    It goes through every object of every model that is there, and took more time than writing did.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class Recorder:
    """Records a model while it runs: what it collects is written, and let go of.

    Memory stays flat: the DataCollector keeps its last collections only, and its frames show no
    more; the shard has all. In a `with` statement, a run that raises has `failed`.

    Args:
        model: The model.
        path: The shard.
        every: After how many collections they are written.
        keep: How many collections the DataCollector keeps, for a model that looks back.
        parameters: As for `record`.
        seed: As for `record`.
        simulation_id: As for `record`.
        experiment_id: As for `record`.

    Raises:
        FarmMergeError: If the model has no DataCollector.
        InvalidOptionError: If a number is less than 1.
        SimulationExistsError: If the shard has that simulation.
        OutputError: If it cannot be written.
    """

    def __init__(
        self,
        model: Any,
        path: str | PathLike[str],
        *,
        every: int = 100,
        keep: int = 1,
        parameters: Mapping[str, Any] | None = None,
        seed: int | None = None,
        simulation_id: str | None = None,
        experiment_id: str | None = None,
    ) -> None:
        for name, number in (("every", every), ("keep", keep)):
            if number < 1:
                raise InvalidOptionError(f"{name} is {number!r}; it takes a number from 1")
        self.path = Path(path)
        self._model = model
        self._every = every
        self._keep = keep
        self._collector = collector_of(model)
        self._collect = self._collector.collect
        self._steps = steps_of(model)
        self._logged = 0  # of the collections that the DataCollector holds
        self._logged_rows: dict[str, int] = {}
        self._logged_agents: set[int | float] = set()
        self._waiting = len(self._steps)
        self._is_open = True
        self._database = _database(model, path, parameters, seed, simulation_id, experiment_id)
        self._collector.collect = self._collected

    def _collected(self, model: Any) -> None:
        """Collect as the DataCollector does, and write when there is enough."""
        if self._waiting >= self._every:
            self.flush()  # before: a step that is collected again replaces its agents
        self._collect(model)
        self._steps.append(plain_step(getattr(model, "time", model.steps)))
        self._waiting += 1

    def flush(self) -> None:
        """Write what was collected, but the agents of the last step, which may come again.

        Raises:
            OutputError: If SQLite cannot write.
        """
        self._write(last=False)
        self._database.flush_all_buffers()
        self._let_go()

    def close(self, status: str = "completed") -> None:
        """Write the rest, and let the DataCollector collect as before.

        Raises:
            RefusedRowsError: If rows could not be stored; all others are.
            OutputError: If SQLite cannot write.
        """
        if not self._is_open:
            return
        self._write(last=True)
        self._is_open = False
        del self._collector.collect  # the method of its class comes back
        steps = {"steps": plain_step(self._model.steps)}
        self._database.update_simulation_status(status, steps)
        self._database.close()

    @_uncollected()
    def _write(self, *, last: bool) -> None:
        collector, logger = self._collector, self._database.logger
        log_model(logger, collector, self._steps, self._logged)
        self._logged = len(self._steps)
        newest = plain_step(max(collector._agent_records, default=0))  # noqa: SLF001
        newest = max(newest, plain_step(max(collector._agenttype_records, default=0)))  # noqa: SLF001
        log_agents(
            logger,
            collector,
            lambda step: step not in self._logged_agents and (last or step != newest),
        )
        held = {*collector._agent_records, *collector._agenttype_records}  # noqa: SLF001
        self._logged_agents |= {step for it in held if (step := plain_step(it)) != newest}
        log_tables(logger, collector, lambda name: self._logged_rows.get(name, 0))
        for name, columns in collector.tables.items():
            self._logged_rows[name] = max(map(len, columns.values()), default=0)
        self._waiting = 0

    def _let_go(self) -> None:
        """Let the DataCollector forget what is written."""
        collector, keep = self._collector, self._keep
        known = getattr(collector, "_collection_steps", [])
        for values in (self._steps, known, *collector.model_vars.values()):
            del values[:-keep]
        self._logged = len(self._steps)
        for records in (collector._agent_records, collector._agenttype_records):  # noqa: SLF001
            for step in list(records)[:-keep]:
                del records[step]
        kept = {*collector._agent_records, *collector._agenttype_records}  # noqa: SLF001
        self._logged_agents &= set(map(plain_step, kept))
        for name, columns in collector.tables.items():
            for values in columns.values():
                del values[:-keep]
            self._logged_rows[name] = max(map(len, columns.values()), default=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with yielding_to(error):
            self.close("completed" if error is None else "failed")


def _database(
    model: Any,
    path: str | PathLike[str],
    parameters: Mapping[str, Any] | None,
    seed: int | None,
    simulation_id: str | None,
    experiment_id: str | None,
) -> SimulationDatabase:
    given = parameters_of(model) if parameters is None else parameters
    return SimulationDatabase(
        path,
        simulation_id=simulation_id,
        experiment_id=experiment_id,
        parameters={name: described(value) for name, value in given.items()},
        seed=seed_of(model) if seed is None else seed,
    )
