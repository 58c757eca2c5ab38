"""Charts: an experiment as Vega-Lite, by Altair.

On the page, plain checkboxes show and hide parameter sets and single runs in all charts at once,
so that they can be reached by keyboard; in pictures, legends name the sets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from farm_merge.read.compare import confidence, group_repetitions, with_results
from farm_merge.read.report.runs import MOST_SETS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd

    from farm_merge.read.report.runs import Runs

__all__ = ["COLOURS", "Chart", "draw_charts", "draw_pictures", "slug", "spec"]

COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#eeca3b", "#ff9da6",
           "#9d755d", "#8c8c8c", "#2f8fdd", "#a0cb3a")  # fmt: skip

_TITLES = {"total_agents": "Population", "total_resources": "Resources"}
_MOST_RUNS = 100
"""Runs that can be drawn one by one; they are most of the page."""

_BINS = 30

_IS_SHOWN = "indexof(hidden, datum.set) < 0"


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, and what it shows in words.

    Attributes:
        name: Of its picture, and its id on the page.
        section: Of the page.
        title: Above it.
        caption: Below it.
        drawing: An Altair chart.
        is_small: Whether several fit side by side.
    """

    name: str
    section: str
    title: str
    caption: str
    drawing: Any
    is_small: bool = False


def draw_charts(runs: Runs) -> Iterator[Chart]:
    """Yield the charts for which there is data, each under a name of its own."""
    names: set[str] = set()
    for chart in _drawn(runs):
        name, number = chart.name, 1
        while name in names:
            number += 1
            name = f"{chart.name}_{number}"
        names.add(name)
        yield replace(chart, name=name)


def _drawn(runs: Runs) -> Iterator[Chart]:
    for metric, rows in runs.series.items():
        yield _over_steps(runs, rows, metric, _TITLES.get(metric, metric))
    for metric, rows in runs.values.items():
        yield _distribution(runs, rows, metric)
    for parameter in runs.by[:4]:
        yield from _by_parameter(runs, parameter)
    if len(runs.by) > 1:
        for outcome in list(runs.outcomes)[:2]:
            yield _by_two(runs, runs.by[0], runs.by[1], outcome)
    if "agents_born" in runs.frame:
        yield _lives(runs)
    if len(runs.causes):
        yield _causes(runs)
    if actions := [name for name in map(str, runs.frame) if name.startswith("actions_")]:
        yield _actions(runs, actions)


def spec(chart: Chart, *, legend: bool) -> dict[str, Any]:
    """Return a chart as Vega-Lite.

    Args:
        chart: The chart.
        legend: Whether legends name the sets; on the page, checkboxes do.
    """
    import altair as alt

    with alt.data_transformers.disable_max_rows():
        made: dict[str, Any] = chart.drawing.to_dict()
    made["params"] = [{"name": "hidden", "value": []}, {"name": "single_runs", "value": False}]
    made |= {"background": "transparent", "width": "container", "height": 300}
    if legend:
        made |= {"background": "white", "width": 720}
    else:
        _without_legend(made)
    return made


def draw_pictures(charts: Iterable[Chart]) -> Iterator[tuple[str, bytes]]:
    """Yield the names and the bytes of files that show charts, as SVG and PNG."""
    import vl_convert

    for chart in charts:
        made = spec(chart, legend=True)
        yield f"{chart.name}.svg", vl_convert.vegalite_to_svg(made).encode()
        yield f"{chart.name}.png", vl_convert.vegalite_to_png(made, scale=2)


def slug(name: str) -> str:
    """Return a name as it can be one in a path and on a page."""
    return "".join(letter if letter.isalnum() or letter in "_-" else "_" for letter in name)


