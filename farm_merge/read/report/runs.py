"""Runs: what the charts and tables of a report are made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm_merge.errors import FarmMergeError
from farm_merge.read.compare import compare_simulations, varied_parameters
from farm_merge.read.open import reading
from farm_merge.sqlite import column_types

if TYPE_CHECKING:
    from os import PathLike

    import pandas as pd

    from farm_merge.sqlite import sqlite3

__all__ = ["MOST_SETS", "Runs", "read_runs"]

_METRICS = ("total_agents", "total_resources")
"""What is drawn over steps."""

MOST_SETS = 8
"""More lines than that in one chart cannot be distinguished."""

_POINTS = 100
"""Steps of a run that are drawn."""


@dataclass(frozen=True, slots=True)
class Runs:
    """The simulations of an experiment.

    Attributes:
        frame: A row a simulation, as `compare_simulations` returns them.
        sets: The name of its parameter set, by simulation.
        by: The parameters that make a set.
        steps: Sampled metrics of every run: simulation_id, set, step_number, and the metrics.
        causes: Health incidents: simulation_id, set, cause, and their number.
    """

    frame: pd.DataFrame
    sets: pd.Series[str]
    by: list[str]
    steps: pd.DataFrame
    causes: pd.DataFrame

    @property
    def labels(self) -> list[str]:
        """The names of the sets, in the order of their values."""
        return list(dict.fromkeys(self.sets))


def read_runs(database: str | PathLike[str], where: tuple[str, ...]) -> Runs:
    """Read the simulations of a database that meet all conditions.

    Raises:
        FarmMergeError: If there is none.
        ShardError: If the database cannot be read.
    """
    frame = compare_simulations(database, where)
    if frame.empty:
        raise FarmMergeError("holds no simulation that could be shown", path=database)
    by = varied_parameters(frame)
    frame = frame.sort_values(by, key=_in_order, kind="stable") if by else frame
    sets = _sets(frame, by)
    with reading(database) as connection:
        steps = _sampled_steps(connection, list(frame.index))
        causes = _causes(connection, list(frame.index))
    for rows in (steps, causes):
        rows.insert(1, "set", rows["simulation_id"].map(sets))
    return Runs(frame, sets, by, steps, causes)


def _in_order(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return what a parameter is sorted by: numbers as they are, all else as text."""
    import pandas as pd

    return column if pd.api.types.is_numeric_dtype(column) else column.astype(str)


def _sets(frame: pd.DataFrame, by: list[str]) -> pd.Series[str]:
    """Name the set of every run, by fewer parameters where the sets would be too many."""
    import pandas as pd

    for names in (by, by[:1], []):
        labels = [_label(row, names) for _, row in frame.iterrows()]
        if len(set(labels)) <= MOST_SETS:
            break
    return pd.Series(labels, frame.index, dtype=object)


def _label(run: pd.Series[Any], names: list[str]) -> str:
    pairs = (f"{name.removeprefix('parameters.')} {run[name]}" for name in names)
    return ", ".join(pairs) or "all runs"


def _sampled_steps(connection: sqlite3.Connection, ids: list[str]) -> pd.DataFrame:
    import pandas as pd

    there = column_types(connection, "simulation_steps")
    metrics = [name for name in _METRICS if name in there]
    rows: list[tuple[Any, ...]] = []
    if metrics and "step_number" in there:
        (last,) = connection.execute("SELECT max(step_number) FROM simulation_steps").fetchone()
        rows = connection.execute(
            f"SELECT simulation_id, step_number, {', '.join(metrics)} FROM simulation_steps"
            " WHERE simulation_id IN (SELECT value FROM json_each(:ids))"
            " AND step_number % :stride = 0",
            {"ids": json.dumps(ids), "stride": -(-((last or 0) + 1) // _POINTS)},
        ).fetchall()
    return pd.DataFrame(rows, columns=["simulation_id", "step_number", *metrics])


def _causes(connection: sqlite3.Connection, ids: list[str]) -> pd.DataFrame:
    import pandas as pd

    rows: list[tuple[Any, ...]] = []
    if "cause" in column_types(connection, "health_incidents"):
        # One by one, as in `compare`: all at once would be sorted in memory.
        rows = [
            (simulation_id, *row)
            for simulation_id in ids
            for row in connection.execute(
                "SELECT cause, count(*) FROM health_incidents WHERE simulation_id = ? GROUP BY 1",
                (simulation_id,),
            )
        ]
    return pd.DataFrame(rows, columns=["simulation_id", "cause", "number"])
