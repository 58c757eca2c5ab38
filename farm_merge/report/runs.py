"""Runs: what the charts and tables of a report are made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm_merge.errors import FarmMergeError
from farm_merge.read.compare import (
    compare_simulations,
    ended_well,
    parameter_column,
    varied_parameters,
    varied_results,
)
from farm_merge.read.open import reading
from farm_merge.read.shapes import STEPS, chosen_metrics, is_agentfarms, read_shapes
from farm_merge.report.layout import lay_out
from farm_merge.sqlite import column_types, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from os import PathLike

    import pandas as pd

    from farm_merge.read.compare import Interval
    from farm_merge.read.shapes import Shape
    from farm_merge.report.layout import Layout
    from farm_merge.sqlite import sqlite3

__all__ = ["Runs", "read_runs"]

_FIRST_METRICS = ("total_agents", "total_resources")
"""AgentFarm's metrics that say most; drawn alone, where there are no others."""

_OUTCOMES = {
    "final_total_agents": "final population",
    "mean_reward": "mean reward of an action",
    "agents_died": "deaths",
}
"""AgentFarm's results that are drawn, and their names."""

_MOST_READ, _MOST_METRICS, _MOST_OUTCOMES = 20, 6, 3

_POINTS = 100
"""Steps of a run that are drawn."""


@dataclass(frozen=True, slots=True)
class Runs:
    """The simulations of an experiment.

    Attributes:
        all: A row a simulation, as `compare_simulations` returns them.
        frame: Those that did not fail, in the order of their parameters: what is drawn.
        layout: How their parameter sets are told apart.
        interval: How results spread, as `group_repetitions` takes it.
        sets: What the colour of a simulation stands for, by simulation.
        panel: The label of its panel, by simulation.
        series: By metric, its sampled values: simulation_id, set, panel, step, value.
        values: By metric, the values of all agents at the last step: simulation_id, set, panel,
            value.
        outcomes: The results that are drawn by parameter, and their names.
        causes: Health incidents: simulation_id, what caused them, and value, their number.
    """

    all: pd.DataFrame
    frame: pd.DataFrame
    layout: Layout
    interval: Interval
    sets: pd.Series[Any]
    panel: pd.Series[Any]
    series: dict[str, pd.DataFrame]
    values: dict[str, pd.DataFrame]
    outcomes: dict[str, str]
    causes: pd.DataFrame

    @property
    def keys(self) -> list[str]:
        """What colours stand for, in the order of their values."""
        return list(dict.fromkeys(self.sets))

    @property
    def panels(self) -> list[str]:
        """The labels of panels, in the order of their values."""
        return list(dict.fromkeys(self.panel))


def read_runs(
    database: str | PathLike[str],
    where: tuple[str, ...] = (),
    metrics: tuple[str, ...] = (),
    by: tuple[str, ...] = (),
    interval: Interval = "auto",
    simulations: tuple[str, ...] = (),
) -> Runs:
    """Read the simulations of a database that meet all conditions.

    Args:
        database: A shard or experiment database.
        where: The conditions.
        metrics: What is drawn; by default a few that are not the same everywhere.
        by: The parameters that make a set; by default those that vary.
        interval: How results spread, as `group_repetitions` takes it.
        simulations: Only these; all by default.

    Raises:
        FarmMergeError: If there is no such simulation, metric or parameter.
        ShardError: If the database cannot be read.
    """
    everything = compare_simulations(database, where, simulations=simulations, metrics=metrics)
    if everything.empty:
        raise FarmMergeError("holds no simulation that could be shown", path=database)
    chosen = [parameter_column(everything, name) for name in by] or varied_parameters(everything)
    if chosen:
        everything = everything.sort_values(chosen, key=_in_order, kind="stable")
    frame = ended_well(everything)
    layout, ids = lay_out(frame, chosen), list(frame.index)
    sets, panel = layout.keys(frame), layout.panel(frame)
    if layout.is_single:
        panel = panel.map(lambda _: "")
    with reading(database) as connection:
        shapes = read_shapes(connection, ids)
        shapes = chosen_metrics(shapes, metrics) if metrics else _few(shapes)
        series = dict(_series(connection, shapes, ids))
        values = dict(_values(connection, shapes, ids))
        causes = _causes(connection, ids)
    series, values = _telling(series, metrics), _telling(values, metrics)
    for rows in (*series.values(), *values.values()):
        rows.insert(1, "set", rows["simulation_id"].map(sets))
        rows.insert(2, "panel", rows["simulation_id"].map(panel))
    outcomes = _outcomes(frame, series)
    return Runs(everything, frame, layout, interval, sets, panel, series, values, outcomes, causes)


