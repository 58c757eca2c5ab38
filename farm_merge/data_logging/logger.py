"""The logger: rows are checked at the call, buffered, and written when there are many.

What does not fit is refused, and counted: a caller that catches every error learns of it when the
database is closed.
"""

from __future__ import annotations

import time
from functools import wraps
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from farm_merge.data_logging.buffers import Buffers
from farm_merge.data_logging.records import (
    AGENT_STATE,
    METRICS,
    RESOURCE_STATE,
    as_details,
    as_json,
    as_key,
    as_metric,
    as_number,
    as_plain,
    as_rows,
    as_step,
    as_value,
)
from farm_merge.data_logging.refusals import Refusals
from farm_merge.errors import FarmMergeError, InvalidRecordError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from farm_merge.sqlite import sqlite3

__all__ = ["DataLogger"]

_Method = TypeVar("_Method", bound="Callable[..., None]")


def _taking(take: _Method) -> _Method:
    """Count what a method refuses, arguments that it does not know included; flush when due."""

    @wraps(take)
    def method(self: DataLogger, *args: Any, **kwargs: Any) -> None:
        try:
            take(self, *args, **kwargs)
        except Exception as exc:
            self.refused.add(take.__name__, exc)
            raise
        self.flush_if_needed()

    return cast("_Method", method)


