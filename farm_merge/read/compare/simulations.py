"""Simulations: one row each, and two of them side by side."""

from __future__ import annotations

import math
from itertools import chain
from typing import TYPE_CHECKING, Any

from farm_merge.nearest import require_known
from farm_merge.read.compare.columns import METADATA, parameter_columns, result_columns
from farm_merge.read.compare.results import is_count, read_results
from farm_merge.read.open import reading
from farm_merge.read.where import chosen_simulations

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    import pandas as pd

__all__ = ["compare_simulations", "compare_two"]


def compare_simulations(
    database: str | PathLike[str],
    where: Iterable[str] = (),
    *,
    simulations: Iterable[str] = (),
    metrics: Iterable[str] = (),
) -> pd.DataFrame:
    """Return one row a simulation: its parameters, and its results.

    Args:
        database: A shard or experiment database.
        where: Conditions that all have to hold, each `NAME OPERATOR VALUE`: a parameter (`a.b` for
            one in another) or `simulation_id`, `experiment_id`, `status`, `seed`, `git_commit`;
            one of `= != < <= > >= ~`, where `~` looks for a part of a text.
        simulations: Only these; all by default.
        metrics: Only these, each as `TABLE.COLUMN`, or as its column where one table alone has it;
            all by default.

    Returns:
        A frame indexed by `simulation_id`, in order. Columns: `experiment_id`, `status`, `seed`,
        `git_commit`; each parameter as `parameters.NAME`; `steps`; and what the tables say, where
        a METRIC is `TABLE.COLUMN`, or COLUMN alone in `simulation_steps`:

        - of a table with one row a simulation and step, `final_METRIC` (at the last step),
          `mean_METRIC`, `min_METRIC` and `max_METRIC` (over the steps) of every number;
        - of a table with steps and agents, at the last step: `final_TABLE.agents` (how
          many), `final_mean_METRIC`, `final_min_METRIC` and `final_max_METRIC` of every number, and
          `final_METRIC=TEXT` (the agents that have it) where there are a few texts;
        - of a table with one row a simulation, METRIC, as it is;
        - of any other table of a model, `rows_TABLE`;
        - of AgentFarm's tables, `agents_born` and `agents_died`, `actions` and `actions_TYPE`
          (numbers), and `mean_reward` (of an action).

        What a simulation lacks is missing; counts are 0. What no simulation has is no column.

    Raises:
        ShardError: If the file is not a database of today's schema.
        FarmMergeError: If a condition is not one, or there is no such metric.
    """
    import pandas as pd

    with reading(database) as connection:
        ids = chosen_simulations(connection, where, simulations, path=database)
        rows: dict[str, dict[str, Any]] = {simulation_id: {} for simulation_id in ids}
        shapes, found = read_results(connection, ids, metrics)
        for row in found:
            rows[row.pop("simulation_id")].update(row)
    columns = dict.fromkeys(chain.from_iterable(rows.values()))
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=list(columns)).reindex(ids)
    frame.index.name = "simulation_id"
    counts = [name for name in columns if is_count(name, shapes)]
    frame[counts] = frame[counts].fillna(0).astype("int64")
    order = [
        *(name for name in METADATA if name in frame),
        *parameter_columns(frame),
        *result_columns(frame),
    ]
    return frame[order]


def compare_two(database: str | PathLike[str], first: str, second: str) -> pd.DataFrame:
    """Return two simulations side by side.

    Returns:
        A frame with the columns `kind` (metadata, parameter or result), `name`, one for each of
        the two, and `difference` (second less first, where both are numbers).

    Raises:
        FarmMergeError: If one of them is not there.
    """
    import pandas as pd

    frame = compare_simulations(database)
    require_known("simulation", (first, second), map(str, frame.index), path=database)
    rows = [
        _side_by_side(name, frame.loc[first, name], frame.loc[second, name])
        for name in map(str, frame)
    ]
    return pd.DataFrame(rows, columns=pd.Index(["kind", "name", first, second, "difference"]))


def _side_by_side(name: str, first: Any, second: Any) -> tuple[object, ...]:
    kind = "metadata" if name in METADATA else "result"
    if name.startswith("parameters."):
        kind = "parameter"
    a: Any
    b: Any
    a, b = (None if _is_missing(value) else value for value in (first, second))
    is_comparable = kind != "metadata" and _is_number(a) and _is_number(b)
    return kind, name.removeprefix("parameters."), a, b, b - a if is_comparable else None


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_number(value: object) -> bool:
    import numpy as np

    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
