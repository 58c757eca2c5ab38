"""Where: which simulations are meant by conditions, and which rows by simulations and steps."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from farm_merge.errors import FarmMergeError
from farm_merge.nearest import require_known, with_nearest
from farm_merge.sqlite import column_types, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

    from farm_merge.sqlite import sqlite3

__all__ = [
    "STATUS",
    "chosen_simulations",
    "flat_parameters",
    "parameter_names",
    "parsed_object",
    "plain_name",
    "selection",
    "step_column",
    "why_none",
]

STATUS = (
    "CASE WHEN status IN ('running', 'pending') AND end_time IS NOT NULL THEN 'closed'"
    " ELSE status END"
)
"""SQL for the status of a simulation; many programs close a run without saying how it ended."""

_MOST_VALUES = 1000
"""Values that are compared with one that no simulation has."""

_COMPARISON = re.compile(r"\s*([^<>=!~]+?)\s*(<=|>=|!=|==|=|<|>|~)\s*(.*?)\s*", re.DOTALL)
_REGISTRY_COLUMNS = frozenset({"simulation_id", "experiment_id", "status", "seed", "git_commit"})
_STEP_NAMES = frozenset({"stepnumber", "step", "timestep", "tick", "ticks", "time", "t",
                         "iteration", "round"})  # fmt: skip
"""What the column of the step is called; `steps` is what a run is said to have had in all."""

_OPERATORS = {"==": "=", "=": "=", "!=": "IS NOT", "~": "LIKE"}


def chosen_simulations(
    connection: sqlite3.Connection,
    conditions: Iterable[str] = (),
    simulations: Iterable[str] = (),
    *,
    path: str | PathLike[str] | None = None,
) -> list[str]:
    """Return the ids of the simulations that are named and meet all conditions, in order.

    Args:
        connection: A shard or experiment database.
        conditions: Each `NAME OPERATOR VALUE`: a parameter (`a.b` for one in another) or a column
            of the registry; one of `= != < <= > >= ~`, where `~` looks for a part of a text.
        simulations: Ids; without any, all simulations are meant.
        path: The file, for messages.

    Raises:
        FarmMergeError: If a condition cannot be understood, or names what no simulation has, or
            there is no simulation that is named.
    """
    terms: list[str] = []
    values: list[object] = []
    for condition in conditions:
        name, operator, text = _parts(condition)
        expression, bound = _expression(connection, name)
        terms.append(f"{expression} {_OPERATORS.get(operator, operator)} ?")
        values += [*bound, f"%{text}%" if operator == "~" else _value(text)]
    where = f" WHERE {' AND '.join(terms)}" if terms else ""
    rows = connection.execute(
        f"SELECT simulation_id FROM simulations{where} ORDER BY simulation_id", values
    )
    found = [simulation_id for (simulation_id,) in rows]
    named = set(simulations)
    if not named:
        return found
    there = connection.execute("SELECT simulation_id FROM simulations ORDER BY simulation_id")
    require_known("simulation", sorted(named), (name for (name,) in there), path=path)
    return [simulation_id for simulation_id in found if simulation_id in named]


def why_none(connection: sqlite3.Connection, conditions: Iterable[str]) -> str:
    """Return why no simulation meets some conditions, with the nearest value that one has.

    Args:
        connection: A shard or experiment database.
        conditions: As `chosen_simulations` takes them, which found none.
    """
    for condition in conditions:
        if chosen_simulations(connection, [condition]):
            continue
        name, _, text = _parts(condition)
        expression, bound = _expression(connection, name)
        rows = connection.execute(
            f"SELECT DISTINCT {expression} FROM simulations LIMIT 1000", bound
        )
        known = sorted(str(value) for (value,) in rows if value is not None)
        return with_nearest(f"no simulation has {condition}", text, known)
    return f"no simulation has all of {', '.join(conditions)}"


def _parts(condition: str) -> tuple[str, str, str]:
    """Return the name, the operator and the value of a condition."""
    matched = _COMPARISON.fullmatch(condition)
    if matched is None:
        raise FarmMergeError(
            f"{condition!r} is not a condition",
            remedy="write it as 'learning_rate>=0.1' or 'status=completed' (operators:"
            " = != < <= > >= ~)",
        )
    name, operator, text = matched.groups()
    return name, operator, text


def selection(
    connection: sqlite3.Connection,
    table: str,
    simulations: Iterable[str] | None,
    steps: range | None,
) -> tuple[str, dict[str, object]]:
    """Return a WHERE clause for simulations and steps, and the values it binds.

    Args:
        connection: A shard or experiment database.
        table: The table; one without simulations, or steps, is taken whole.
        simulations: Their ids; None for all.
        steps: The steps; None for all. Its end is not among them, as in any range.
    """
    terms: list[str] = []
    values: dict[str, object] = {}
    if simulations is not None and "simulation_id" in column_types(connection, table):
        terms.append("simulation_id IN (SELECT value FROM json_each(:simulations))")
        values["simulations"] = json.dumps(list(simulations))
    step = None if steps is None else step_column(connection, table)
    if steps is not None and step is not None:
        name = quoted(step)
        terms.append(f"{name} >= :first AND {name} < :end")
        values |= {"first": steps.start, "end": steps.stop}
        if steps.step != 1:
            terms.append(f"({name} - :first) % :stride = 0")
            values["stride"] = steps.step
    return (f" WHERE {' AND '.join(terms)}" if terms else ""), values


def step_column(
    connection: sqlite3.Connection, table: str, simulation_id: str | None = None
) -> str | None:
    """Return the column of a table with the number of the step; None where there is none.

    Args:
        connection: A shard or experiment database.
        table: The table.
        simulation_id: Whose first row shows that it is a number; any row by default.
    """
    columns = column_types(connection, table)
    step = next((name for name in columns if plain_name(name) in _STEP_NAMES), None)
    if step is None:
        return None
    where = "" if simulation_id is None else " WHERE simulation_id = :id"
    row = connection.execute(
        f"SELECT typeof({quoted(step)}) FROM {quoted(table)}{where} LIMIT 1", {"id": simulation_id}
    ).fetchone()
    return step if row is None or row[0] in {"integer", "real"} else None


def plain_name(name: str) -> str:
    """Return a column's name as it is compared with what columns are usually called."""
    return re.sub(r"[\W_]", "", name.lower())