def _few(shapes: list[Shape]) -> list[Shape]:
    """Return what is read where nobody chose: AgentFarm's metrics, or some of each table."""
    known = {name for shape in shapes if shape.table == STEPS for name in shape.metrics}
    if first := [name for name in _FIRST_METRICS if name in known]:
        return chosen_metrics(shapes, first)
    return [shape.restricted({*shape.metrics[:_MOST_READ]}) for shape in shapes]


def _series(
    connection: sqlite3.Connection, shapes: Sequence[Shape], ids: list[str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield metrics with their values at some steps, evenly spread."""
    import pandas as pd

    for shape in shapes:
        if shape.kind not in {"steps", "agents"}:
            continue
        table, step = quoted(shape.table), quoted(shape.step or "")
        asked = {shape.metric(name): f"{quoted(name)}" for name in shape.numbers}
        grouped = ""
        if shape.kind == "agents":
            asked = {f"{shape.table}.agents": "count(*)"}
            grouped = " GROUP BY simulation_id, 2"
        (last,) = connection.execute(f"SELECT max({step}) FROM {table}").fetchone()
        bound = {"ids": json.dumps(ids), "stride": -(-(int(last or 0) + 1) // _POINTS)}
        for metric, value in asked.items():
            rows = connection.execute(
                f"SELECT simulation_id, {step}, {value} FROM {table}"
                " WHERE simulation_id IN (SELECT value FROM json_each(:ids))"
                f" AND {step} % :stride = 0{grouped}",
                bound,
            ).fetchall()
            frame = pd.DataFrame(rows, columns=["simulation_id", "step", "value"])
            yield metric, _numbers(frame)


def _values(
    connection: sqlite3.Connection, shapes: Sequence[Shape], ids: list[str]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield metrics of agents with all values at the last step of every run."""
    import pandas as pd

    for shape in shapes:
        if shape.kind != "agents":
            continue
        table, step = quoted(shape.table), quoted(shape.step or "")
        for name in shape.numbers:
            rows = [
                (simulation_id, value)
                for simulation_id in ids
                for (value,) in connection.execute(
                    f"SELECT {quoted(name)} FROM {table} WHERE simulation_id = :id AND {step} ="
                    f" (SELECT max({step}) FROM {table} WHERE simulation_id = :id)",
                    {"id": simulation_id},
                )
            ]
            frame = pd.DataFrame(rows, columns=["simulation_id", "value"])
            yield shape.metric(name), _numbers(frame)


def _numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose value is a number."""
    import pandas as pd

    frame["value"] = pd.to_numeric(frame["value"], errors="coerce")
    return frame.dropna(subset=["value"])


def _telling(found: dict[str, pd.DataFrame], metrics: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    """Return what is drawn: what was chosen, or the first that are not the same everywhere."""
    if metrics or found.keys() & {*_FIRST_METRICS}:
        return {name: rows for name, rows in found.items() if len(rows)}
    varied = [name for name, rows in found.items() if rows["value"].nunique() > 1]
    return {name: found[name] for name in varied[:_MOST_METRICS]}


def _outcomes(frame: pd.DataFrame, series: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Return the results that are drawn by parameter, and their names."""
    known = {name: title for name, title in _OUTCOMES.items() if name in frame}
    if known:
        return {name: title for name, title in known.items() if frame[name].notna().any()}
    import pandas as pd

    varied = [name for name in varied_results(frame) if pd.api.types.is_numeric_dtype(frame[name])]
    drawn = [f"final_{metric}" for metric in series if f"final_{metric}" in varied]
    others = [name for name in varied if not name.startswith(("mean_", "min_", "max_"))]
    # What has one value a run was written as its outcome.
    single = [name for name in others if "." in name and not name.startswith("final_")]
    chosen = list(dict.fromkeys([*single, *drawn, *others]))[:_MOST_OUTCOMES]
    return {name: name.replace("_", " ", 1) for name in chosen}


def _in_order(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return what a parameter is sorted by: numbers as they are, all else as text."""
    import pandas as pd

    return column if pd.api.types.is_numeric_dtype(column) else column.astype(str)


def _causes(connection: sqlite3.Connection, ids: list[str]) -> pd.DataFrame:
    import pandas as pd

    rows: list[tuple[Any, ...]] = []
    if "cause" in column_types(connection, "health_incidents") and is_agentfarms(
        connection, "agents"
    ):
        # One by one, as in `compare`: all at once would be sorted in memory.
        rows = [
            (simulation_id, *row)
            for simulation_id in ids
            for row in connection.execute(
                "SELECT cause, count(*) FROM health_incidents WHERE simulation_id = ? GROUP BY 1",
                (simulation_id,),
            )
        ]
    return pd.DataFrame(rows, columns=["simulation_id", "what", "value"])
