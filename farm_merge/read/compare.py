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
from farm_merge.read.open import reading_rows
from farm_merge.read.where import chosen_simulations, parsed_parameters
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from os import PathLike

    import pandas as pd
    from sqlite_utils import Database

__all__ = [
    "compare_simulations",
    "compare_two",
    "confidence",
    "group_repetitions",
    "parameter_columns",
    "varied_parameters",
    "without_prefix",
]

_METADATA = ("experiment_id", "status", "seed", "git_commit")
_CHOSEN = "simulation_id IN (SELECT value FROM json_each(:ids))"
_CONFIDENCE = 0.95
_REPETITION = frozenset({"seed", "repetition"})
"""Parameters that number repetitions, and make no set of their own."""

_LONGEST_VALUE = 60
"""Characters of a parameter that can name a set."""


def compare_simulations(database: str | PathLike[str], where: Iterable[str] = ()) -> pd.DataFrame:
    """Return one row a simulation: its parameters, and its results.

    Args:
        database: A shard or experiment database.
        where: Conditions that all have to hold, each `NAME OPERATOR VALUE`: a parameter (`a.b` for
            one in another) or `simulation_id`, `experiment_id`, `status`, `seed`, `git_commit`;
            one of `= != < <= > >= ~`, where `~` looks for a part of a text.

    Returns:
        A frame indexed by `simulation_id`, in order. Columns: `experiment_id`, `status`, `seed`,
        `git_commit`; each parameter as `parameters.NAME`; `steps`; `final_METRIC` (at the last
        step) and `mean_METRIC` (over the steps) of every numeric column of `simulation_steps`;
        `agents_born` and `agents_died`; `actions` and `actions_TYPE` (numbers), `mean_reward`
        (of an action). What a simulation lacks is missing; counts are 0.

    Raises:
        ShardError: If the file is not a database of today's schema.
        FarmMergeError: If a condition is not one.
    """
    import pandas as pd

    with reading_rows(database) as db:
        ids = chosen_simulations(db.conn, where)
        rows: dict[str, dict[str, Any]] = {simulation_id: {} for simulation_id in ids}
        bound = {"ids": json.dumps(ids)}
        found = (_registered(db, bound), _steps(db, bound), _agents(db, bound), _actions(db, ids))
        for row in chain.from_iterable(found):
            rows[row.pop("simulation_id")].update(row)
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
        *_result_columns(frame),
    ]
    return frame[order]


def parameter_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns of `compare_simulations` that hold parameters."""
    return [name for name in map(str, frame) if name.startswith("parameters.")]


def _result_columns(frame: pd.DataFrame) -> list[str]:
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
        A long frame, a row for every set and result: the parameters (one that is called as another
        column keeps `parameters.` in front), `result`, `n` (simulations
        that have it), `mean`, `std` (of the sample), and `ci_low` and `ci_high`, the 95 %
        confidence interval of the mean by Student's t (missing where n is 1).

    Raises:
        FarmMergeError: If there is no such parameter, or SciPy is not installed.
    """
    import pandas as pd

    names = varied_parameters(frame) if by is None else [_parameter(frame, name) for name in by]
    results = [
        name for name in _result_columns(frame) if pd.api.types.is_numeric_dtype(frame[name])
    ]
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
        raise FarmMergeError(
            "confidence intervals need SciPy", remedy="pip install 'farm-merge[report]'"
        ) from exc
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
    for simulation_id in (first, second):
        if simulation_id not in frame.index:
            raise FarmMergeError(
                f"has no simulation {simulation_id}",
                path=database,
                remedy="farm-merge list shows those that it has",
            )
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


def _registered(db: Database, bound: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the metadata and the parameters of simulations."""
    for row in db.query(
        f"SELECT simulation_id, {', '.join(_METADATA)}, parameters FROM simulations"
        f" WHERE {_CHOSEN}",
        bound,
    ):
        parameters = parsed_parameters(row.pop("parameters"))
        yield {**row, **dict(_flat(parameters, "parameters."))}


def _steps(db: Database, bound: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the number of steps, and the mean and the last value of every metric."""
    if not _has_rows(db, "simulation_steps"):
        return
    columns = db.table("simulation_steps").columns
    if not {"simulation_id", "step_number"} <= {column.name for column in columns}:
        return
    metrics = [
        column.name
        for column in columns
        if not column.is_pk and column.type.upper() in {"INTEGER", "FLOAT"}
    ]
    means = (f"avg({quoted(name)}) AS {quoted(f'mean_{name}')}" for name in metrics)
    yield from db.query(
        f"SELECT {', '.join(['simulation_id', 'count(*) AS steps', *means])}"
        f" FROM simulation_steps WHERE {_CHOSEN} GROUP BY 1",
        bound,
    )
    last = (f"t.{quoted(name)} AS {quoted(f'final_{name}')}" for name in metrics)
    yield from db.query(
        f"SELECT {', '.join(['s.simulation_id', *last])} FROM simulations AS s"
        " JOIN simulation_steps AS t ON t.simulation_id = s.simulation_id AND t.step_number ="
        " (SELECT max(step_number) FROM simulation_steps AS u"
        f" WHERE u.simulation_id = s.simulation_id) WHERE s.{_CHOSEN}",
        bound,
    )


def _agents(db: Database, bound: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the numbers of agents."""
    if _has(db, "agents", "simulation_id", "death_time") and _has_rows(db, "agents"):
        yield from db.query(
            "SELECT simulation_id, count(*) AS agents_born, count(death_time) AS agents_died"
            f" FROM agents WHERE {_CHOSEN} GROUP BY 1",
            bound,
        )


def _actions(db: Database, ids: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Yield the numbers of actions by type, and their mean reward."""
    there = _has(db, "agent_actions", "simulation_id", "action_type", "reward")
    if not there or not _has_rows(db, "agent_actions"):
        return
    # One by one: grouping all at once by two columns would sort all rows in memory.
    for simulation_id in ids:
        rows = list(
            db.query(
                "SELECT action_type, count(*) AS number, count(reward) AS rewarded,"
                " total(reward) AS reward FROM agent_actions WHERE simulation_id = ? GROUP BY 1",
                [simulation_id],
            )
        )
        rewarded = sum(row["rewarded"] for row in rows)
        yield {
            "simulation_id": simulation_id,
            **{f"actions_{row['action_type']}": row["number"] for row in rows},
            "actions": sum(row["number"] for row in rows),
            "mean_reward": sum(row["reward"] for row in rows) / rewarded if rewarded else math.nan,
        }


def _has(db: Database, table: str, *columns: str) -> bool:
    """Return whether a database has a table with these columns: a merge of others may not."""
    return {*columns} <= {column.name for column in db.table(table).columns}


def _has_rows(db: Database, table: str) -> bool:
    """Return whether any simulation has rows in a table: a model without actions has not 0."""
    if not db.table(table).exists():
        return False
    return bool(db.execute(f"SELECT EXISTS (SELECT 1 FROM {quoted(table)})").fetchone()[0])


def _flat(values: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(value) if isinstance(value, list) else value


def _parameter(frame: pd.DataFrame, name: str) -> str:
    full = name if name.startswith("parameters.") else f"parameters.{name}"
    if full not in frame:
        known = (column.removeprefix("parameters.") for column in parameter_columns(frame))
        raise FarmMergeError(f"no simulation has a parameter {name}; there are {', '.join(known)}")
    return full


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_number(value: object) -> bool:
    import numpy as np

    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