def parsed_object(text: str | None) -> dict[str, Any]:
    """Return what a JSON object of the registry holds; nothing where the text is none."""
    try:
        found = json.loads(text or "{}")
    except (TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def flat_parameters(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield parameters by their names, `a.b` for one in another; lists become JSON."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from flat_parameters(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value) if isinstance(value, list) else value


def parameter_names(connection: sqlite3.Connection) -> list[str]:
    """Return the names of all parameters that simulations have, `a.b` for one in another."""
    rows = connection.execute("SELECT parameters FROM simulations")
    names = {name for (text,) in rows for name, _ in flat_parameters(parsed_object(text))}
    return sorted(names)


def _expression(connection: sqlite3.Connection, name: str) -> tuple[str, list[str]]:
    """Return what a name means in SQL, and the values that it binds.

    Raises:
        FarmMergeError: If no simulation has a parameter of that name.
    """
    if name in _REGISTRY_COLUMNS:
        return STATUS if name == "status" else quoted(name), []
    # A dot may be part of a name, or lead into a structure.
    paths = [_json_path([name]), _json_path(name.split("."))]
    found = "coalesce(json_extract(parameters, ?), json_extract(parameters, ?))"
    expression = f"CASE WHEN json_valid(parameters) THEN {found} END"
    (known,) = connection.execute(
        f"SELECT EXISTS (SELECT 1 FROM simulations WHERE {expression} IS NOT NULL)", paths
    ).fetchone()
    if not known:
        known = (*sorted(_REGISTRY_COLUMNS), *parameter_names(connection))
        raise FarmMergeError(with_nearest(f"no simulation has a parameter {name}", name, known))
    return expression, paths


def _json_path(names: Iterable[str]) -> str:
    return "$" + "".join(f'."{name}"' for name in names)


def _value(text: str) -> object:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, str | int | float) else text
