"""Effects: how much outcomes depend on parameters, where the design of a sweep allows to say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm_merge.errors import FarmMergeError
from farm_merge.read.open import reading
from farm_merge.read.where import parsed_object
from farm_merge.report.chart import Chart, named
from farm_merge.sweep.sensitivity import sensitivity
from farm_merge.sweep.store import stored_design

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pandas as pd

    from farm_merge.sweep.sensitivity import Sensitivity

__all__ = ["draw_effects", "read_effects"]

_MOST_OUTCOMES = 6
_ROW, _LEAST_HEIGHT = 22, 120
"""Pixels that an index takes, and a panel at least."""

_TICKS, _MARGIN = 8, 8
"""About so many ticks, and pixels between what is drawn and names of parameters."""

_NAMES = {
    "saltelli": "Sobol's indices",
    "morris": "Elementary effects",
    "rank correlation": "Spearman's rank correlations",
}
_SHOWN = {
    "saltelli": {"S1": "first order (S1)", "ST": "total (ST)", "S2": "of a pair (S2)"},
    "morris": {"mu_star": "mean of absolute effects (mu*)"},
    "rank correlation": {"rho": "rank correlation (rho)"},
}


def read_effects(database: Path) -> pd.DataFrame:
    """Return how much outcomes depend on parameters, if the database is of one swept experiment.

    Args:
        database: An experiment database.

    Returns:
        A row for each outcome (`panel`), `parameter` and `measure`, with `value`, and the 95 %
        confidence interval from `low` to `high`; no rows where the design allows nothing. Outcomes
        are the numbers in the results summaries that differ.
    """
    return _table([*_analysed(database)])


def _table(analyses: list[Sensitivity]) -> pd.DataFrame:
    import pandas as pd

    rows = [row for found in analyses for row in _rows(found)]
    columns = ["panel", "parameter", "measure", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def draw_effects(database: Path) -> Iterator[Chart]:
    """Yield a chart of what `read_effects` returns, if there is anything."""
    import altair as alt

    analyses = [*_analysed(database)]
    effects = _table(analyses)
    if effects.empty:
        return
    n = min(found.simulations for found in analyses)
    notes = dict.fromkeys(note for found in analyses for note in found.notes)
    most = effects.groupby("panel").size().max()
    base = named("effects").encode(
        y=alt.Y("parameter:N", title=None, sort=None),
        yOffset="measure:N",
        color=alt.Color("measure:N", title=None),
        tooltip=["parameter:N", "measure:N", "value:Q", "low:Q", "high:Q"],
    )
    drawing = alt.layer(
        base.mark_rule(strokeWidth=2).encode(
            x=alt.X(
                "low:Q",
                title="index and its 95 % interval",
                axis=alt.Axis(tickCount=_TICKS),
                scale=alt.Scale(padding=_MARGIN, nice=False),
            ),
            x2="high:Q",
        ),
        base.mark_point(filled=True, opacity=1, size=70).encode(x="value:Q"),
    )
    yield Chart(
        "sensitivity",
        "Sensitivity",
        "How much outcomes depend on parameters",
        " ".join(
            [f"{_NAMES[analyses[0].method]} of n = {n:,} runs, and their 95 % intervals.", *notes]
        ),
        drawing,
        {"effects": effects},
        panels=list(effects["panel"].unique()),
        height=max(_LEAST_HEIGHT, _ROW * int(most)),
    )


def _analysed(database: Path) -> Iterator[Sensitivity]:
    """Yield the analyses of outcomes, as far as there are enough of them."""
    with reading(database) as connection:
        experiments = connection.execute("SELECT experiment_id FROM experiments").fetchall()
        summaries = [
            parsed_object(text)
            for (text,) in connection.execute(
                "SELECT results_summary FROM simulations"
                " WHERE status = 'completed' AND results_summary IS NOT NULL"
            )
        ]
    if len(experiments) != 1 or stored_design(database, experiments[0][0]) is None:
        return
    for outcome in _outcomes(summaries)[:_MOST_OUTCOMES]:
        try:
            yield sensitivity(database, outcome)
        except FarmMergeError:  # some of the design has failed, or is not there yet
            continue
        except ImportError:  # it is the extra `design`
            return


def _outcomes(summaries: list[dict[str, Any]]) -> list[str]:
    values: dict[str, set[float]] = {}
    for summary in summaries:
        for name, value in summary.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                values.setdefault(name, set()).add(value)
    return [name for name, found in values.items() if len(found) > 1]


def _rows(found: Sensitivity) -> Iterator[dict[str, Any]]:
    for row in found.rows:
        for measure, title in _SHOWN[found.method].items():
            if measure in row:
                half = row.get(f"{measure}_conf", 0.0)
                yield {
                    "panel": found.outcome,
                    "parameter": row["parameter"],
                    "measure": title,
                    "value": row[measure],
                    "low": row.get("low", row[measure] - half),
                    "high": row.get("high", row[measure] + half),
                }
