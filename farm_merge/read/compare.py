"""Compare: one row a simulation, groups of repetitions, and two simulations side by side.

Everything that touches the rows of runs is aggregated by SQLite, simulation by simulation along
the key; what reaches pandas is one row a simulation.
"""

from __future__ import annotations

import json
import math
from itertools import chain
from typing import TYPE_CHECKING, Any

from farm_merge.errors import FarmMergeError
from farm_merge.extras import missing_extra
from farm_merge.nearest import require_known, with_nearest
from farm_merge.read.open import reading
from farm_merge.read.shapes import chosen_metrics, is_agentfarms, read_shapes
from farm_merge.read.where import STATUS, chosen_simulations, flat_parameters, parsed_parameters
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from os import PathLike

    import pandas as pd

    from farm_merge.read.shapes import Shape
    from farm_merge.sqlite import sqlite3

    Row = dict[str, Any]

__all__ = [
    "compare_simulations",
    "compare_two",
    "confidence",
    "group_repetitions",
    "parameter_columns",
    "result_columns",
    "varied_parameters",
    "varied_results",
    "without_prefix",
]

_METADATA = ("experiment_id", "status", "seed", "git_commit")
_CHOSEN = "simulation_id IN (SELECT value FROM json_each(:ids))"
_CONFIDENCE = 0.95
_REPETITION = frozenset({"seed", "repetition"})
"""Parameters that number repetitions, and make no set of their own."""

_LONGEST_VALUE = 60
"""Characters of a parameter that can name a set."""


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
        rows: dict[str, Row] = {simulation_id: {} for simulation_id in ids}
        shapes = read_shapes(connection, ids)
        found = [_registered(connection, ids), _steps(connection, shapes, ids)]
        if metrics:
            shapes = chosen_metrics(shapes, metrics)
            found.append(_metrics(connection, shapes, ids))
        else:
            tables = {shape.table for shape in shapes}
            found += [
                _metrics(connection, shapes, ids),
                _agents(connection, tables, ids),
                _actions(connection, tables, ids),
            ]
        for row in chain.from_iterable(found):
            rows[row.pop("simulation_id")].update(row)
    columns = dict.fromkeys(chain.from_iterable(rows.values()))
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=list(columns)).reindex(ids)
    frame.index.name = "simulation_id"
    counts = [name for name in columns if _is_count(name, shapes)]
    frame[counts] = frame[counts].fillna(0).astype("int64")
    order = [
        *(name for name in _METADATA if name in frame),
        *parameter_columns(frame),
        *result_columns(frame),
    ]
    return frame[order]


def parameter_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns of `compare_simulations` that hold parameters."""
    return [name for name in map(str, frame) if name.startswith("parameters.")]


def result_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns of `compare_simulations` that hold results."""
    others = (name for name in map(str, frame) if not name.startswith("parameters."))
    return [name for name in others if name not in _METADATA]


def varied_results(frame: pd.DataFrame) -> list[str]:
    """Return the results in which simulations differ; all of them where there is one simulation."""
    results = result_columns(frame)
    return [name for name in results if len(frame) == 1 or frame[name].nunique(dropna=False) > 1]


def varied_parameters(frame: pd.DataFrame) -> list[str]:
    """Return the parameters in which simulations differ, and that all of them have.

    Those that number repetitions are not among them, nor whole structures: where configurations of
    different years meet, nearly everything differs, and nothing would be grouped.
    """
    return [
        name
        for name in parameter_columns(frame)
        if frame[name].nunique() > 1
        and frame[name].notna().all()
        and name.rpartition(".")[2] not in _REPETITION
        and frame[name].map(lambda value: len(str(value))).max() <= _LONGEST_VALUE
    ]


def group_repetitions(frame: pd.DataFrame, by: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the results of parameter sets, over their repetitions.

    Simulations that failed and left nothing are in no set: their counts of 0 are no results.

    Args:
        frame: What `compare_simulations` returned.
        by: Parameters that make a set, with or without `parameters.` in front; by default
            `varied_parameters`.

    Returns:
        A long frame, a row for every set and result: the parameters (one that is called as another
        column keeps `parameters.` in front), `result`, `n` (simulations
        that have it), `mean`, `std` (of the sample), and `ci_low` and `ci_high`, the 95 %
        confidence interval of the mean by Student's t (missing where n is 1).

    Raises:
        FarmMergeError: If there is no such parameter, or SciPy is not installed.
    """
    import pandas as pd

    names = varied_parameters(frame) if by is None else [_parameter(frame, name) for name in by]
    results = [name for name in result_columns(frame) if pd.api.types.is_numeric_dtype(frame[name])]
    if "status" in frame:
        left_nothing = frame[results].fillna(0).eq(0).all(axis=1)
        frame = frame[~(left_nothing & frame["status"].eq("failed"))]
    long = frame[[*names, *results]].melt(id_vars=names, var_name="result")
    # Groups stay in the order of their values, results in that of the columns.
    long["result"] = pd.Categorical(long["result"], results)
    grouped = long.groupby([*names, "result"], dropna=False, observed=True)["value"]
    means = grouped.agg(n="count", mean="mean", std="std").reset_index().copy()
    half = confidence(means["std"], means["n"])
    means["ci_low"], means["ci_high"] = means["mean"] - half, means["mean"] + half
    means["result"] = means["result"].astype(str)
    return without_prefix(means)


def without_prefix(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose parameters are called by their names, as far as these are free."""
    taken = {frame.index.name, *frame}
    short = {name: name.removeprefix("parameters.") for name in parameter_columns(frame)}
    return frame.rename(columns={name: to for name, to in short.items() if to not in taken})


def confidence(std: pd.Series[Any], n: pd.Series[Any]) -> pd.Series[Any]:
    """Return half the width of the 95 % confidence interval of means, by Student's t.

    Args:
        std: The standard deviations of the samples.
        n: Their sizes; the interval of a sample of one is missing.

    Raises:
        FarmMergeError: If SciPy is not installed.
    """
    try:
        from scipy import stats
    except ImportError as exc:
        raise missing_extra("confidence intervals need SciPy", "report") from exc
    quantiles = stats.t.ppf(0.5 + _CONFIDENCE / 2, (n - 1).where(n > 1))
    half: pd.Series[Any] = std / n**0.5 * quantiles
    return half


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
    kind = "metadata" if name in _METADATA else "result"
    if name.startswith("parameters."):
        kind = "parameter"
    a: Any
    b: Any
    a, b = (None if _is_missing(value) else value for value in (first, second))
    is_comparable = kind != "metadata" and _is_number(a) and _is_number(b)
    return kind, name.removeprefix("parameters."), a, b, b - a if is_comparable else None


def _registered(connection: sqlite3.Connection, ids: Sequence[str]) -> Iterator[Row]:
    """Yield the metadata and the parameters of simulations."""
    metadata = ", ".join(_METADATA).replace("status", f"{STATUS} AS status")
    for row in _rows(
        connection,
        f"SELECT simulation_id, {metadata}, parameters FROM simulations WHERE {_CHOSEN}",
        {"ids": json.dumps(ids)},
    ):
        parameters = parsed_parameters(row.pop("parameters"))
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


def _is_count(column: str, shapes: Iterable[Shape]) -> bool:
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


def _parameter(frame: pd.DataFrame, name: str) -> str:
    full = name if name.startswith("parameters.") else f"parameters.{name}"
    if full not in frame:
        known = (column.removeprefix("parameters.") for column in parameter_columns(frame))
        raise FarmMergeError(with_nearest(f"no simulation has a parameter {name}", name, known))
    return full


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_number(value: object) -> bool:
    import numpy as np

    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
