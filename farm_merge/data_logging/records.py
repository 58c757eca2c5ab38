"""Records: which columns a logger's rows have, and what their values become on the way.

NumPy scalars become Python's by their type, since SQLite would store `int64`, `float32` and
`bool_` as BLOBs. A NaN in a column that may be NULL is stored as NULL: SQLite knows no NaN. Nor
does JSON, where it is null, and an infinity its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from farm_merge.errors import InvalidRecordError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "AGENT_STATE",
    "COLUMNS",
    "METRICS",
    "NUMBERED",
    "RESOURCE_STATE",
    "as_details",
    "as_json",
    "as_key",
    "as_metric",
    "as_number",
    "as_plain",
    "as_rows",
    "as_step",
    "as_value",
    "insert_statement",
    "json_text",
]

AGENT_STATE = (
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
RESOURCE_STATE = ("resource_id", "amount", "position_x", "position_y")
METRICS = (
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

COLUMNS = {
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
    "agent_states": ("step_number", *AGENT_STATE),
    "resource_states": ("id", "step_number", *RESOURCE_STATE),
    "simulation_steps": ("step_number", *METRICS),
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
"""What is written of each table, after `simulation_id`; agents come before what refers to them."""

NUMBERED = {
    "resource_states": "id",
    "agent_actions": "action_id",
    "health_incidents": "incident_id",
}
"""The tables whose rows the logger numbers: composite keys do not number themselves."""

_KNOWN_METRICS = frozenset(METRICS)
_TEXT = frozenset({str})
_NUMBERS = frozenset({int, float, bool, type(None)})
_PLAIN = frozenset({int, float, bool, str, bytes, type(None)})

_PYTHONS_JSON = re.compile(r'"(?:[^"\\]|\\.)*"|NaN|-?Infinity')
"""Texts, and what Python writes into JSON that is none."""

_AS_JSON = {"NaN": "null", "Infinity": '"Infinity"', "-Infinity": '"-Infinity"'}


def insert_statement(table: str, columns: Sequence[str]) -> str:
    """Return the statement that writes a row; names are quoted already."""
    marks = ", ".join("?" * (len(columns) + 1))
    return f"INSERT INTO {table} (simulation_id, {', '.join(columns)}) VALUES ({marks})"


def as_step(step_number: Any) -> int:
    """Return a step's number, an integer from 0.

    Raises:
        InvalidRecordError: If it is something else.
    """
    step = as_plain(step_number)
    if isinstance(step, bool) or not isinstance(step, int) or step < 0:
        raise InvalidRecordError(f"step_number must be an integer from 0, not {step_number!r}")
    return step


def as_key(name: str, value: Any) -> str:
    """Return an id as text.

    Raises:
        InvalidRecordError: If it is neither text nor an integer, or empty.
    """
    key = as_plain(value)
    if isinstance(key, int) and not isinstance(key, bool):
        key = str(key)
    if not isinstance(key, str) or not key:
        raise InvalidRecordError(f"{name} must be a text that is not empty, not {value!r}")
    return key


def as_number(name: str, value: Any) -> float | int | None:
    """Return a number or None.

    Raises:
        InvalidRecordError: If it is something else.
    """
    number = as_plain(value)
    if type(number) not in _NUMBERS:
        raise InvalidRecordError(f"{name} must be a number or None, not {value!r}")
    return number  # type: ignore[no-any-return]


def as_metric(name: str, value: Any) -> Any:
    """Return a metric of a step: a number, or whatever can be stored if the schema lacks it.

    Raises:
        InvalidRecordError: If it cannot be stored.
    """
    if type(value) in _NUMBERS:
        return value
    if name == "agent_type_counts":
        return as_json(value)
    return as_number(name, value) if name in _KNOWN_METRICS else as_value(value)


def as_value(value: Any) -> Any:
    """Return a value of a column without a type of its own; collections become JSON.

    Raises:
        InvalidRecordError: If it cannot be stored.
    """
    if isinstance(value, Mapping | list | tuple) or getattr(value, "shape", None):  # an array
        return as_json(value)
    return as_plain(value)


def as_rows(
    what: str, names: tuple[str, ...], rows: Sequence[Sequence[Any]]
) -> list[tuple[Any, ...]]:
    """Check rows column by column, which costs little, and value by value only where it must.

    Args:
        what: What a row is, for messages.
        names: Its columns; the first is an id, the others are numbers.
        rows: The values, in that order.

    Raises:
        InvalidRecordError: If a row has another length, or a value does not fit.
    """
    if not len(rows):
        return []
    for row in rows:
        if len(row) != len(names):
            raise InvalidRecordError(
                f"{what} has {len(row)} values, not {len(names)} ({', '.join(names)}): {row!r}"
            )
    key, *columns = zip(*rows, strict=True)
    if set(map(type, key)) != _TEXT or "" in key:
        key = tuple(as_key(names[0], value) for value in key)
    for place, column in enumerate(columns):
        if not set(map(type, column)) <= _NUMBERS:
            name = f"{what}: {names[place + 1]}"
            columns[place] = tuple(as_number(name, value) for value in column)
    return list(zip(key, *columns, strict=True))


def as_plain(value: Any) -> Any:
    """Return a value as SQLite can bind it: a NumPy scalar becomes Python's of its kind.

    Raises:
        InvalidRecordError: If SQLite has no such value.
    """
    if type(value) in _PLAIN:
        return value
    item = getattr(value, "item", None)
    plain = item() if callable(item) else value
    if isinstance(plain, str):  # an enum's member, for one
        plain = str.__str__(plain)
    if type(plain) not in _PLAIN:
        raise InvalidRecordError(f"cannot be stored: {value!r} ({type(value).__name__})")
    return plain


def as_details(details: Any, more: Mapping[str, Any]) -> str | None:
    """Return the details of an event as JSON, with what has no column; NULL if there are none.

    Raises:
        InvalidRecordError: If something cannot be stored.
    """
    kept = {name: value for name, value in more.items() if value is not None} if more else {}
    if not kept:
        return as_json(details or None)
    named = details if isinstance(details, Mapping) else {"details": details} if details else {}
    return as_json({**kept, **named, **kept})  # `kept` comes first, and wins


def as_json(value: Any) -> str | None:
    """Return a value as JSON text; what is text or None already stays as it is.

    Raises:
        InvalidRecordError: If JSON has no such value.
    """
    if value is None or isinstance(value, str):
        return value
    try:
        return json_text(value, _json_plain)
    except (TypeError, ValueError) as exc:
        raise InvalidRecordError(f"cannot be stored as JSON: {value!r} ({exc})") from exc


def json_text(value: Any, default: Callable[[Any], Any]) -> str:
    """Return JSON that everything can read: NaN is null in it, an infinity its name.

    Args:
        value: What to write.
        default: Makes something plain of what JSON does not know.

    Raises:
        TypeError, ValueError: If JSON has no such value.
    """
    try:
        return json.dumps(value, default=default, allow_nan=False)
    except ValueError:
        text = json.dumps(value, default=default)
    return _PYTHONS_JSON.sub(lambda found: _AS_JSON.get(found[0], found[0]), text)


def _json_plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    tolist = getattr(value, "tolist", None)  # NumPy's arrays and scalars
    return tolist() if callable(tolist) else as_plain(value)
