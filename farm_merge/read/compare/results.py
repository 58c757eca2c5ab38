"""Results: what the registry and the tables say of simulations, as rows of columns."""

from __future__ import annotations

import json
import math
from itertools import chain
from typing import TYPE_CHECKING, Any

from farm_merge.read.compare.columns import METADATA
from farm_merge.read.shapes import chosen_metrics, is_agentfarms, read_shapes
from farm_merge.read.where import STATUS, flat_parameters, parsed_object
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from farm_merge.read.shapes import Shape
    from farm_merge.sqlite import sqlite3

    Row = dict[str, Any]

__all__ = ["is_count", "read_results"]

_CHOSEN = "simulation_id IN (SELECT value FROM json_each(:ids))"


def read_results(
    connection: sqlite3.Connection, ids: Sequence[str], metrics: Iterable[str]
) -> tuple[list[Shape], Iterator[Row]]:
    """Return the shapes that are read, and rows of what is known of simulations, some of each.

    Args:
        connection: A shard or experiment database.
        ids: The simulations.
        metrics: Only these, as `compare_simulations` takes them; all if there are none.

    Raises:
        FarmMergeError: If there is no such metric.
    """
    shapes = read_shapes(connection, ids)
    found = [_registered(connection, ids), _steps(connection, shapes, ids)]
    if metrics := tuple(metrics):
        shapes = chosen_metrics(shapes, metrics)
        return shapes, chain(*found, _metrics(connection, shapes, ids))
    tables = {shape.table for shape in shapes}
    found += [
        _metrics(connection, shapes, ids),
        _agents(connection, tables, ids),
        _actions(connection, tables, ids),
    ]
    return shapes, chain(*found)


def _registered(connection: sqlite3.Connection, ids: Sequence[str]) -> Iterator[Row]:
    """Yield the metadata and the parameters of simulations."""
    metadata = ", ".join(METADATA).replace("status", f"{STATUS} AS status")
    for row in _rows(
        connection,
        f"SELECT simulation_id, {metadata}, parameters FROM simulations WHERE {_CHOSEN}",
        {"ids": json.dumps(ids)},
    ):
        parameters = parsed_object(row.pop("parameters"))
        yield {**row, **dict(flat_parameters(parameters, "parameters."))}


def _metrics(
    connection: sqlite3.Connection, shapes: Iterable[Shape], ids: Sequence[str]
) -> Iterator[Row]:
    """Yield what the tables say, each in the way that its shape allows."""
    read = {"steps": _of_steps, "agents": _of_agents, "runs": _of_runs, "events": _of_events}
    for shape in shapes:
        if not is_agentfarms(connection, shape.table):
            yield from read[shape.kind](connection, shape, ids)


def _of_steps(connection: sqlite3.Connection, shape: Shape, ids: Sequence[str]) -> Iterator[Row]:
    """Yield the last value, the mean, the least and the largest of every metric."""
    table, step, bound = quoted(shape.table), quoted(shape.step or ""), {"ids": json.dumps(ids)}
    for numbers in shape.number_groups():
        spread = [
            f"{function}({_number(name)}) AS {quoted(f'{prefix}_{shape.metric(name)}')}"
            for prefix, function in (("mean", "avg"), ("min", "min"), ("max", "max"))
            for name in numbers
        ]
        last = [
            f"{_number(name, 't')} AS {quoted(f'final_{shape.metric(name)}')}" for name in numbers
        ]
        yield from _rows(
            connection,
            f"SELECT {', '.join(['s.simulation_id', *last])} FROM simulations AS s"
            f" JOIN {table} AS t ON t.simulation_id = s.simulation_id AND t.{step} ="
            f" (SELECT max({step}) FROM {table} AS u WHERE u.simulation_id = s.simulation_id)"
            f" WHERE s.{_CHOSEN}",
            bound,
        )
        yield from _rows(
            connection,
            f"SELECT {', '.join(['simulation_id', *spread])} FROM {table} WHERE {_CHOSEN}"
            " GROUP BY 1",
            bound,
        )


def _of_agents(connection: sqlite3.Connection, shape: Shape, ids: Sequence[str]) -> Iterator[Row]:
    """Yield the number of agents at the last step, and how their values are distributed."""
    table, step = quoted(shape.table), quoted(shape.step or "")
    last = (
        f" FROM {table} WHERE simulation_id = :id AND {step} ="
        f" (SELECT max({step}) FROM {table} WHERE simulation_id = :id)"
    )
    for simulation_id in ids:  # one by one, along the key
        bound = {"id": simulation_id}
        for numbers in (*shape.number_groups(), *([] if shape.numbers else [()])):
            spread = [
                f"{function}({_number(name)}) AS {quoted(f'final_{prefix}_{shape.metric(name)}')}"
                for name in numbers
                for prefix, function in (("mean", "avg"), ("min", "min"), ("max", "max"))
            ]
            number = f"count(*) AS {quoted(f'final_{shape.table}.agents')}"
            asked = ", ".join([":id AS simulation_id", number, *spread])
            yield from _rows(connection, f"SELECT {asked}{last}", bound)
        for name in shape.texts:
            counts = connection.execute(
                f"SELECT {quoted(name)}, count(*){last} GROUP BY 1 ORDER BY 1", bound
            )
            found = {f"final_{shape.metric(name)}={value}": number for value, number in counts}
            yield {"simulation_id": simulation_id, **found}


