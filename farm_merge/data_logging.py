"""The logger: what a simulation says about itself, buffered as tuples and written in bulk.

Buffers are flushed with `executemany` in one transaction, and emptied only after its commit. The
keys of all tables are composite and do not number themselves, so the logger gives out the ids.

NumPy scalars become Python's by their type, since SQLite would store `int64`, `float32` and
`bool_` as BLOBs. A NaN in a column that may be NULL is stored as NULL: SQLite knows no NaN.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from farm_merge.errors import FarmMergeError, InvalidRecordError
from farm_merge.sqlite import sqlite3

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["DataLogger"]

_STATE = (
    "agent_id",
    "position_x",
    "position_y",
    "resource_level",
    "current_health",
    "starting_health",
    "starvation_counter",
    "is_defending",
    "total_reward",
    "age",
)
_RESOURCE = ("resource_id", "amount", "position_x", "position_y")
_METRICS = (
    "total_agents",
    "agent_type_counts",
    "total_resources",
    "average_agent_resources",
    "births",
    "deaths",
    "current_max_generation",
    "resource_efficiency",
    "resource_distribution_entropy",
    "average_agent_health",
    "average_agent_age",
    "average_reward",
    "genetic_diversity",
    "dominant_genome_ratio",
    "resources_consumed",
)
_COLUMNS = {
    "agents": (
        "agent_id",
        "birth_time",
        "agent_type",
        "position_x",
        "position_y",
        "initial_resources",
        "starting_health",
        "genome_id",
        "generation",
        "action_weights",
    ),
    "agent_states": ("step_number", *_STATE),
    "resource_states": ("id", "step_number", *_RESOURCE),
    "simulation_steps": ("step_number", *_METRICS),
    "agent_actions": (
        "action_id",
        "step_number",
        "agent_id",
        "action_type",
        "action_target_id",
        "reward",
        "details",
        "module_type",
        "module_id",
    ),
    "health_incidents": (
        "incident_id",
        "step_number",
        "agent_id",
        "health_before",
        "health_after",
        "cause",
        "details",
    ),
}
_NUMBERED = {
    "resource_states": "id",
    "agent_actions": "action_id",
    "health_incidents": "incident_id",
}
_OF_A_STEP = ("agent_states", "resource_states", "simulation_steps")

_TEXT = frozenset({str})
_NUMBERS = frozenset({int, float, bool, type(None)})
_PLAIN = frozenset({int, float, bool, str, bytes, type(None)})

_LEGACY_ACTION_FIELDS = frozenset(
    {
        "position_before",
        "position_after",
        "resources_before",
        "resources_after",
        "state_before_id",
        "state_after_id",
    }
)


class DataLogger:
    """Takes the rows of one simulation and writes them in bulk.

    Args:
        connection: Where to write; in autocommit mode, so that transactions are this class's own.
        simulation_id: The simulation that all rows belong to.
        buffer_size: Rows that are held before they are written.
        commit_interval: After how many seconds they are written in any case.
        hint: What to do when they cannot be written.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        simulation_id: str,
        *,
        buffer_size: int,
        commit_interval: float,
        hint: str = "",
    ) -> None:
        self.simulation_id = simulation_id
        self._connection = connection
        self._buffer_size = buffer_size
        self._commit_interval = commit_interval
        self._hint = hint
        self._buffers: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _COLUMNS}
        self._deaths: list[tuple[int, str, str]] = []
        self._replaced_steps: list[tuple[str, int]] = []
        self._buffered = 0
        self._last_flush = time.monotonic()
        self._next_id = {
            table: self._highest(table, column) + 1 for table, column in _NUMBERED.items()
        }
        self._last_step = max(self._highest(table, "step_number", -1) for table in _OF_A_STEP)
        self._agents = {
            agent_id
            for (agent_id,) in connection.execute(
                "SELECT agent_id FROM agents WHERE simulation_id = ?", (simulation_id,)
            )
        }

    def _highest(self, table: str, column: str, none: int = 0) -> int:
        (highest,) = self._connection.execute(
            f"SELECT max({column}) FROM {table} WHERE simulation_id = ?", (self.simulation_id,)
        ).fetchone()
        return none if highest is None else int(highest)

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
            metrics: Columns of `simulation_steps` by name.

        Raises:
            InvalidRecordError: If anything does not fit, before anything of the step is buffered.
        """
        step = _step(step_number)
        states = _rows("agent state", _STATE, agent_states)
        if len({state[0] for state in states}) != len(states):
            raise InvalidRecordError(f"step {step}: an agent has more than one state")
        resources = _rows("resource state", _RESOURCE, resource_states)
        values = _metrics(metrics)
        if step <= self._last_step:
            # What is buffered of the step is written, and replaced by the same transaction that
            # writes the new rows: at no time is there neither.
            self.flush_all_buffers()
            self._replaced_steps.append((self.simulation_id, step))
        self._last_step = max(self._last_step, step)
        key = (self.simulation_id, step)
        self._extend("agent_states", [key + state for state in states])
        self._extend(
            "resource_states",
            [
                (self.simulation_id, number, step, *resource)
                for number, resource in enumerate(
                    resources, self._take("resource_states", len(resources))
                )
            ],
        )
        self._extend("simulation_steps", [key + values])
        self.flush_if_needed()

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

        Raises:
            InvalidRecordError: If a value does not fit, or the agent was logged before.
        """
        x, y = position
        row = (birth_time, agent_type, x, y, initial_resources, starting_health, genome_id)
        weights = None if action_weights is None else dict(action_weights)
        self._add_agent(_key("agent_id", agent_id), (*row, generation, _json(weights)))
        self.flush_if_needed()

    def log_agents_batch(self, agent_data_list: Iterable[Mapping[str, Any]]) -> None:
        """Log many agents: dictionaries with the arguments of `log_agent`.

        Raises:
            InvalidRecordError: If a name is missing or unknown, or a value does not fit.
        """
        for data in agent_data_list:
            try:
                self.log_agent(**data)
            except TypeError as exc:
                raise InvalidRecordError(f"agent {data.get('agent_id')!r}: {exc}") from exc

    def _add_agent(self, agent_id: str, values: tuple[Any, ...]) -> None:
        if agent_id in self._agents:
            raise InvalidRecordError(f"agent {agent_id!r} was logged before")
        self._extend("agents", [(self.simulation_id, agent_id, *map(_plain, values))])
        self._agents.add(agent_id)

    def log_agent_action(
        self,
        step_number: int,
        agent_id: str,
        action_type: str,
        action_target_id: str | None = None,
        reward: float | None = None,
        details: Mapping[str, Any] | None = None,
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
            more: What AgentFarm's older loggers took (`resources_before`, `position_after`, …):
                kept in the details.

        Raises:
            InvalidRecordError: If a value does not fit or a name is unknown.
        """
        if unknown := more.keys() - _LEGACY_ACTION_FIELDS:
            raise InvalidRecordError(f"an action has no {', '.join(sorted(unknown))}")
        kept = {name: value for name, value in more.items() if value is not None}
        told = {**kept, **details} if details is not None else kept or None
        target = None if action_target_id is None else _key("action_target_id", action_target_id)
        self._add_action(step_number, agent_id, str(action_type), target, reward, told, None, None)

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
        module = (str(module_type), str(module_id))
        self._add_action(
            step_number, agent_id, str(action_taken_mapped), None, reward, details, *module
        )

    def _add_action(
        self,
        step_number: int,
        agent_id: str,
        action_type: str,
        target: str | None,
        reward: float | None,
        details: Mapping[str, Any] | None,
        module_type: str | None,
        module_id: str | None,
    ) -> None:
        step, agent = _step(step_number), _key("agent_id", agent_id)
        reward, text = _number("reward", reward), _json(details)
        action_id = self._take("agent_actions", 1)
        row = (action_id, step, agent, action_type, target, reward, text, module_type, module_id)
        self._extend("agent_actions", [(self.simulation_id, *row)])
        self.flush_if_needed()

    def log_health_incident(
        self,
        step_number: int,
        agent_id: str,
        health_before: float | None,
        health_after: float | None,
        cause: str,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """Log a change of an agent's health, in units of health.

        Raises:
            InvalidRecordError: If a value does not fit.
        """
        step, agent = _step(step_number), _key("agent_id", agent_id)
        before = _number("health_before", health_before)
        after = _number("health_after", health_after)
        text = _json(details)
        number = self._take("health_incidents", 1)
        row = (self.simulation_id, number, step, agent, before, after, str(cause), text)
        self._extend("health_incidents", [row])
        self.flush_if_needed()

    def log_resource(
        self, resource_id: str | int, initial_amount: float, position: tuple[float, float]
    ) -> None:
        """Log a resource as it is before the first step.

        Raises:
            InvalidRecordError: If a value does not fit.
        """
        resource = (resource_id, initial_amount, *position)
        (values,) = _rows("resource", _RESOURCE, [resource])
        row = (self.simulation_id, self._take("resource_states", 1), 0, *values)
        self._extend("resource_states", [row])
        self.flush_if_needed()

    def log_death(self, agent_id: str, death_time: int, cause: str) -> None:
        """Log that an agent died: its death time, and the incident that ended it.

        Raises:
            InvalidRecordError: If no such agent was logged.
        """
        agent = _key("agent_id", agent_id)
        if agent not in self._agents:
            raise InvalidRecordError(f"agent {agent!r} dies, but was never logged")
        self._deaths.append((_step(death_time), self.simulation_id, agent))
        self.log_health_incident(death_time, agent, None, 0.0, cause)

    def flush_all_buffers(self) -> None:
        """Write everything that is held, in one transaction.

        Raises:
            FarmMergeError: If SQLite cannot write it; it is still held then.
        """
        self._last_flush = time.monotonic()
        if not (self._buffered or self._deaths or self._replaced_steps):
            return
        try:
            self._write()
        except sqlite3.Error as exc:
            raise FarmMergeError(
                f"simulation {self.simulation_id!r}: {self._buffered} rows could not be written and"
                f" are still held ({exc}){self._hint}"
            ) from exc
        for held in (*self._buffers.values(), self._deaths, self._replaced_steps):
            held.clear()
        self._buffered = 0

    def _write(self) -> None:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for table in _OF_A_STEP:
                connection.executemany(
                    f"DELETE FROM {table} WHERE simulation_id = ? AND step_number = ?",
                    self._replaced_steps,
                )
            for table, rows in self._buffers.items():
                connection.executemany(_INSERT[table], rows)
            connection.executemany(
                "UPDATE agents SET death_time = ? WHERE simulation_id = ? AND agent_id = ?",
                self._deaths,
            )
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def flush_if_needed(self) -> None:
        """Write what is held, if it is many rows or has been held long."""
        if (
            self._buffered >= self._buffer_size
            or time.monotonic() - self._last_flush >= self._commit_interval
        ):
            self.flush_all_buffers()

    def _take(self, table: str, count: int) -> int:
        """Give out `count` ids of a table and return the first."""
        first = self._next_id[table]
        self._next_id[table] = first + count
        return first

    def _extend(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        self._buffers[table] += rows
        self._buffered += len(rows)


_INSERT = {
    table: f"INSERT INTO {table} (simulation_id, {', '.join(columns)})"
    f" VALUES ({', '.join('?' * (len(columns) + 1))})"
    for table, columns in _COLUMNS.items()
}


def _step(step_number: Any) -> int:
    step = _plain(step_number)
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        raise InvalidRecordError(f"step_number must be an integer from 0, not {step_number!r}")
    return step


def _key(name: str, value: Any) -> str:
    key = _plain(value)
    if isinstance(key, int) and not isinstance(key, bool):
        key = str(key)
    if not isinstance(key, str) or not key:
        raise InvalidRecordError(f"{name} must be a text that is not empty, not {value!r}")
    return key


def _number(name: str, value: Any) -> float | int | None:
    number = _plain(value)
    if type(number) not in _NUMBERS:
        raise InvalidRecordError(f"{name} must be a number or None, not {value!r}")
    return number  # type: ignore[no-any-return]


def _rows(
    what: str, names: tuple[str, ...], rows: Sequence[Sequence[Any]]
) -> list[tuple[Any, ...]]:
    """Check rows column by column, which costs little, and value by value only where it must."""
    if not len(rows):
        return []
    for row in rows:
        if len(row) != len(names):
            raise InvalidRecordError(
                f"{what} has {len(row)} values, not {len(names)} ({', '.join(names)}): {row!r}"
            )
    key, *columns = zip(*rows, strict=True)
    if set(map(type, key)) != _TEXT or "" in key:
        key = tuple(_key(names[0], value) for value in key)
    for place, column in enumerate(columns):
        if not set(map(type, column)) <= _NUMBERS:
            name = f"{what}: {names[place + 1]}"
            columns[place] = tuple(_number(name, value) for value in column)
    return list(zip(key, *columns, strict=True))


def _metrics(metrics: Mapping[str, Any]) -> tuple[Any, ...]:
    if unknown := metrics.keys() - set(_METRICS):
        raise InvalidRecordError(
            f"no column of simulation_steps: {', '.join(sorted(unknown))};"
            f" there are {', '.join(_METRICS)}"
        )
    return tuple(
        _json(metrics.get(name))
        if name == "agent_type_counts"
        else _number(name, metrics.get(name))
        for name in _METRICS
    )


def _plain(value: Any) -> Any:
    """Return a value as SQLite can bind it: a NumPy scalar becomes Python's of its kind."""
    if type(value) in _PLAIN:
        return value
    item = getattr(value, "item", None)
    plain = item() if callable(item) else value
    if isinstance(plain, str):  # an enum's member, for one
        plain = str.__str__(plain)
    if type(plain) not in _PLAIN:
        raise InvalidRecordError(f"cannot be stored: {value!r} ({type(value).__name__})")
    return plain


def _json(value: Mapping[str, Any] | str | None) -> str | None:
    if value is None or isinstance(value, str):
        return value
    try:
        return json.dumps(value, default=_json_plain)
    except ValueError as exc:
        raise InvalidRecordError(f"cannot be stored as JSON: {value!r} ({exc})") from exc


def _json_plain(value: Any) -> Any:
    tolist = getattr(value, "tolist", None)  # NumPy's arrays and scalars
    return tolist() if callable(tolist) else _plain(value)