class DataLogger:
    """Takes the rows of one simulation and writes them in bulk.

    Metrics, and further arguments of `log_agent`, that the schema has no column for get one of
    their own, without a type, so that every value is stored as it is. Those of events are kept in
    their `details`.

    Args:
        connect: Returns where to write; in autocommit mode, as transactions are this class's own.
        simulation_id: The simulation that all rows belong to.
        buffer_size: Rows that are held before they are written.
        commit_interval: After how many seconds they are written in any case.
        make_room: Tries to, when the database is full, and returns whether it could.

    Attributes:
        simulation_id: The simulation that all rows belong to.
        refused: The rows that did not fit.
    """

    added_types: ClassVar[Mapping[str, str]] = {}
    """The types of columns that are added, by name; others get none."""

    metric_defaults: ClassVar[Mapping[str, float]] = {}
    """What metrics are stored as that a step lacks; NULL by default."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        simulation_id: str,
        *,
        buffer_size: int,
        commit_interval: float,
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        self.simulation_id = simulation_id
        self.refused = Refusals()
        self._buffer_size = buffer_size
        self._commit_interval = commit_interval
        self._buffers = Buffers(connect, simulation_id, make_room, self.refused)
        self._last_flush = time.monotonic()
        self._last_step = self._buffers.last_step()
        self._agents = self._buffers.stored_agents()
        self._metrics: dict[str, None] = dict.fromkeys(METRICS)

    @_taking
    def log_step(
        self,
        step_number: int,
        agent_states: Sequence[Sequence[Any]],
        resource_states: Sequence[Sequence[Any]],
        metrics: Mapping[str, Any],
    ) -> None:
        """Log the state of everything at a step; logging a step again replaces it.

        Args:
            step_number: From 0.
            agent_states: Tuples `(agent_id, position_x, position_y, resource_level,
                current_health, starting_health, starvation_counter, is_defending, total_reward,
                age)`, one an agent.
            resource_states: Tuples `(resource_id, amount, position_x, position_y)`.
            metrics: Columns of `simulation_steps` by name; new names become new columns.

        Raises:
            InvalidRecordError: If anything does not fit, before anything of the step is buffered.
        """
        step = as_step(step_number)
        states = self._distinct(as_rows("agent state", AGENT_STATE, agent_states))
        resources = as_rows("resource state", RESOURCE_STATE, resource_states)
        given = {**self.metric_defaults, **metrics}
        if unknown := given.keys() - self._metrics.keys():
            self._buffers.add_columns("simulation_steps", unknown, self.added_types)
            self._metrics |= dict.fromkeys(self._buffers.added["simulation_steps"])
        values = tuple([as_metric(name, value) for name, value in (self._metrics | given).items()])
        if step <= self._last_step:
            # What is buffered of the step is written, and replaced by the same transaction that
            # writes the new rows: at no time is there neither.
            self.flush_all_buffers()
            self._buffers.replace_step(step)
        self._last_step = max(self._last_step, step)
        key = (self.simulation_id, step)
        self._buffers.extend("agent_states", [key + state for state in states])
        first = self._buffers.take_ids("resource_states", len(resources))
        self._buffers.extend(
            "resource_states",
            [
                (self.simulation_id, number, step, *resource)
                for number, resource in enumerate(resources, first)
            ],
        )
        self._buffers.extend("simulation_steps", [key + values])

    def _distinct(self, states: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        if len({state[0] for state in states}) != len(states):
            raise InvalidRecordError("an agent has more than one state in a step")
        return states

    @_taking
    def log_agent(
        self,
        agent_id: str,
        birth_time: int,
        agent_type: str,
        position: tuple[float, float],
        initial_resources: float,
        starting_health: float,
        genome_id: str | None = None,
        generation: int = 0,
        action_weights: Mapping[str, float] | None = None,
        **more: Any,
    ) -> None:
        """Log an agent's creation.

        Args:
            agent_id: Unique in the simulation.
            birth_time: The step at which it was made.
            agent_type: Its kind.
            position: Where, as (x, y).
            initial_resources: What it started with.
            starting_health: Its health at birth.
            genome_id: Its genome.
            generation: 0 for founders.
            action_weights: The weight of each action, by name.
            more: Anything else, in columns of these names; `simulation_id` may be among them.

        Raises:
            InvalidRecordError: If a value does not fit, or the agent was logged before.
        """
        agent = as_key("agent_id", agent_id)
        if agent in self._agents:
            raise InvalidRecordError(f"agent {agent!r} was logged before")
        if more.pop("simulation_id", self.simulation_id) != self.simulation_id:
            raise InvalidRecordError(f"agent {agent!r} is of another simulation")
        x, y = position
        row = (birth_time, agent_type, x, y, initial_resources, starting_health, genome_id)
        if unknown := more.keys() - set(self._buffers.added["agents"]):
            self._buffers.add_columns("agents", unknown, self.added_types)
        added = [as_value(more.get(name)) for name in self._buffers.added["agents"]]
        values = (*map(as_plain, row), as_plain(generation), as_json(action_weights), *added)
        self._buffers.extend("agents", [(self.simulation_id, agent, *values)])
        self._agents.add(agent)

    def log_agents_batch(self, agent_data_list: Iterable[Mapping[str, Any]]) -> None:
        """Log many agents: dictionaries with the arguments of `log_agent`.

        Raises:
            InvalidRecordError: If some do not fit, with the reasons; the others are logged.
        """
        problems: list[FarmMergeError] = []
        for data in agent_data_list:
            try:
                self.log_agent(**data)
            except (FarmMergeError, TypeError, ValueError) as exc:
                problems.append(InvalidRecordError(f"{exc}: {data!r}"))
        if problems:
            raise InvalidRecordError(f"{len(problems)} agents raised errors", causes=problems)

    @_taking
    def log_agent_action(
        self,
        step_number: int,
        agent_id: str,
        action_type: str,
        action_target_id: str | None = None,
        reward: float | None = None,
        details: Mapping[str, Any] | None = None,
        module_type: str | None = None,
        module_id: str | int | None = None,
        **more: Any,
    ) -> None:
        """Log an action.

        Args:
            step_number: When, from 0.
            agent_id: Who.
            action_type: What.
            action_target_id: The agent or resource it was aimed at.
            reward: What it brought.
            details: Anything else, stored as JSON.
            module_type: The kind of learning module that chose it, such as "dqn".
            module_id: Which module.
            more: What has no column (`action_taken`, `resources_before`, …): kept in the details.

        Raises:
            InvalidRecordError: If a value does not fit.
        """
        self._add_action(
            step_number,
            agent_id,
            str(action_type),
            None if action_target_id is None else as_key("action_target_id", action_target_id),
            as_number("reward", reward),
            as_details(details, more) if details or more else None,
            None if module_type is None else str(module_type),
            None if module_id is None else str(module_id),
        )

    def _add_action(self, step_number: int, agent_id: str, *values: str | float | None) -> None:
        step, agent = as_step(step_number), as_key("agent_id", agent_id)
        row = (self.simulation_id, self._buffers.take_ids("agent_actions"), step, agent, *values)
        self._buffers.extend("agent_actions", [row])

    @_taking
    def log_learning_experience(
        self,
        step_number: int,
        agent_id: str,
        module_type: str,
        module_id: str | int,
        action_taken: int,
        action_taken_mapped: str,
        reward: float | None,
    ) -> None:
        """Log what a learning module did: an action with the module that chose it.

        Args:
            step_number: When, from 0.
            agent_id: Whose module.
            module_type: Its kind, such as "dqn".
            module_id: Which one.
            action_taken: The action's number in the module.
            action_taken_mapped: The action's name.
            reward: What it brought.

        Raises:
            InvalidRecordError: If a value does not fit.
        """
        details = {"action_taken": action_taken, "action_taken_mapped": action_taken_mapped}
        reward, name = as_number("reward", reward), str(action_taken_mapped)
        module = (str(module_type), str(module_id))
        self._add_action(step_number, agent_id, name, None, reward, as_json(details), *module)

    @_taking
    def log_health_incident(
        self,
        step_number: int,
        agent_id: str,
        health_before: float | None,
        health_after: float | None,
        cause: str,
        details: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Log a change of an agent's health, in units of health.

        Args:
            step_number: When, from 0.
            agent_id: Whose health.
            health_before: What it was.
            health_after: What it is.
            cause: Why.
            details: Anything else, stored as JSON.
            more: What has no column: kept in the details.

        Raises:
            InvalidRecordError: If a value does not fit.
        """
        self._add_incident(
            step_number, agent_id, health_before, health_after, cause, as_details(details, more)
        )

    def _add_incident(
        self,
        step_number: int,
        agent_id: str,
        health_before: float | None,
        health_after: float | None,
        cause: str,
        details: str | None,
    ) -> None:
        step, agent = as_step(step_number), as_key("agent_id", agent_id)
        before = as_number("health_before", health_before)
        after = as_number("health_after", health_after)
        number = self._buffers.take_ids("health_incidents")
        row = (self.simulation_id, number, step, agent, before, after, str(cause), details)
        self._buffers.extend("health_incidents", [row])

    @_taking
    def log_resource(
        self, resource_id: str | int, initial_amount: float, position: tuple[float, float]
    ) -> None:
        """Log a resource as it is before the first step.

        Raises:
            InvalidRecordError: If a value does not fit.
        """
        resource = (resource_id, initial_amount, *position)
        (values,) = as_rows("resource", RESOURCE_STATE, [resource])
        row = (self.simulation_id, self._buffers.take_ids("resource_states"), 0, *values)
        self._buffers.extend("resource_states", [row])

    @_taking
    def log_death(
        self,
        agent_id: str,
        death_time: int,
        cause: str,
        health_before: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Log that an agent died: its death time, and the incident that ended it.

        Args:
            agent_id: Who.
            death_time: The step.
            cause: Why.
            health_before: Its health before the incident.
            details: Anything else about the incident, stored as JSON.

        Raises:
            InvalidRecordError: If no such agent was logged.
        """
        agent, step = as_key("agent_id", agent_id), as_step(death_time)
        if not self.knows(agent):
            raise InvalidRecordError(f"agent {agent!r} dies, but was never logged")
        self._add_incident(step, agent, health_before, 0.0, cause, as_details(details, {}))
        self._buffers.set_death(agent, step)

    @_taking
    def log(self, table: str, /, *, key: str | Sequence[str] = (), **values: Any) -> None:
        """Log a row of a table of the model's own.

        The table is made of the first rows: a column has the type of its values, and is stored anew
        where later ones are of another. Columns that come later are added; collections are stored
        as JSON.

        Args:
            table: Its name; none of the schema's own.
            key: The columns that tell the rows of a simulation apart; by default rows are numbered.
            values: The values, by column.

        Raises:
            InvalidRecordError: If a name or a value does not fit.
        """
        self._add_rows(table, {name: (value,) for name, value in values.items()}, key, 1)

    @_taking
    def log_many(
        self,
        table: str,
        rows: Iterable[Mapping[str, Any]] | Iterable[Sequence[Any]],
        *,
        key: str | Sequence[str] = (),
        columns: Sequence[str] | None = None,
    ) -> None:
        """Log rows of a table of the model's own, as `log` does.

        Args:
            table: Its name.
            rows: Dictionaries; or sequences, in the order of `columns`, which is faster.
            key: The columns that tell the rows of a simulation apart; by default rows are numbered.
            columns: The columns, where rows are sequences.

        Raises:
            InvalidRecordError: If a name or a value does not fit; none of the rows is logged then.
        """
        taken: list[Any] = list(rows)
        by_column: dict[str, Sequence[Any]]
        if columns is None:
            names = dict.fromkeys(chain.from_iterable(taken))
            by_column = {name: [row.get(name) for row in taken] for name in names}
        else:
            if any(len(row) != len(columns) for row in taken):
                raise InvalidRecordError(f"table {table}: a row has not {len(columns)} values")
            by_column = dict(zip(columns, zip(*taken, strict=True), strict=bool(taken)))
        self._add_many("log_many", table, by_column, key, len(taken))

    @_taking
    def log_columns(
        self, table: str, columns: Mapping[str, Sequence[Any]], *, key: str | Sequence[str] = ()
    ) -> None:
        """Log rows of a table of the model's own that are there by column, as `log_many` does.

        Args:
            table: Its name.
            columns: The values of each column, as many of each.
            key: The columns that tell the rows of a simulation apart.

        Raises:
            InvalidRecordError: If a name or a value does not fit; none of the rows is logged then.
        """
        numbers = {len(values) for values in columns.values()}
        if len(numbers) > 1:
            raise InvalidRecordError(f"table {table}: its columns are not equally long")
        self._add_many("log_columns", table, dict(columns), key, *numbers or (0,))

    def _add_many(
        self,
        method: str,
        table: str,
        columns: dict[str, Sequence[Any]],
        key: str | Sequence[str],
        number: int,
    ) -> None:
        if not number:
            return
        try:
            self._add_rows(table, columns, key, number)
        except InvalidRecordError:
            self.refused.rows[method] += number - 1  # one is counted as any call is
            raise

    def _add_rows(
        self,
        table: str,
        columns: dict[str, Sequence[Any]],
        key: str | Sequence[str],
        number: int,
    ) -> None:
        if {*columns.pop("simulation_id", ())} - {self.simulation_id}:
            raise InvalidRecordError(f"table {table}: a row is of another simulation")
        if not columns:
            raise InvalidRecordError(f"table {table}: a row has no values")
        names = (key,) if isinstance(key, str) else tuple(key)
        self._buffers.extend_model_table(table, columns, names, number)

    @property
    def tables(self) -> list[str]:
        """The tables of the model's own that were logged to."""
        return self._buffers.tables.names

    def close(self) -> None:
        """Take no more rows: nobody would write them."""
        self._buffers.closed = True

    def knows(self, agent_id: str) -> bool:
        """Return whether an agent was logged."""
        return agent_id in self._agents

    def flush_all_buffers(self) -> None:
        """Write everything that is held, in one transaction.

        Raises:
            OutputError: If SQLite cannot write it; it is still held then.
        """
        self._last_flush = time.monotonic()
        self._buffers.flush()

    def flush_if_needed(self) -> None:
        """Write what is held, if it is many rows or has been held long."""
        if (
            self._buffers.held >= self._buffer_size
            or time.monotonic() - self._last_flush >= self._commit_interval
        ):
            self.flush_all_buffers()
