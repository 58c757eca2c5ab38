"""Compare: one row a simulation, groups of repetitions, and two simulations side by side.

Everything that touches the rows of runs is aggregated by SQLite, simulation by simulation along
the key; what reaches pandas is one row a simulation.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from farm_merge.errors import FarmMergeError
from farm_merge.reading import chosen_simulations, parsed_parameters, reading
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from os import PathLike

    import pandas as pd

    from farm_merge.sqlite import sqlite3

__all__ = [
    "compare_simulations",
    "compare_two",
    "group_repetitions",
    "parameter_columns",
    "result_columns",
    "varied_parameters",
]

_METADATA = ("experiment_id", "status", "seed", "git_commit")
_CHOSEN = "simulation_id IN (SELECT value FROM json_each(:ids))"
_CONFIDENCE = 0.95
_REPETITION = frozenset({"seed", "repetition"})
"""Parameters that tell repetitions apart, and make no set of their own."""

_LONGEST_VALUE = 60
"""Characters of a parameter that can name a set."""


def compare_simulations(database: str | PathLike[str], where: Iterable[str] = ()) -> pd.DataFrame:
    """Return one row a simulation: what it was given, and what came out.

    Args:
        database: A shard or experiment database.
        where: Conditions, as `reading.chosen_simulations` takes them.

    Returns:
        A frame indexed by `simulation_id`, in order. Columns: `experiment_id`, `status`, `seed`,
        `git_commit`; each parameter as `parameters.NAME`; `steps`; `final_METRIC` (at the last
        step) and `mean_METRIC` (over the steps) of every numeric column of `simulation_steps`;
        `agents_born` and `agents_died`; `actions` and `actions_TYPE` (numbers), `mean_reward`
        (of an action). What a simulation lacks is missing; counts are 0.

    Raises:
        ShardError: If the file is not a database of today's schema.
        FarmMergeError: If a condition is none.
    """
    import pandas as pd

    with reading(database) as connection:
        ids = chosen_simulations(connection, where)
        rows: dict[str, dict[str, Any]] = {each: {} for each in ids}
        bound = {"ids": json.dumps(ids)}
        for simulation_id, parameters, *metadata in connection.execute(
            f"SELECT simulation_id, parameters, {', '.join(_METADATA)} FROM simulations"
            f" WHERE {_CHOSEN}",
            bound,
        ):
            rows[simulation_id].update(zip(_METADATA, metadata, strict=True))
            rows[simulation_id].update(_flat(parsed_parameters(parameters), "parameters."))
        for found in (
            _step_metrics(connection, bound),
            _agents(connection, bound),
            _actions(connection, ids),
        ):
            for simulation_id, values in found:
                rows[simulation_id].update(values)
    frame = pd.DataFrame.from_dict(rows, orient="index").reindex(ids)
    frame.index.name = "simulation_id"
    counts = [
        name
        for name in map(str, frame)
        if name.startswith(("actions", "agents_")) or name == "steps"
    ]
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

    Args:
        frame: What `compare_simulations` returned.
        by: Parameters that make a set, with or without `parameters.` in front; by default
            `varied_parameters`.

    Returns:
        A long frame, a row for every set and result: the parameters, `result`, `n` (simulations
        that have it), `mean`, `std` (of the sample), and `ci_low` and `ci_high`, the 95 %
        confidence interval of the mean by Student's t (missing where n is 1).

    Raises:
        FarmMergeError: If there is no such parameter, or SciPy is not installed.
    """
    import pandas as pd

    names = varied_parameters(frame) if by is None else [_parameter(frame, name) for name in by]
    results = [name for name in result_columns(frame) if pd.api.types.is_numeric_dtype(frame[name])]
    long = frame.melt(id_vars=names, value_vars=results, var_name="result")
    # Groups stay in the order of their values, results in that of the columns.
    long["result"] = pd.Categorical(long["result"], results)
    grouped = long.groupby([*names, "result"], dropna=False, observed=True)["value"]
    told = grouped.agg(n="count", mean="mean", std="std").reset_index().copy()
    half: Any = told["std"] / told["n"] ** 0.5 * _student(told["n"])
    told["ci_low"], told["ci_high"] = told["mean"] - half, told["mean"] + half
    told["result"] = told["result"].astype(str)
    return told.rename(columns={name: name.removeprefix("parameters.") for name in names})


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
    for each in (first, second):
        if each not in frame.index:
            raise FarmMergeError(f"{database}: has no simulation {each}; see farm-merge list")
    left: Any = frame.loc[first]
    right: Any = frame.loc[second]
    rows = []
    a: Any
    b: Any
    for name in map(str, frame):
        kind = "metadata" if name in _METADATA else "result"
        if name.startswith("parameters."):
            kind = "parameter"
        a, b = (None if _is_missing(value) else value for value in (left[name], right[name]))
        comparable = kind != "metadata" and _is_number(a) and _is_number(b)
        difference = b - a if comparable else None
        rows.append((kind, name.removeprefix("parameters."), a, b, difference))
    told = pd.DataFrame(rows, columns=["kind", "name", "first", "second", "difference"])
    told.columns = pd.Index(["kind", "name", first, second, "difference"])
    return told