def _over_steps(runs: Runs, steps: pd.DataFrame, metric: str, title: str) -> Chart:
    import altair as alt

    axis = title.lower() if metric in _TITLES else title
    x = alt.X("step:Q", title="step", axis=alt.Axis(format="d"))
    colour = _colour(runs)
    means = alt.Chart(_rounded(_means(steps))).transform_filter(_IS_SHOWN)
    band = means.mark_area(opacity=0.18).encode(
        x,
        alt.Y("low:Q", title=axis),
        alt.Y2("high:Q"),
        colour,
    )
    line = means.mark_line(strokeWidth=2).encode(
        x,
        alt.Y("mean:Q"),
        colour,
        tooltip=["set:N", "step:Q", "mean:Q", "low:Q", "high:Q", "count:Q"],
    )
    ids = steps["simulation_id"].unique()
    drawn = ids[:: -(-len(ids) // _MOST_RUNS)]
    alone = steps[steps["simulation_id"].isin(drawn)]
    single = (
        alt.Chart(_rounded(alone))
        .transform_filter(f"single_runs && {_IS_SHOWN}")
        .mark_line(strokeWidth=0.7, opacity=0.6)
        .encode(
            x,
            alt.Y("value:Q"),
            colour,
            detail="simulation_id:N",
            tooltip=["simulation_id:N", "set:N", "step:Q", "value:Q"],
        )
    )
    return Chart(
        f"{slug(metric)}_over_steps",
        "Over time",
        f"{title} over steps",
        "Mean of the runs of each parameter set, with its 95 % confidence band."
        + ("" if len(drawn) == len(ids) else f" Single runs: {len(drawn)} of {len(ids)}."),
        band + line + single,
    )


def _means(steps: pd.DataFrame) -> pd.DataFrame:
    """Return the means of a metric by set and step, with their confidence intervals."""
    grouped = steps.groupby(["set", "step"])["value"]
    means = grouped.agg(["mean", "std", "count"]).reset_index()
    half = confidence(means["std"], means["count"]).fillna(0)
    means["low"], means["high"] = means["mean"] - half, means["mean"] + half
    if steps["value"].min() >= 0:  # no band below what cannot be
        means["low"] = means["low"].clip(lower=0)
    return means


def _distribution(runs: Runs, values: pd.DataFrame, metric: str) -> Chart:
    import altair as alt
    import numpy as np
    import pandas as pd

    edges = _edges(values["value"])
    shares = []
    for label, of_set in values.groupby("set", sort=False)["value"]:
        counts, _ = np.histogram(of_set, edges)
        middles = (edges[:-1] + edges[1:]) / 2
        shares.append(pd.DataFrame({"set": label, "value": middles, "share": counts / len(of_set)}))
    line = (
        alt.Chart(_rounded(pd.concat(shares)))
        .transform_filter(_IS_SHOWN)
        .mark_line(interpolate="step", strokeWidth=2)
        .encode(
            alt.X("value:Q", title=metric),
            alt.Y("share:Q", title="share of agents", axis=alt.Axis(format="%")),
            _colour(runs),
            tooltip=["set:N", "value:Q", "share:Q"],
        )
    )
    return Chart(
        f"{slug(metric)}_of_agents",
        "Agents",
        f"{metric} of agents",
        "Its distribution over the agents at the last step of the runs of each parameter set.",
        line,
        is_small=True,
    )


def _edges(values: pd.Series[Any]) -> Any:
    """Return the edges of bins; those of whole numbers hold as many of these each."""
    import numpy as np

    if not (values % 1 == 0).all():
        return np.histogram_bin_edges(values, bins=_BINS)
    width = -(-(values.max() - values.min() + 1) // _BINS)
    return np.arange(values.min() - 0.5, values.max() + 0.5 + width, width)


def _colour(runs: Runs) -> Any:
    import altair as alt

    labels = runs.labels
    scale = alt.Scale(domain=labels, range=COLOURS[: len(labels)])
    return alt.Color("set:N", scale=scale, title=None)


def _by_parameter(runs: Runs, parameter: str) -> Iterator[Chart]:
    import altair as alt

    name = parameter.removeprefix("parameters.")
    means = group_repetitions(runs.frame, [parameter])
    means = means.rename(columns={str(means.columns[0]): "value"})
    x = alt.X(f"value:{_kind(runs.frame[parameter])}", title=name, axis=alt.Axis(labelAngle=0))
    tooltip = ["value:N", "n:Q", "mean:Q", "std:Q", "ci_low:Q", "ci_high:Q"]
    for outcome, title in runs.outcomes.items():
        base = alt.Chart(_rounded(means[means["result"] == outcome].drop(columns="result")))
        y = alt.Y("mean:Q", title=title, scale=alt.Scale(zero=False))
        intervals = base.mark_rule(color=COLOURS[0], strokeWidth=2)
        points = base.mark_point(filled=True, opacity=1, size=80, color=COLOURS[0])
        yield Chart(
            f"{slug(outcome)}_by_{slug(name)}",
            "Outcomes",
            f"{_capital(title)} by {name}",
            "Means over all runs with that value, with 95 % confidence intervals.",
            intervals.encode(x, alt.Y("ci_low:Q"), alt.Y2("ci_high:Q"))
            + points.encode(x, y, tooltip=tooltip),
            is_small=True,
        )


def _capital(title: str) -> str:
    return title[:1].upper() + title[1:]


def _kind(parameter: pd.Series[Any]) -> Literal["Q", "O"]:
    """Return whether the values of a parameter are a scale, or one by one."""
    import pandas as pd

    is_number = pd.api.types.is_numeric_dtype(parameter)
    return "Q" if is_number and parameter.nunique() > MOST_SETS else "O"


def _by_two(runs: Runs, first: str, second: str, outcome: str) -> Chart:
    import altair as alt

    frame = with_results(runs.frame)
    table = frame.groupby([first, second], dropna=False)[outcome].mean().reset_index()
    x, y = (name.removeprefix("parameters.") for name in (first, second))
    table.columns = ["first", "second", "mean"]
    base = alt.Chart(_rounded(table)).encode(
        alt.X("first:O", title=x, axis=alt.Axis(labelAngle=0)), alt.Y("second:O", title=y)
    )
    title = runs.outcomes[outcome]
    middle = float(table["mean"].min() + table["mean"].max()) / 2
    cells = base.mark_rect().encode(
        alt.Color("mean:Q", title=title, scale=alt.Scale(scheme="viridis")),
        tooltip=["first:N", "second:N", "mean:Q"],
    )
    numbers = base.mark_text().encode(
        alt.Text("mean:Q", format=".3~g"),
        color=alt.condition(f"datum.mean > {middle}", alt.value("black"), alt.value("white")),
    )
    return Chart(
        f"{slug(outcome)}_by_{slug(x)}_and_{slug(y)}",
        "Outcomes",
        f"{_capital(title)} by {x} and {y}",
        "Mean over the runs with both values.",
        cells + numbers,
        is_small=True,
    )


def _lives(runs: Runs) -> Chart:
    frame = with_results(runs.frame).assign(set=runs.sets)
    table = frame.groupby("set", sort=False)[["agents_born", "agents_died"]].mean().reset_index()
    long = table.melt("set", var_name="what", value_name="number")
    long["what"] = long["what"].map({"agents_born": "lived", "agents_died": "died"})
    return Chart(
        "births_and_deaths",
        "Lives",
        "Births and deaths",
        "Agents of a run that ever lived, founders included, and that died; means of the runs.",
        _bars(runs, long, "what", "agents"),
    )


def _causes(runs: Runs) -> Chart:
    number_of_runs = runs.sets.value_counts()
    table = runs.causes.groupby(["set", "cause"], sort=False)["number"].sum().reset_index()
    table["number"] /= table["set"].map(number_of_runs).astype(float)
    return Chart(
        "health_incidents_by_cause",
        "Lives",
        "What changed the health of agents",
        "Health incidents of a run by their cause; means of the runs.",
        _bars(runs, table, "cause", "incidents", stack="zero"),
    )


def _actions(runs: Runs, actions: list[str]) -> Chart:
    frame = with_results(runs.frame)[actions].assign(set=runs.sets)
    table = frame.groupby("set", sort=False).mean().reset_index()
    long = table.melt("set", var_name="action", value_name="number")
    long["action"] = long["action"].str.removeprefix("actions_")
    return Chart(
        "action_mix",
        "Actions",
        "Action mix",
        "Share of each type among all actions of the runs of a set.",
        _bars(runs, long, "action", "share", stack="normalize"),
    )


def _bars(
    runs: Runs,
    data: pd.DataFrame,
    kind: str,
    measure: str,
    *,
    stack: Literal["zero", "normalize"] | None = None,
) -> Any:
    """Return bars of `number` by set and a kind, side by side or stacked."""
    import altair as alt

    by_set = alt.Y("set:N", sort=runs.labels, title=None, axis=alt.Axis(labelLimit=260))
    side_by_side: dict[str, Any] = {} if stack else {"yOffset": f"{kind}:N"}
    return (
        alt.Chart(_rounded(data))
        .transform_filter(_IS_SHOWN)
        .mark_bar()
        .encode(
            by_set,
            alt.X("number:Q", title=measure, stack=stack),
            alt.Color(f"{kind}:N", title=None, scale=alt.Scale(range=list(COLOURS))),
            tooltip=["set:N", f"{kind}:N", "number:Q"],
            **side_by_side,
        )
    )


def _rounded(data: pd.DataFrame) -> pd.DataFrame:
    """Return data for a chart; six digits are more than a screen shows, and halve the page."""
    shorter = data.copy()
    for name in data.select_dtypes("float"):
        shorter[name] = data[name].map("{:.6g}".format).astype(float)
    return shorter


def _without_legend(part: dict[str, Any]) -> None:
    colour = part.get("encoding", {}).get("color", {})
    if colour.get("field") == "set":
        colour["legend"] = None
    for layer in part.get("layer", ()):
        _without_legend(layer)
