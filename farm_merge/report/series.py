"""Series: metrics over steps, and how agents differ at the last one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm_merge.read.compare import FEWEST_RUNS, intervals, kinds_in_words
from farm_merge.report.chart import COLOURS, IS_SHOWN, Chart, counted, named, scale_of, slug

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from farm_merge.report.runs import Runs

__all__ = ["colour", "draw_agents", "draw_series", "spread"]

_TITLES = {"total_agents": "Population", "total_resources": "Resources"}

_MOST_RUNS = 400
"""Runs that can be drawn one by one; they are most of the page."""

_BINS = 30


def draw_series(runs: Runs) -> Iterator[Chart]:
    """Yield a chart of each metric that runs have at more than one step."""
    for metric, rows in runs.series.items():
        if not rows["simulation_id"].duplicated().any():
            continue  # agents that were written at the last step alone, say: lines of one point
        yield _over_steps(runs, rows, metric, _TITLES.get(metric, metric))


def draw_agents(runs: Runs) -> Iterator[Chart]:
    """Yield a chart of each metric of agents, at the last step of the runs of each set."""
    if not runs.layout.is_single:
        for metric, rows in runs.values.items():
            yield _distribution(runs, rows, metric)


def spread(rows: pd.DataFrame, groups: list[str], runs: Runs) -> pd.DataFrame:
    """Return the mean and the spread of `value` over the runs of each group.

    Args:
        rows: A row a run and group, with `value`.
        groups: The columns by which rows are grouped.
        runs: Whose choice of an interval holds.
    """
    import pandas as pd

    grouped = rows.dropna(subset=["value"]).groupby(groups, sort=False)["value"]
    keys, samples = [], []
    for key, values in grouped:
        keys.append(key)
        samples.append(values.to_numpy(dtype=float))
    found = intervals(samples, runs.interval)
    table = pd.DataFrame(keys, columns=groups).join(found)
    return table.assign(few=table["n"] < FEWEST_RUNS)


def colour(runs: Runs) -> Any:
    """Return the encoding by which sets have their colours."""
    import altair as alt

    keys = runs.keys
    return alt.Color(
        "set:N", scale=alt.Scale(domain=keys, range=list(COLOURS[: len(keys)])), title=None
    )


def _over_steps(runs: Runs, steps: pd.DataFrame, metric: str, title: str) -> Chart:
    import altair as alt

    means = spread(steps, ["set", "panel", "step"], runs)
    ids = steps["simulation_id"].unique()
    drawn = ids[:: -(-len(ids) // _MOST_RUNS)]
    alone = steps[steps["simulation_id"].isin(drawn)]
    n = steps.groupby(["set", "panel"])["simulation_id"].nunique()
    few = n[n < FEWEST_RUNS]
    grouped = alone.groupby(["simulation_id", "set", "panel"], sort=False)[["step", "value"]]
    single = grouped.agg(list).reset_index()
    single["few"] = [pair in few.index for pair in zip(single["set"], single["panel"], strict=True)]
    is_single = runs.layout.is_single
    extent = scale_of(steps["value"], *([] if is_single else [means["low"], means["high"]]))
    last = float(steps["step"].max())
    x = alt.X("step:Q", title="step", axis=alt.Axis(format="d"),
              scale=alt.Scale(domain=[float(steps["step"].min()), last], nice=False))  # fmt: skip
    axis = title.lower() if metric in _TITLES else title
    tone, data = colour(runs), {"runs": single}
    shown = IS_SHOWN if is_single else f"(single_runs || datum.few) && {IS_SHOWN}"
    if is_single:
        tone, data["runs"] = _by_value(runs, single)
    lines = (
        named("runs")
        .transform_filter(shown)
        .transform_flatten(["step", "value"])
        .mark_line(strokeWidth=1, opacity=0.75)
        .encode(
            x,
            alt.Y("value:Q", title=axis, scale=extent),
            tone,
            detail="simulation_id:N",
            tooltip=["simulation_id:N", "set:N", "step:Q", "value:Q"],
        )
    )
    drawing = lines
    if not is_single:
        data = {"sets": means, **data}
        drawing = alt.layer(*_band(x, axis, extent, tone), lines)
    return Chart(
        f"{slug(metric)}_over_steps",
        "Over time",
        f"{title} over steps",
        _caption(means, n, is_single=is_single)
        + ("" if len(drawn) == len(ids) else f" Single runs: {len(drawn)} of {len(ids)}."),
        drawing,
        data,
        runs.panels,
        height=220 if len(runs.panels) > 1 else 300,
    )


def _band(x: Any, axis: str, extent: Any, tone: Any) -> list[Any]:
    import altair as alt

    base = named("sets").transform_filter(IS_SHOWN)
    band = base.mark_area(opacity=0.18).encode(
        x, alt.Y("low:Q", title=axis, scale=extent), alt.Y2("high:Q"), tone
    )
    tooltip = ["set:N", "step:Q", "n:Q", "mean:Q", "low:Q", "high:Q", "interval:N"]
    line = base.transform_filter("!datum.few").mark_line(strokeWidth=2)
    return [band, line.encode(x, alt.Y("mean:Q"), tone, tooltip=tooltip)]


def _caption(means: pd.DataFrame, n: pd.Series[Any], *, is_single: bool) -> str:
    """Return what a chart over steps shows, in words."""
    if is_single:
        return f"Each of the {int(n.sum()):,} runs: there are too many parameter sets to pool runs."
    words = []
    if (~means["few"]).any():
        kinds = kinds_in_words(means.loc[~means["few"], "interval"])
        words.append(f"Line and band: mean and {kinds}.")
    if (n < FEWEST_RUNS).any():
        words.append(
            f"{'Thin lines' if words else 'Lines'} and band: the runs of sets with fewer than"
            f" {FEWEST_RUNS}, and their range."
        )
    return " ".join([*words, f"{counted(n)}."])


def _by_value(runs: Runs, single: pd.DataFrame) -> tuple[Any, pd.DataFrame]:
    """Return the colour of single runs by a parameter, and their rows with its value."""
    import altair as alt

    name = runs.layout.colours[0]
    values = single["simulation_id"].map(runs.frame[name])
    kind = "Q" if values.map(lambda value: isinstance(value, int | float)).all() else "N"
    title = name.removeprefix("parameters.")
    scale = alt.Scale(scheme="viridis") if kind == "Q" else alt.Undefined
    coded = alt.Color(f"parameter:{kind}", title=title, scale=scale)
    return coded, single.assign(parameter=values)


def _distribution(runs: Runs, values: pd.DataFrame, metric: str) -> Chart:
    import altair as alt
    import numpy as np
    import pandas as pd

    edges = _edges(values["value"])
    middles = (edges[:-1] + edges[1:]) / 2
    parts = []
    for (key, panel), of_set in values.groupby(["set", "panel"], sort=False):
        counts, _ = np.histogram(of_set["value"], edges)
        part = {"value": middles, "share": counts / len(of_set), "agents": len(of_set)}
        n = of_set["simulation_id"].nunique()
        parts.append(pd.DataFrame({"set": key, "panel": panel, **part, "runs": n}))
    shares = pd.concat(parts)
    line = (
        named("sets")
        .transform_filter(IS_SHOWN)
        .mark_line(interpolate="step", strokeWidth=2)
        .encode(
            alt.X("value:Q", title=metric, scale=alt.Scale(domain=[edges[0], edges[-1]])),
            alt.Y("share:Q", title="share of agents", axis=alt.Axis(format="%"),
                  scale=alt.Scale(domain=[0, float(shares["share"].max())])),
            colour(runs),
            tooltip=["set:N", "value:Q", "share:Q", "agents:Q", "runs:Q"],
        )
    )  # fmt: skip
    agents = shares["agents"]
    return Chart(
        f"{slug(metric)}_of_agents",
        "Agents",
        f"{metric} of agents",
        "Its distribution over the agents at the last step of the runs of each parameter set:"
        f" {int(agents.min()):,} to {int(agents.max()):,} agents, {counted(shares['runs'])}.",
        line,
        {"sets": shares},
        runs.panels,
        height=220,
        is_small=len(runs.panels) == 1,
    )


def _edges(values: pd.Series[Any]) -> Any:
    """Return the edges of bins; those of whole numbers hold as many of these each."""
    import numpy as np

    if not (values % 1 == 0).all():
        return np.histogram_bin_edges(values, bins=_BINS)
    width = -(-(values.max() - values.min() + 1) // _BINS)
    return np.arange(values.min() - 0.5, values.max() + 0.5 + width, width)