def _step_metrics(
    connection: sqlite3.Connection, bound: dict[str, str]
) -> Iterable[tuple[str, dict[str, Any]]]:
    told = connection.execute("PRAGMA table_info(simulation_steps)").fetchall()
    metrics = [
        name for _, name, kind, *_, key in told if not key and kind.upper() in {"INTEGER", "FLOAT"}
    ]
    means = ", ".join(f"avg({quoted(name)})" for name in metrics)
    for simulation_id, steps, *values in connection.execute(
        f"SELECT simulation_id, count(*), {means} FROM simulation_steps WHERE {_CHOSEN} GROUP BY 1",
        bound,
    ):
        named = zip((f"mean_{name}" for name in metrics), values, strict=True)
        yield simulation_id, {"steps": steps, **dict(named)}
    last = ", ".join(f"t.{quoted(name)}" for name in metrics)
    for simulation_id, *values in connection.execute(
        f"SELECT s.simulation_id, {last} FROM simulations AS s JOIN simulation_steps AS t"
        " ON t.simulation_id = s.simulation_id AND t.step_number = (SELECT max(step_number)"
        f" FROM simulation_steps AS u WHERE u.simulation_id = s.simulation_id) WHERE s.{_CHOSEN}",
        bound,
    ):
        yield simulation_id, dict(zip((f"final_{name}" for name in metrics), values, strict=True))


def _agents(
    connection: sqlite3.Connection, bound: dict[str, str]
) -> Iterable[tuple[str, dict[str, Any]]]:
    for simulation_id, born, died in connection.execute(
        f"SELECT simulation_id, count(*), count(death_time) FROM agents WHERE {_CHOSEN} GROUP BY 1",
        bound,
    ):
        yield simulation_id, {"agents_born": born, "agents_died": died}


def _actions(
    connection: sqlite3.Connection, ids: Iterable[str]
) -> Iterable[tuple[str, dict[str, Any]]]:
    # One by one: grouping all at once by two columns would sort all rows in memory.
    for simulation_id in ids:
        found = connection.execute(
            "SELECT action_type, count(*), count(reward), total(reward) FROM agent_actions"
            " WHERE simulation_id = ? GROUP BY 1",
            (simulation_id,),
        ).fetchall()
        rewarded = sum(row[2] for row in found)
        yield (
            simulation_id,
            {
                **{f"actions_{kind}": number for kind, number, *_ in found},
                "actions": sum(row[1] for row in found),
                "mean_reward": sum(row[3] for row in found) / rewarded if rewarded else math.nan,
            },
        )


def _flat(values: dict[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value) if isinstance(value, list) else value


def _parameter(frame: pd.DataFrame, name: str) -> str:
    full = name if name.startswith("parameters.") else f"parameters.{name}"
    if full not in frame:
        known = ", ".join(each.removeprefix("parameters.") for each in parameter_columns(frame))
        raise FarmMergeError(f"no simulation has a parameter {name}; there are {known}")
    return full


def _student(n: pd.Series) -> Any:
    try:
        from scipy import stats
    except ImportError as exc:
        raise FarmMergeError(
            "confidence intervals need SciPy: pip install 'farm-merge[report]'"
        ) from exc
    return stats.t.ppf(0.5 + _CONFIDENCE / 2, (n - 1).where(n > 1))


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_number(value: object) -> bool:
    import numpy as np

    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
