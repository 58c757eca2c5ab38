"""Lives: what AgentFarm's tables of agents, incidents and actions say, by parameter set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from farm_merge.read.compare import kinds_in_words
from farm_merge.report.chart import COLOURS, IS_SHOWN, Chart, counted, named, scale_of
from farm_merge.report.outcomes import points
from farm_merge.report.series import spread

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from farm_merge.report.runs import Runs

__all__ = ["draw_lives"]

_ROW = 24
"""Pixels that a set takes."""


def draw_lives(runs: Runs) -> Iterator[Chart]:
    """Yield the charts of lives, incidents and actions, as far as there are such."""
    if runs.layout.is_single:
        return
    if {"agents_born", "agents_died"} <= {*runs.frame}:
        yield _lives(runs)
    if len(runs.causes):
        yield _mean_bars(runs, runs.causes, "causes")
    if actions := [name for name in map(str, runs.frame) if name.startswith("actions_")]:
        named_actions = {name: name.removeprefix("actions_") for name in actions}
        long = runs.frame[actions].rename(columns=named_actions).reset_index()
        yield _mean_bars(runs, long.melt("simulation_id", var_name="what"), "actions")


def _lives(runs: Runs) -> Chart:
    import altair as alt

    frame = runs.frame.assign(set=runs.sets, panel=runs.panel).reset_index()
    words = {"agents_born": "lived", "agents_died": "died"}
    wide = frame[["simulation_id", "set", "panel", *words]].rename(columns=words)
    long = wide.melt(["simulation_id", "set", "panel"], var_name="what")
    sets = spread(long, ["set", "panel", "what"], runs)
    few = sets[sets["few"]].set_index(["set", "panel"]).index
    pairs = zip(long["set"], long["panel"], strict=True)
    alone = long.rename(columns={"value": "outcome"})
    alone = alone.assign(few=[pair in few for pair in pairs])
    extent = scale_of(long["value"], sets["low"], sets["high"])
    axes = {
        "y": _rows_of_sets(runs),
        "yOffset": alt.YOffset("what:N", sort=list(words.values())),
        "color": _kinds(list(words.values()), "what"),
    }
    return Chart(
        "births_and_deaths",
        "Lives",
        "Births and deaths",
        "Agents of a run that ever lived, founders included, and that died:"
        f" {kinds_in_words(sets['interval'])}, {counted(sets['n'])}.",
        alt.layer(*points(sets, axes, "agents", extent, "x")),
        {"sets": sets, "runs": alone[alone["few"]]},
        runs.panels,
        height=_ROW * len(runs.keys),
    )


def _mean_bars(runs: Runs, counts: pd.DataFrame, kind: Literal["causes", "actions"]) -> Chart:
    """Return bars of the mean numbers of a run, stacked.

    Args:
        runs: All runs; what one has no row for, it has none of.
        counts: `simulation_id`, `what`, and `value`, a number.
        kind: What is counted.
    """
    import altair as alt

    frame = runs.frame.assign(set=runs.sets, panel=runs.panel)
    n = frame.groupby(["set", "panel"], sort=False).size().rename("n").reset_index()
    where = frame[["set", "panel"]]
    table = counts.join(where, on="simulation_id").groupby(["set", "panel", "what"], sort=False)
    means: pd.DataFrame = table["value"].sum().reset_index().merge(n, on=["set", "panel"])
    means["mean"] = means["value"] / means["n"]
    means = means.drop(columns="value")
    is_share = kind == "actions"
    bars = (
        named("sets")
        .transform_filter(IS_SHOWN)
        .mark_bar()
        .encode(
            _rows_of_sets(runs),
            alt.X(
                "mean:Q",
                title="share" if is_share else "incidents of a run",
                stack="normalize" if is_share else "zero",
            ),
            _kinds(list(dict.fromkeys(means["what"])), "what"),
            tooltip=["set:N", "what:N", "mean:Q", "n:Q"],
        )
    )
    return Chart(
        "action_mix" if is_share else "health_incidents_by_cause",
        "Actions" if is_share else "Lives",
        "Action mix" if is_share else "What changed the health of agents",
        ("Share of each type among the actions of a set's runs" if is_share
         else "Health incidents of a run by their cause, means of a set's runs")
        + f"; {counted(n['n'])}.",
        bars,
        {"sets": means},
        runs.panels,
        height=_ROW * len(runs.keys),
    )  # fmt: skip


def _rows_of_sets(runs: Runs) -> Any:
    import altair as alt

    return alt.Y("set:N", sort=runs.keys, title=None, axis=alt.Axis(labelLimit=150))


def _kinds(names: list[str], field: str) -> Any:
    import altair as alt

    scale = alt.Scale(domain=names, range=list(COLOURS))
    return alt.Color(f"{field}:N", title=None, scale=scale)
