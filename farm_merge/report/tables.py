"""Tables: parameters, results and simulations, as rows of cells."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from farm_merge.read.compare import (
    group_repetitions,
    is_technical,
    kinds_in_words,
    parameter_columns,
    unfinished,
    without_prefix,
)
from farm_merge.read.listing import shortened

if TYPE_CHECKING:
    from collections.abc import Hashable

    import pandas as pd

    from farm_merge.report.runs import Runs

__all__ = ["Cell", "Table", "parameter_tables", "results", "simulations", "statuses"]

_LONGEST_TABLE = 25
"""Rows of a table that are shown without being asked for."""

_MOST_VALUES = 12
"""Values of a parameter that are listed."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What a cell shows, in large and in small, and by what it is sorted."""

    text: str
    value: Any
    is_number: bool = True
    small: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a page.

    Attributes:
        columns: The names of its columns.
        rows: Its rows.
        summary: What is shown of it until it is asked for; shown at once, if there is none.
        notes: What is written below the names of some columns.
    """

    columns: list[str]
    rows: list[tuple[Any, ...]]
    summary: str = ""
    notes: dict[str, str] = field(default_factory=dict)

    def cells(self) -> list[list[Cell]]:
        """Return its rows as cells."""
        return [list(map(_cell, row)) for row in self.rows]


def parameter_tables(frame: pd.DataFrame) -> list[Table]:
    """Return the parameters with their values: those that differ, and those of all runs."""
    varied: list[tuple[str, str]] = []
    technical: list[tuple[str, str]] = []
    constant: list[tuple[str, str]] = []
    for name in parameter_columns(frame):
        is_constant = len(frame) > 1 and frame[name].nunique(dropna=False) == 1
        kind = constant if is_constant else technical if is_technical(name) else varied
        kind.append((name.removeprefix("parameters."), _values(frame[name])))
    many = f"All {len(varied)}" if len(varied) > _LONGEST_TABLE else ""
    tables = (
        Table(["parameter", "values"], varied, many),
        Table(["parameter", "values"], technical,
              f"{len(technical)} of storing and logging, by which nothing is compared"),
        Table(["parameter", "value"], constant, f"{len(constant)} that are the same in all runs"),
    )  # fmt: skip
    return [table for table in tables if table.rows]


def statuses(frame: pd.DataFrame) -> list[Table]:
    """Return how many runs have which status, and those that did not end well."""
    status = frame["status"].fillna("unknown")
    others = unfinished(frame)
    tables = [Table(["status", "runs"], list(Counter(status).items()))]
    if len(others):
        rows = list(others.items())
        tables.append(Table(["simulation", "status"], rows, f"{len(rows):,} that did not complete"))
    return tables


def results(runs: Runs) -> Table | None:
    """Return a row a parameter set, with what came out of its runs; None if nothing did."""
    by = list(runs.layout.by)
    means = group_repetitions(runs.frame, by, interval=runs.interval)
    shown = [*runs.outcomes, *(f"mean_{metric}" for metric in runs.series), "agents_born"]
    if means.empty or not (means := means[means["result"].isin(shown)]).size:
        return None
    names = list(dict.fromkeys(means["result"]))
    keys = [str(name) for name in means.columns[: len(by)]]
    cells: dict[Hashable, dict[str, Any]] = {}
    for row in means.to_dict("records"):
        key = tuple(map(str, (row[name] for name in keys)))
        of_set = cells.setdefault(key, {name: row[name] for name in keys})
        of_set[str(row["result"])] = row
    kinds = {name: means.loc[means["result"] == name, "interval"] for name in names}
    notes = {name: kinds_in_words(found) for name, found in kinds.items()}
    mixed = {name for name, found in kinds.items() if found.nunique() > 1}
    failed, n = _sizes(runs, by)
    rows = []
    for key in n:
        of_set = cells.get(key, dict(zip(keys, n[key][1], strict=True)))
        found = (_interval(of_set.get(name), is_mixed=name in mixed) for name in names)
        sizes = (n[key][0], failed[key]) if any(failed.values()) else (n[key][0],)
        rows.append((*(of_set[name] for name in keys), *sizes, *found))
    sizes_named = ["n", "failed"] if any(failed.values()) else ["n"]
    titles = {name: runs.outcomes.get(name, name.replace("_", " ", 1)) for name in names}
    return Table(
        [*keys, *sizes_named, *titles.values()],
        rows,
        notes={titles[name]: f"mean, {note}" for name, note in notes.items()},
    )


def simulations(runs: Runs) -> Table:
    """Return a row a simulation."""
    wanted = ["status", "seed", *runs.layout.by, "steps", *runs.outcomes]
    frame = runs.all.sort_index()
    shown = without_prefix(frame[[name for name in wanted if name in frame]])
    shown = shown.rename(columns=runs.outcomes).reset_index()
    rows = list(shown.itertuples(index=False, name=None))
    return Table(list(map(str, shown)), rows, f"All {len(rows):,} simulations")


def _sizes(
    runs: Runs, by: list[str]
) -> tuple[dict[tuple[str, ...], int], dict[tuple[str, ...], tuple[int, tuple[Any, ...]]]]:
    """Return of each set how many runs failed, and how many did not, with its values."""
    failed: Counter[tuple[str, ...]] = Counter()
    others: dict[tuple[str, ...], tuple[int, tuple[Any, ...]]] = {}
    for _, run in runs.all.iterrows():
        values = tuple(run[name] for name in by)
        key = tuple(map(str, values))
        is_failed = run["status"] == "failed"
        failed[key] += is_failed
        n, _ = others.get(key, (0, ()))
        others[key] = n + (not is_failed), values
    return dict(failed), others


def _interval(row: dict[str, Any] | None, *, is_mixed: bool) -> Cell:
    if row is None or math.isnan(row["mean"]):
        return Cell("", None)
    kind = f" {row['interval']}" if is_mixed else ""
    has_spread = not math.isnan(row["low"])
    small = f"[{_number(row['low'])}, {_number(row['high'])}]{kind}" if has_spread else kind
    return Cell(_number(row["mean"]), row["mean"], small=small)


def _values(column: pd.Series[Any]) -> str:
    values = sorted(column.dropna().unique(), key=lambda value: (isinstance(value, str), value))
    if len(values) > _MOST_VALUES and all(isinstance(value, int | float) for value in values):
        return f"{_number(values[0])} to {_number(values[-1])} ({len(values):,} values)"
    shown = ", ".join(shortened(str(value)) for value in values[:_MOST_VALUES])
    return f"{shown}, … ({len(values)} values)" if len(values) > _MOST_VALUES else shown


def _cell(value: Any) -> Cell:
    if isinstance(value, Cell):
        return value
    if hasattr(value, "item"):  # a number of NumPy's
        value = value.item()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return Cell("", None, is_number=False)
    if isinstance(value, float):
        return Cell(_number(value), value)
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return Cell(str(value), value, is_number=is_number)


def _number(value: float) -> str:
    return f"{value:.4g}"
