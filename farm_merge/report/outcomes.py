"""Outcomes: the results of runs by one parameter and by two, of one parameter set at a time."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from farm_merge.read.compare import FEWEST_RUNS
from farm_merge.report.chart import (
    COLOURS,
    IS_SHOWN,
    Chart,
    capital,
    counted,
    named,
    scale_of,
    slug,
)
from farm_merge.report.layout import MOST_SETS
from farm_merge.report.series import colour, spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from farm_merge.report.runs import Runs

    Axis = Literal["x", "y"]

__all__ = ["draw_outcomes", "points"]

_MOST_PARAMETERS = 4
_MOST_CELLS = 12
"""Values of a parameter along a side of a table of colours."""


def draw_outcomes(runs: Runs) -> Iterator[Chart]:
    """Yield a chart of each outcome by each parameter, and by the first two."""
    by = runs.layout.by
    for parameter in by[:_MOST_PARAMETERS]:
        for outcome, title in runs.outcomes.items():
            draw = _each_run if runs.layout.is_single else _by_parameter
            yield draw(runs, parameter, outcome, title)
    if (
        not runs.layout.is_single
        and len(by) > 1
        and runs.frame[list(by[:2])].nunique().max() <= _MOST_CELLS
    ):
        for outcome, title in list(runs.outcomes.items())[:2]:
            yield _by_two(runs, by[0], by[1], outcome, title)


def points(data: pd.DataFrame, axes: dict[str, Any], title: str, scale: Any, at: Axis) -> list[Any]:
    """Return layers: means and their intervals, or each of a few runs and their range.

    Args:
        data: The sets, as `spread` returns them.
        axes: What all marks have in common.
        title: Of the axis along which intervals are drawn.
        scale: Of it.
        at: Which axis it is.
    """
    channel = _value_on(at)
    base = named("sets").transform_filter(IS_SHOWN)
    known = [f"{name}:N" for name in ("value", "what") if name in data]
    tooltip = ["set:N", *known, "n:Q", "mean:Q", "low:Q", "high:Q", "interval:N"]
    rule = base.mark_rule(strokeWidth=2).encode(
        channel("low:Q", title=title, scale=scale), _end_on(at), tooltip=tooltip, **axes
    )
    mean = (
        base.transform_filter("!datum.few")
        .mark_point(filled=True, opacity=1, size=70)
        .encode(channel("mean:Q", title=title, scale=scale), tooltip=tooltip, **axes)
    )
    each = (
        named("runs")
        .transform_filter(f"datum.few && {IS_SHOWN}")
        .mark_point(filled=False, opacity=0.9, size=30)
        .encode(
            channel("outcome:Q", title=title, scale=scale),
            tooltip=["simulation_id:N", "set:N", "outcome:Q"],
            **axes,
        )
    )
    return [rule, mean, each]


def _value_on(at: Axis) -> Any:
    """Return what encodes values along an axis."""
    import altair as alt

    return {"x": alt.X, "y": alt.Y}[at]


def _end_on(at: Axis) -> Any:
    import altair as alt

    return {"x": alt.X2, "y": alt.Y2}[at]("high:Q")


def _by_parameter(runs: Runs, parameter: str, outcome: str, title: str) -> Chart:
    import altair as alt

    rows = _rows(runs, parameter, outcome)
    sets = spread(rows.rename(columns={"value": "x", "outcome": "value"}),
                  ["set", "panel", "line", "x"], runs).rename(columns={"x": "value"})  # fmt: skip
    few = sets[sets["few"]].set_index(["set", "panel", "line", "value"]).index
    places = zip(rows["set"], rows["panel"], rows["line"], rows["value"], strict=True)
    alone = rows.assign(few=[place in few for place in places])
    name = parameter.removeprefix("parameters.")
    kind = _kind(runs.frame[parameter])
    x = alt.X(f"value:{kind}", title=name, axis=alt.Axis(labelAngle=0))
    axes: dict[str, Any] = {"x": x, "color": colour(runs)}
    if kind == "O" and rows["line"].nunique() > 1:
        axes["xOffset"] = alt.XOffset("line:N", sort=list(dict.fromkeys(rows["line"])))
    extent = scale_of(rows["outcome"], sets["low"], sets["high"])
    line = _line(runs, parameter, axes, alt.Y("mean:Q", title=title, scale=extent))
    drawing = alt.layer(line, *points(sets, axes, title, extent, "y"))
    panels = list(dict.fromkeys(rows["panel"]))
    return Chart(
        f"{slug(outcome)}_by_{slug(name)}",
        "Outcomes",
        f"{capital(title)} by {name}",
        f"{_caption(sets)} {counted(sets['n'])}.",
        drawing,
        {"sets": sets, "runs": alone[alone["few"]]},
        panels,
        height=220,
        is_small=len(panels) == 1,
    )


def _line(runs: Runs, parameter: str, axes: dict[str, Any], y: Any) -> Any:
    """Return lines between the means of the sets that differ in one parameter alone."""
    import altair as alt

    own = parameter not in runs.layout.colours
    along: dict[str, Any] = {**axes, "color": axes["color"] if own else alt.value("#8c8c8c")}
    drawn = named("sets").transform_filter(IS_SHOWN).mark_line(strokeWidth=1, opacity=0.7)
    return drawn.encode(y, detail="line:N", **along)


def _caption(sets: pd.DataFrame) -> str:
    words = []
    if (~sets["few"]).any():
        names = sets.loc[~sets["few"], "interval"].unique()
        words.append(f"Means of parameter sets with {' or '.join(names)}.")
    if sets["few"].any():
        few = "Single runs and their range"
        words.append(f"{few}, where there are fewer than {FEWEST_RUNS}." if words else f"{few}.")
    return " ".join([*words, "Lines join the means of sets that differ in this parameter alone;"])


def _each_run(runs: Runs, parameter: str, outcome: str, title: str) -> Chart:
    import altair as alt

    rows = _rows(runs, parameter, outcome)
    name = parameter.removeprefix("parameters.")
    drawing = (
        named("runs")
        .mark_point(filled=True, opacity=0.6, size=30, color=COLOURS[0])
        .encode(
            alt.X(f"value:{_kind(runs.frame[parameter])}", title=name,
                  scale=alt.Scale(zero=False), axis=alt.Axis(labelAngle=0)),
            alt.Y("outcome:Q", title=title, scale=scale_of(rows["outcome"])),
            tooltip=["simulation_id:N", "value:N", "outcome:Q"],
        )
    )  # fmt: skip
    return Chart(
        f"{slug(outcome)}_by_{slug(name)}",
        "Outcomes",
        f"{capital(title)} by {name}",
        f"Each of the n = {len(rows):,} runs, whatever its other parameters.",
        drawing,
        {"runs": rows},
        height=220,
        is_small=True,
    )


def _rows(runs: Runs, parameter: str, outcome: str) -> pd.DataFrame:
    """Return a row a run that has an outcome: what it is drawn by."""
    import pandas as pd

    layout, frame = runs.layout, runs.frame
    panel = "" if layout.is_single else layout.panel(frame, parameter)
    rows = pd.DataFrame(
        {
            "simulation_id": frame.index,
            "set": runs.sets.to_numpy(),
            "panel": panel if isinstance(panel, str) else panel.to_numpy(),
            "line": layout.line(frame, parameter).to_numpy(),
            "value": frame[parameter].to_numpy(),
            "outcome": frame[outcome].to_numpy(dtype=float),
        }
    )
    return rows.dropna(subset=["outcome"])


def _kind(parameter: pd.Series[Any]) -> Literal["Q", "O"]:
    """Return whether the values of a parameter are a scale, or one by one."""
    import pandas as pd

    is_number = pd.api.types.is_numeric_dtype(parameter)
    return "Q" if is_number and parameter.nunique() > MOST_SETS else "O"


def _by_two(runs: Runs, first: str, second: str, outcome: str, title: str) -> Chart:
    import altair as alt
    import pandas as pd

    others = tuple(name for name in runs.layout.by if name not in {first, second})
    panel = replace(runs.layout, panels=others).panel(runs.frame)
    grouped = runs.frame.assign(panel=panel).groupby([first, second, "panel"], sort=False)[outcome]
    table: pd.DataFrame = grouped.agg(["mean", "count"]).reset_index()
    x, y = (name.removeprefix("parameters.") for name in (first, second))
    table.columns = pd.Index(["first", "second", "panel", "mean", "n"])
    table = table[table["n"] > 0]
    base = named("sets").encode(
        alt.X("first:O", title=x, axis=alt.Axis(labelAngle=0)), alt.Y("second:O", title=y)
    )
    low, high = float(table["mean"].min()), float(table["mean"].max())
    colours = alt.Scale(scheme="viridis", domain=[low, high])
    cells = base.mark_rect().encode(
        alt.Color("mean:Q", title=title, scale=colours),
        tooltip=["first:N", "second:N", "mean:Q", "n:Q"],
    )
    ink = alt.condition(f"datum.mean > {(low + high) / 2}", alt.value("black"), alt.value("white"))
    numbers = base.mark_text(dy=-6).encode(alt.Text("mean:Q", format=".3~g"), color=ink)
    counts = (
        base.transform_calculate(label="'n = ' + datum.n")
        .mark_text(dy=8, fontSize=9)
        .encode(text="label:N", color=ink)
    )
    panels = list(dict.fromkeys(table["panel"]))
    return Chart(
        f"{slug(outcome)}_by_{slug(x)}_and_{slug(y)}",
        "Outcomes",
        f"{capital(title)} by {x} and {y}",
        f"Mean of the runs of each parameter set, {counted(table['n'])}.",
        alt.layer(cells, numbers, counts),
        {"sets": table},
        panels,
        height=220,
        is_small=len(panels) == 1,
    )