def _of_runs(connection: sqlite3.Connection, shape: Shape, ids: Sequence[str]) -> Iterator[Row]:
    """Yield the values of the only row."""
    for columns in (*shape.number_groups(), *([shape.texts] if shape.texts else [])):
        asked = (f"{quoted(name)} AS {quoted(shape.metric(name))}" for name in columns)
        yield from _rows(
            connection,
            f"SELECT {', '.join(['simulation_id', *asked])} FROM {quoted(shape.table)}"
            f" WHERE {_CHOSEN}",
            {"ids": json.dumps(ids)},
        )


def _of_events(connection: sqlite3.Connection, shape: Shape, ids: Sequence[str]) -> Iterator[Row]:
    """Yield the number of rows."""
    return _rows(
        connection,
        f"SELECT simulation_id, count(*) AS {quoted(f'rows_{shape.table}')}"
        f" FROM {quoted(shape.table)} WHERE {_CHOSEN} GROUP BY 1",
        {"ids": json.dumps(ids)},
    )


def _steps(
    connection: sqlite3.Connection, shapes: Iterable[Shape], ids: Sequence[str]
) -> Iterator[Row]:
    """Yield the number of steps that were logged, by the first table that has one row for each."""
    shape = next((shape for shape in shapes if shape.kind == "steps"), None)
    if shape is None:
        return iter(())
    return _rows(
        connection,
        f"SELECT simulation_id, count(*) AS steps FROM {quoted(shape.table)} WHERE {_CHOSEN}"
        " GROUP BY 1",
        {"ids": json.dumps(ids)},
    )


def _number(column: str, table: str = "") -> str:
    """Return SQL for a value, if it is a number: SQLite would take any text for 0."""
    name = f"{table}.{quoted(column)}" if table else quoted(column)
    return f"CASE WHEN typeof({name}) IN ('integer', 'real') THEN {name} END"


def _rows(connection: sqlite3.Connection, sql: str, bound: Mapping[str, object]) -> Iterator[Row]:
    cursor = connection.execute(sql, bound)
    names = [name for name, *_ in cursor.description]
    for row in cursor:
        yield dict(zip(names, row, strict=True))


def _agents(
    connection: sqlite3.Connection, tables: Collection[str], ids: Sequence[str]
) -> Iterator[Row]:
    """Yield the numbers of agents."""
    if "agents" in tables and is_agentfarms(connection, "agents"):
        yield from _rows(
            connection,
            "SELECT simulation_id, count(*) AS agents_born, count(death_time) AS agents_died"
            f" FROM agents WHERE {_CHOSEN} GROUP BY 1",
            {"ids": json.dumps(ids)},
        )


def _actions(
    connection: sqlite3.Connection, tables: Collection[str], ids: Sequence[str]
) -> Iterator[Row]:
    """Yield the numbers of actions by type, and their mean reward."""
    if "agent_actions" not in tables or not is_agentfarms(connection, "agent_actions"):
        return
    # One by one: grouping all at once by two columns would sort all rows in memory.
    for simulation_id in ids:
        rows = connection.execute(
            "SELECT action_type, count(*), count(reward), total(reward) FROM agent_actions"
            " WHERE simulation_id = ? GROUP BY 1",
            (simulation_id,),
        ).fetchall()
        rewarded = sum(number for _, _, number, _ in rows)
        yield {
            "simulation_id": simulation_id,
            **{f"actions_{action}": number for action, number, *_ in rows},
            "actions": sum(number for _, number, *_ in rows),
            "mean_reward": sum(reward for *_, reward in rows) / rewarded if rewarded else math.nan,
        }


def is_count(column: str, shapes: Iterable[Shape]) -> bool:
    """Return whether a column counts something, so that what is missing is 0."""
    if any(column in shape.metrics for shape in shapes if shape.kind == "runs"):
        return False
    if column.startswith(("actions", "agents_", "rows_")) or column == "steps":
        return True
    return any(
        column == f"final_{shape.table}.agents"
        or any(column.startswith(f"final_{shape.metric(name)}=") for name in shape.texts)
        for shape in shapes
        if shape.kind == "agents"
    )
