"""Results: the rows that `mesa.batch_run` returns, read from an experiment database."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from farm_merge.mesa.collected import AGENT_VARS, MODEL_VARS, plain_step
from farm_merge.read.open import reading
from farm_merge.read.where import parsed_object
from farm_merge.sqlite import column_types, quoted, table_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from farm_merge.mesa.design import BatchRun
    from farm_merge.sqlite import sqlite3

__all__ = ["chosen_steps", "is_modern", "result_rows"]


def is_modern(collector: Any) -> bool:
    """Return whether a DataCollector knows the steps of its collections, as since Mesa 3.4."""
    return hasattr(collector, "_collection_steps")


def chosen_steps(
    collected: Sequence[int | float], last: int, period: int, *, modern: bool
) -> list[int | float]:
    """Return the steps that are in the results of a run.

    Args:
        collected: The step of each collection.
        last: The last step of the run.
        period: Every how many of them; -1 for the last.
        modern: Whether this version of Mesa knows the steps of collections. Others count them, from
            0, and leave out the last.
    """
    if modern:
        return list(collected[-1:] if period == -1 else collected[::period])
    steps: list[int | float] = [] if period == -1 else list(range(0, last, period))
    return steps if steps and steps[-1] == last - 1 else [*steps, last - 1]


def result_rows(output: Path, runs: Iterable[BatchRun], period: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of runs, one run after the other.

    Args:
        output: The experiment database.
        runs: The runs that are in it.
        period: Every how many collections, as the batch had it.
    """
    from mesa import DataCollector

    modern = is_modern(DataCollector())
    with reading(output) as connection:
        tables = table_names(connection)
        agents = [name for name in tables if name.startswith(AGENT_VARS)]
        if not modern:  # it did not return the reporters of single types
            agents = [name for name in agents if name == AGENT_VARS]
        for run in runs:
            (summary,) = connection.execute(
                "SELECT results_summary FROM simulations WHERE simulation_id = ?",
                (run.simulation_id,),
            ).fetchone()
            last = int(parsed_object(summary).get("steps", 0))
            collected = list(_model_rows(connection, run.simulation_id, MODEL_VARS in tables))
            steps = [step for step, _ in collected]
            for step in chosen_steps(steps, last, period, modern=modern):
                place = _place(steps, step, modern=modern)
                head = {"RunId": run.number, "iteration": run.iteration, "Step": step}
                values = collected[place][1] if place is not None else {}
                row = {**head, **run.arguments, **values}
                found = False
                for table in agents:
                    for agent in _agent_rows(connection, table, run.simulation_id, step):
                        found = True
                        yield {**row, **agent}
                if not found:
                    yield row


def _place(steps: Sequence[int | float], step: float, *, modern: bool) -> int | None:
    """Return which collection a row shows: the last of its step, or the one of its number."""
    if not steps:
        return None
    if not modern:
        return min(int(step), len(steps) - 1)
    return max(place for place, found in enumerate(steps) if found == step)


def _model_rows(
    connection: sqlite3.Connection, simulation_id: str, is_there: bool
) -> Iterator[tuple[int | float, dict[str, Any]]]:
    if not is_there:
        return
    names = [
        name
        for name in column_types(connection, MODEL_VARS)
        if name not in {"simulation_id", "row_number"}
    ]
    index = _index(names, "step")
    for row in connection.execute(
        f"SELECT {', '.join(map(quoted, names))} FROM {MODEL_VARS} WHERE simulation_id = ?"
        " ORDER BY row_number",
        (simulation_id,),
    ):
        values = dict(zip(names, row, strict=True))
        yield plain_step(values.pop(index)), values


def _agent_rows(
    connection: sqlite3.Connection, table: str, simulation_id: str, step: float
) -> Iterator[dict[str, Any]]:
    names = [name for name in column_types(connection, table) if name != "simulation_id"]
    index, agent = _index(names, "step"), _index(names, "agent_id")
    for row in connection.execute(
        f"SELECT {', '.join(map(quoted, names))} FROM {quoted(table)}"
        f" WHERE simulation_id = ? AND {quoted(index)} = ?",
        (simulation_id, step),
    ):
        values = dict(zip(names, row, strict=True))
        del values[index]
        yield {"AgentID": values.pop(agent), **values}


def _index(names: Iterable[str], base: str) -> str:
    """Return the column of an index, which gives way to reporters of its name."""
    return max((name for name in names if re.fullmatch(f"{base}_*", name)), key=len)
