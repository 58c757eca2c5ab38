"""Sensitivity: how much an outcome depends on each parameter of a sweep, by SALib and SciPy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.errors import FarmMergeError, ShardError
from farm_merge.nearest import with_nearest
from farm_merge.read.compare import compare_simulations
from farm_merge.read.open import query, reading
from farm_merge.read.where import parsed_object
from farm_merge.sweep.design import Sweep
from farm_merge.sweep.samples import problem
from farm_merge.sweep.store import stored_design

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from os import PathLike

    import numpy as np

    from farm_merge.sweep.points import Point

__all__ = ["Sensitivity", "sensitivity"]

_MEASURES = {
    "saltelli": ("S1", "S1_conf", "ST", "ST_conf"),
    "morris": ("mu_star", "mu_star_conf", "mu", "sigma"),
}
_BOOTSTRAP_SEED = 1
_FEWEST_RUNS = 4
_NORMAL_95 = 1.959964


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """How much an outcome depends on parameters.

    Attributes:
        outcome: The outcome.
        method: "saltelli": Sobol's indices of first order (S1) and in total (ST); "morris": the
            elementary effects, their mean (mu), that of their absolute values (mu_star) and their
            standard deviation (sigma); or "rank correlation" (Spearman's rho). What ends in `_conf`
            is half of a 95 % confidence interval.
        simulations: How many were analysed.
        rows: A dictionary a parameter; for pairs of parameters `S2` and `S2_conf`.
        notes: What a reader should know.
    """

    outcome: str
    method: str
    simulations: int
    rows: list[dict[str, Any]]
    notes: tuple[str, ...] = ()


def sensitivity(
    database: str | PathLike[str],
    outcome: str,
    *,
    experiment_id: str | None = None,
    sql: str | None = None,
) -> Sensitivity:
    """Analyse how much an outcome depends on the parameters of a sweep.

    A design of Morris or Saltelli is analysed as such, by SALib; of any other, the ranks of each
    parameter are correlated with those of the outcome.

    Args:
        database: An experiment database.
        outcome: A number in the results summary of each simulation, or a column of
            `compare_simulations`. Repetitions are averaged.
        experiment_id: Which experiment, if there are several.
        sql: A statement that returns `simulation_id` and the outcome instead.

    Raises:
        FarmMergeError: If there is no such outcome, or not enough of it.
        ShardError: If the database cannot be read.
    """
    path = Path(database)
    experiment = experiment_id or _only_experiment(path)
    outcomes = _outcomes(path, experiment, outcome, sql)
    stored = stored_design(path, experiment)
    kind = ((stored or {}).get("sample") or {}).get("method")
    others = [key for key in ("grid", "zip", "csv") if stored and stored.get(key)]
    if stored and kind in _MEASURES and not others:
        sweep = Sweep.model_validate(stored, context={"is_stored": True})
        return _by_design(sweep, outcome, outcomes)
    notes: tuple[str, ...] = ()
    if kind in _MEASURES:
        notes = (f"the design has a {' and a '.join(others)} too, so {kind} says nothing of it",)
    return _by_ranks(path, experiment, outcome, outcomes, notes)


def _only_experiment(path: Path) -> str:
    with reading(path) as connection:
        ids = [name for (name,) in connection.execute("SELECT experiment_id FROM experiments")]
    if len(ids) != 1:
        raise FarmMergeError(
            f"there are {len(ids)} experiments: {', '.join(ids)}",
            path=path,
            remedy="choose one with `experiment_id=`",
        )
    return str(ids[0])


def _outcomes(path: Path, experiment: str, outcome: str, sql: str | None) -> dict[str, float]:
    """Return the outcome of each simulation of an experiment that completed."""
    with reading(path) as connection:
        summaries = {
            simulation_id: parsed_object(text)
            for simulation_id, text in connection.execute(
                "SELECT simulation_id, results_summary FROM simulations"
                " WHERE experiment_id = ? AND status = 'completed'",
                (experiment,),
            )
        }
    if sql is not None:
        found = _by_sql(path, sql)
    else:
        found = {name: summary.get(outcome) for name, summary in summaries.items()}
        if not any(map(_is_number, found.values())):
            found = _by_comparison(path, outcome, summaries)
    values = {name: float(found[name]) for name in summaries if _is_number(found.get(name))}
    if len(values) < _FEWEST_RUNS:
        raise FarmMergeError(f"only {len(values)} simulations have {outcome}", path=path)
    return values


def _by_sql(path: Path, sql: str) -> dict[str, Any]:
    with query(path, sql) as (columns, rows):
        if len(columns) != 2:  # noqa: PLR2004
            raise ShardError("the statement returns simulation_id and the outcome", path=path)
        return dict(rows)


def _by_comparison(
    path: Path, outcome: str, summaries: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    frame = compare_simulations(path)
    if outcome not in frame:
        known = {key for summary in summaries.values() for key in summary}
        raise FarmMergeError(
            with_nearest(f"no outcome {outcome!r}", outcome, [*known, *map(str, frame)]), path=path
        )
    return {str(name): value for name, value in frame[outcome].items()}


def _is_number(value: Any) -> bool:
    is_number = hasattr(value, "__float__") and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _by_design(sweep: Sweep, outcome: str, outcomes: Mapping[str, float]) -> Sensitivity:
    """Analyse a design of Morris or Saltelli, whose every parameter set has to have an outcome."""
    import numpy as np

    sample = sweep.sample
    assert sample is not None  # noqa: S101  (it has a method)
    means = _means(sweep, list(sample.ranges), outcomes)
    rows = [means.get(_key(row)) for row in sample.rows(sweep.seed)]
    if missing := rows.count(None):
        raise FarmMergeError(
            f"{missing:,} of {len(rows):,} parameter sets have no {outcome}, and {sample.method}"
            " needs all",
            remedy="run the sweep again: what failed is tried again",
        )
    values = np.array(rows, dtype=float)
    found = _analysed(sweep, values)
    names = list(sample.ranges)
    table = [
        {"parameter": name}
        | {measure: float(found[measure][place]) for measure in _MEASURES[sample.method]}
        for place, name in enumerate(names)
    ]
    if sample.second_order:
        table += [
            {
                "parameter": f"{first} with {second}",
                "S2": float(found["S2"][one, two]),
                "S2_conf": float(found["S2_conf"][one, two]),
            }
            for one, first in enumerate(names)
            for two, second in enumerate(names)
            if one < two
        ]
    return Sensitivity(outcome, sample.method, len(outcomes), table)


def _means(
    sweep: Sweep, names: Sequence[str], outcomes: Mapping[str, float]
) -> dict[tuple[object, ...], float]:
    """Return the outcome of each parameter set, over its repetitions."""
    found: dict[tuple[object, ...], list[float]] = {}
    for run in sweep.runs():
        if run.simulation_id in outcomes:
            point = {name: run.parameters[name] for name in names}
            found.setdefault(_key(point), []).append(outcomes[run.simulation_id])
    return {key: sum(values) / len(values) for key, values in found.items()}


def _key(point: Point) -> tuple[object, ...]:
    return tuple(point.values())


def _analysed(sweep: Sweep, values: np.ndarray[Any, Any]) -> Mapping[str, Any]:
    from SALib.analyze import morris, sobol

    sample = sweep.sample
    assert sample is not None  # noqa: S101  (it has a method)
    found: Mapping[str, Any]
    if sample.method == "morris":
        found = morris.analyze(
            problem(sample),
            sample.units(sweep.seed),
            values,
            num_levels=sample.levels,
            seed=_BOOTSTRAP_SEED,
        )
    else:
        found = sobol.analyze(
            problem(sample), values, calc_second_order=sample.second_order, seed=_BOOTSTRAP_SEED
        )
    return found


def _by_ranks(
    path: Path,
    experiment: str,
    outcome: str,
    outcomes: Mapping[str, float],
    notes: tuple[str, ...],
) -> Sensitivity:
    """Correlate the ranks of each parameter that varies with those of the outcome."""
    from scipy.stats import spearmanr

    with reading(path) as connection:
        parameters = {
            name: parsed_object(text)
            for name, text in connection.execute(
                "SELECT simulation_id, parameters FROM simulations WHERE experiment_id = ?",
                (experiment,),
            )
        }
    chosen = [parameters[name] for name in outcomes]
    rows, skipped = [], []
    for name in sorted({name for values in chosen for name in values} - {"repetition", "seed"}):
        values = [point.get(name) for point in chosen]
        if len(set(map(repr, values))) == 1:
            continue
        if not all(map(_is_number, values)):
            skipped.append(name)
            continue
        found = spearmanr(values, list(outcomes.values()))
        rows.append(_correlation(name, float(found.statistic), float(found.pvalue), len(values)))
    if skipped:
        notes = (*notes, f"not numbers everywhere, and so without ranks: {', '.join(skipped)}")
    return Sensitivity(outcome, "rank correlation", len(outcomes), rows, notes)


def _correlation(name: str, rho: float, p_value: float, number: int) -> dict[str, Any]:
    """Return a row with a 95 % interval by Fisher's transformation.

    Its variance is that of Bonett and Wright, Sample size requirements for estimating
    Pearson, Kendall and Spearman correlations, Psychometrika 65 (2000), 23-28.
    """
    if math.isnan(rho) or abs(rho) == 1 or number < _FEWEST_RUNS:
        low = high = rho
    else:
        half = _NORMAL_95 * math.sqrt((1 + rho**2 / 2) / (number - 3))
        low, high = (math.tanh(math.atanh(rho) + sign * half) for sign in (-1, 1))
    return {"parameter": name, "rho": rho, "low": low, "high": high, "p_value": p_value}
