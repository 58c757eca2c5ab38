"""Report: one page that shows an experiment, without network, and the same charts as pictures.

The charts are Vega-Lite, by Altair. Parameter sets and single runs are shown and hidden by plain
checkboxes that govern all charts at once, so that they can be reached by keyboard.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from farm_merge import __version__
from farm_merge.compare import (
    compare_simulations,
    group_repetitions,
    parameter_columns,
    varied_parameters,
)
from farm_merge.errors import FarmMergeError, OutputError
from farm_merge.listing import describe_database, shortened
from farm_merge.reading import reading
from farm_merge.schema import LEDGER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from os import PathLike

    import pandas as pd

__all__ = ["write_report"]

_MOST_SETS = 8
"""More lines than that in one chart tell nobody anything."""

_POINTS = 100
"""Steps of a run that are drawn."""

_MOST_RUNS = 100
"""Runs that can be drawn one by one; they are most of the page."""

_LONGEST_TABLE = 25

_COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2", "#eeca3b", "#ff9da6",
            "#9d755d", "#8c8c8c", "#2f8fdd", "#a0cb3a")  # fmt: skip

_OVER_TIME = {"total_agents": "Population", "total_resources": "Resources"}
_OUTCOMES = {
    "final_total_agents": "final population",
    "mean_reward": "mean reward of an action",
    "agents_died": "deaths",
}


@dataclass(frozen=True, slots=True)
class _Chart:
    """A chart, what it is called, and what it shows in words."""

    name: str
    section: str
    title: str
    caption: str
    chart: Any
    is_small: bool = False


@dataclass(frozen=True, slots=True)
class _Experiment:
    """What all charts are made of.

    Attributes:
        frame: A row a simulation.
        sets: What its parameter set is called, by simulation.
        by: The parameters that make a set.
        steps: Sampled metrics of every run: simulation_id, set, step_number, and the metrics.
        causes: Health incidents by set and cause.
        datasets: What charts refer to by name; Altair would check every value of their own.
    """

    frame: pd.DataFrame
    sets: pd.Series[str]
    by: list[str]
    steps: pd.DataFrame
    causes: pd.DataFrame
    datasets: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    @property
    def labels(self) -> list[str]:
        """The names of the sets, in the order of their values."""
        return list(dict.fromkeys(self.sets))


def write_report(
    database: str | PathLike[str],
    output: str | PathLike[str],
    *,
    plots: str | PathLike[str] | None = None,
    where: Iterable[str] = (),
) -> int:
    """Write a page about an experiment, in one file that needs nothing else.

    Args:
        database: An experiment database.
        output: The page; an older one is replaced, whole.
        plots: A folder for the same charts, each as PNG and SVG.
        where: Conditions on simulations, as `reading.chosen_simulations` takes them.

    Returns:
        The number of charts.

    Raises:
        FarmMergeError: If the packages for charts are not installed, or no simulation is chosen.
        ShardError: If the database cannot be read.
        OutputError: If something cannot be written.
    """
    _require_packages()
    where = tuple(where)
    experiment = _read(database, where)
    charts = list(_charts(experiment))
    page = _page(Path(database), experiment, charts, where)
    output = Path(output)
    try:
        beside = output.with_name(f".{output.name}.partial")
        beside.write_text(page, encoding="utf-8")
        beside.replace(output)
        if plots is not None:
            _write_pictures(experiment, charts, Path(plots))
    except OSError as exc:
        raise OutputError(f"{exc.filename}: cannot be written ({exc.strerror})") from exc
    return len(charts)


def _require_packages() -> None:
    try:
        import altair  # noqa: F401
        import scipy  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as exc:
        raise FarmMergeError(
            f"a report needs the package {exc.name}: pip install 'farm-merge[report]'"
        ) from exc


def _read(database: str | PathLike[str], where: tuple[str, ...]) -> _Experiment:
    import pandas as pd

    frame = compare_simulations(database, where)
    if frame.empty:
        raise FarmMergeError(f"{database}: holds no simulation that could be shown")
    by = varied_parameters(frame)
    frame = frame.sort_values(by, key=_in_order, kind="stable") if by else frame
    sets = _sets(frame, by)
    if sets.nunique() > _MOST_SETS:
        sets = _sets(frame, by[:1])
    if sets.nunique() > _MOST_SETS:
        sets = pd.Series("all runs", frame.index)
    ids = json.dumps(list(frame.index))
    with reading(database) as connection:
        (last,) = connection.execute("SELECT max(step_number) FROM simulation_steps").fetchone()
        rows = connection.execute(
            f"SELECT simulation_id, step_number, {', '.join(_OVER_TIME)} FROM simulation_steps"
            " WHERE simulation_id IN (SELECT value FROM json_each(:ids))"
            " AND step_number % :stride = 0",
            {"ids": ids, "stride": -(-((last or 0) + 1) // _POINTS)},
        ).fetchall()
        # One by one, as in `compare`: all at once would be sorted in memory.
        causes = [
            (simulation_id, *row)
            for simulation_id in frame.index
            for row in connection.execute(
                "SELECT cause, count(*) FROM health_incidents WHERE simulation_id = ? GROUP BY 1",
                (simulation_id,),
            )
        ]
    steps = pd.DataFrame(rows, columns=["simulation_id", "step_number", *_OVER_TIME])
    steps["set"] = steps["simulation_id"].map(sets)
    incidents = pd.DataFrame(causes, columns=["simulation_id", "cause", "number"])
    incidents["set"] = incidents["simulation_id"].map(sets)
    return _Experiment(frame, sets, by, steps, incidents)


def _in_order(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return what a parameter is sorted by: numbers as they are, all else as text."""
    import pandas as pd

    return column if pd.api.types.is_numeric_dtype(column) else column.astype(str)


def _sets(frame: pd.DataFrame, by: list[str]) -> pd.Series[str]:
    import pandas as pd

    def name(row: pd.Series[Any]) -> str:
        pairs = (f"{each.removeprefix('parameters.')} {row[each]}" for each in by)
        return ", ".join(pairs) or "all runs"

    return pd.Series([name(row) for _, row in frame.iterrows()], frame.index, dtype=object)


def _charts(experiment: _Experiment) -> Iterator[_Chart]:
    if len(experiment.steps):
        for metric, title in _OVER_TIME.items():
            if experiment.steps[metric].notna().any():
                yield _over_time(experiment, metric, title)
    outcomes = [each for each in _OUTCOMES if each in experiment.frame]
    outcomes = [each for each in outcomes if experiment.frame[each].notna().any()]
    for parameter in experiment.by[:4]:
        yield from _by_parameter(experiment, parameter, outcomes)
    if len(experiment.by) > 1 and outcomes:
        for outcome in outcomes[:2]:
            yield _by_two(experiment, experiment.by[0], experiment.by[1], outcome)
    yield _lives(experiment)
    if len(experiment.causes):
        yield _causes(experiment)
    if actions := [name for name in experiment.frame if str(name).startswith("actions_")]:
        yield _actions(experiment, list(map(str, actions)))


def _colour(experiment: _Experiment) -> Any:
    import altair as alt

    labels = experiment.labels
    scale = alt.Scale(domain=labels, range=_COLOURS[: len(labels)])
    return alt.Color("set:N", scale=scale, title=None)


def _over_time(experiment: _Experiment, metric: str, title: str) -> _Chart:
    import altair as alt
    from scipy import stats

    runs = experiment.steps.dropna(subset=[metric])
    told = runs.groupby(["set", "step_number"])[metric].agg(["mean", "std", "count"]).reset_index()
    factor = stats.t.ppf(0.975, (told["count"] - 1).clip(lower=1))
    half = (told["std"] / told["count"] ** 0.5 * factor).fillna(0)
    told["low"], told["high"] = (told["mean"] - half).clip(lower=0), told["mean"] + half
    colour = _colour(experiment)
    x = alt.X("step_number:Q", title="step", axis=alt.Axis(format="d"))
    is_shown = "indexof(hidden, datum.set) < 0"
    base = alt.Chart(_rounded(experiment, told)).transform_filter(is_shown)
    band = base.mark_area(opacity=0.18).encode(
        x, alt.Y("low:Q", title=title.lower()), alt.Y2("high:Q"), colour
    )
    line = base.mark_line(strokeWidth=2).encode(
        x,
        alt.Y("mean:Q"),
        colour,
        tooltip=["set:N", "step_number:Q", "mean:Q", "low:Q", "high:Q", "count:Q"],
    )
    ids = runs["simulation_id"].unique()
    drawn = ids[:: -(-len(ids) // _MOST_RUNS)]
    alone = runs.loc[
        runs["simulation_id"].isin(drawn), ["simulation_id", "set", "step_number", metric]
    ]
    single = (
        alt.Chart(_rounded(experiment, alone))
        .transform_filter(f"single_runs && {is_shown}")
        .mark_line(strokeWidth=0.7, opacity=0.6)
        .encode(
            x,
            alt.Y(f"{metric}:Q"),
            colour,
            detail="simulation_id:N",
            tooltip=["simulation_id:N", "set:N", "step_number:Q", f"{metric}:Q"],
        )
    )
    return _Chart(
        f"{metric}_over_steps",
        "Over time",
        f"{title} over steps",
        "Mean of the runs of each parameter set, with its 95 % confidence band."
        + ("" if len(drawn) == len(ids) else f" Single runs: {len(drawn)} of {len(ids)}."),
        band + line + single,
    )


def _by_parameter(experiment: _Experiment, parameter: str, outcomes: list[str]) -> Iterator[_Chart]:
    import altair as alt

    name = parameter.removeprefix("parameters.")
    told = group_repetitions(experiment.frame, [parameter]).rename(columns={name: "value"})
    scale = f"value:{_kind(experiment.frame, parameter)}"
    x = alt.X(scale, title=name, axis=alt.Axis(labelAngle=0))
    tooltip = ["value:N", "n:Q", "mean:Q", "std:Q", "ci_low:Q", "ci_high:Q"]
    for outcome in outcomes:
        data = _rounded(experiment, told[told["result"] == outcome].drop(columns="result"))
        y = alt.Y("mean:Q", title=_OUTCOMES[outcome], scale=alt.Scale(zero=False))
        bars = alt.Chart(data).mark_rule(color=_COLOURS[0], strokeWidth=2)
        points = alt.Chart(data).mark_point(filled=True, opacity=1, size=80, color=_COLOURS[0])
        yield _Chart(
            f"{outcome}_by_{_slug(name)}",
            "Outcomes",
            f"{_OUTCOMES[outcome].capitalize()} by {name}",
            "Means over all runs with that value, with 95 % confidence intervals.",
            bars.encode(x, alt.Y("ci_low:Q"), alt.Y2("ci_high:Q"))
            + points.encode(x, y, tooltip=tooltip),
            is_small=True,
        )


def _by_two(experiment: _Experiment, first: str, second: str, outcome: str) -> _Chart:
    import altair as alt

    frame = experiment.frame
    table = frame.groupby([first, second], dropna=False)[outcome].mean().reset_index()
    x, y = (each.removeprefix("parameters.") for each in (first, second))
    table.columns = ["first", "second", "mean"]
    data = _rounded(experiment, table)
    base = alt.Chart(data).encode(
        alt.X("first:O", title=x, axis=alt.Axis(labelAngle=0)), alt.Y("second:O", title=y)
    )
    title = _OUTCOMES[outcome]
    middle = float(table["mean"].min() + table["mean"].max()) / 2
    cells = base.mark_rect().encode(
        alt.Color("mean:Q", title=title, scale=alt.Scale(scheme="viridis")),
        tooltip=["first:N", "second:N", "mean:Q"],
    )
    numbers = base.mark_text().encode(
        alt.Text("mean:Q", format=".3~g"),
        color=alt.condition(f"datum.mean > {middle}", alt.value("black"), alt.value("white")),
    )
    return _Chart(
        f"{outcome}_by_{_slug(x)}_and_{_slug(y)}",
        "Outcomes",
        f"{title.capitalize()} by {x} and {y}",
        "Mean over the runs with both values.",
        cells + numbers,
        is_small=True,
    )


def _lives(experiment: _Experiment) -> _Chart:
    frame = experiment.frame.assign(set=experiment.sets)
    table = frame.groupby("set", sort=False)[["agents_born", "agents_died"]].mean().reset_index()
    long = table.melt("set", var_name="what", value_name="number")
    long["what"] = long["what"].map({"agents_born": "lived", "agents_died": "died"})
    return _bars(
        experiment, long, "what", "births_and_deaths", "Lives", "Births and deaths",
        "Agents of a run that ever lived, founders included, and that died; means of the runs.",
        "agents",
    )  # fmt: skip


def _causes(experiment: _Experiment) -> _Chart:
    runs = experiment.sets.value_counts()
    table = experiment.causes.groupby(["set", "cause"], sort=False)["number"].sum().reset_index()
    table["number"] /= table["set"].map(runs).astype(float)
    return _bars(
        experiment, table, "cause", "health_incidents_by_cause", "Lives",
        "What changed the health of agents",
        "Health incidents of a run by their cause; means of the runs.", "incidents", stacked=True,
    )  # fmt: skip


def _actions(experiment: _Experiment, actions: list[str]) -> _Chart:
    frame = experiment.frame[actions].assign(set=experiment.sets)
    table = frame.groupby("set", sort=False).mean().reset_index()
    long = table.melt("set", var_name="action", value_name="number")
    long["action"] = long["action"].str.removeprefix("actions_")
    return _bars(
        experiment, long, "action", "action_mix", "Actions", "Action mix",
        "Share of each type among all actions of the runs of a set.", "share", stacked="normalize",
    )  # fmt: skip


def _bars(
    experiment: _Experiment,
    data: pd.DataFrame,
    kind: str,
    name: str,
    section: str,
    title: str,
    caption: str,
    measure: str,
    *,
    stacked: bool | str = False,
) -> _Chart:
    import altair as alt

    by_set = alt.Y("set:N", sort=experiment.labels, title=None, axis=alt.Axis(labelLimit=260))
    encoding: dict[str, Any] = {} if stacked else {"yOffset": f"{kind}:N"}
    stack: Any = "zero" if stacked is True else stacked or None
    chart = (
        alt.Chart(_rounded(experiment, data))
        .transform_filter("indexof(hidden, datum.set) < 0")
        .mark_bar()
        .encode(
            by_set,
            alt.X("number:Q", title=measure, stack=stack),
            alt.Color(f"{kind}:N", title=None, scale=alt.Scale(range=list(_COLOURS))),
            tooltip=["set:N", f"{kind}:N", "number:Q"],
            **encoding,
        )
    )
    return _Chart(name, section, title, caption, chart)


def _rounded(experiment: _Experiment, data: pd.DataFrame) -> Any:
    """Return data for a chart; six digits are more than a screen shows, and halve the page."""
    import altair as alt

    shorter = data.copy()
    for name in data.select_dtypes("float"):
        shorter[name] = data[name].map("{:.6g}".format).astype(float)
    dataset = f"rows_{len(experiment.datasets)}"
    experiment.datasets[dataset] = json.loads(shorter.to_json(orient="records"))
    named: Any = alt.NamedData
    return named(name=dataset)


def _kind(frame: pd.DataFrame, parameter: str) -> str:
    import pandas as pd

    is_number = pd.api.types.is_numeric_dtype(frame[parameter])
    return "Q" if is_number and frame[parameter].nunique() > _MOST_SETS else "O"


def _slug(name: str) -> str:
    return "".join(each if each.isalnum() or each in "_-" else "_" for each in name)


def _spec(experiment: _Experiment, chart: Any, *, legend: bool) -> dict[str, Any]:
    """Return a chart as Vega-Lite; on the page, checkboxes stand for the legend of the sets."""
    spec: dict[str, Any] = chart.to_dict()
    parts = (spec, *spec.get("layer", ()))
    names = {each["data"]["name"] for each in parts if "data" in each}
    spec["datasets"] = {name: experiment.datasets[name] for name in sorted(names)}
    spec["params"] = [{"name": "hidden", "value": []}, {"name": "single_runs", "value": False}]
    spec |= {"background": "transparent", "width": "container", "height": 300}
    if legend:
        spec |= {"background": "white", "width": 720}
    else:
        _without_legend(spec)
    return spec


def _without_legend(part: dict[str, Any]) -> None:
    colour = part.get("encoding", {}).get("color", {})
    if colour.get("field") == "set":
        colour["legend"] = None
    for each in part.get("layer", ()):
        _without_legend(each)


def _write_pictures(experiment: _Experiment, charts: Sequence[_Chart], folder: Path) -> None:
    import vl_convert

    folder.mkdir(parents=True, exist_ok=True)
    for each in charts:
        spec = _spec(experiment, each.chart, legend=True)
        (folder / f"{each.name}.svg").write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")
        (folder / f"{each.name}.png").write_bytes(vl_convert.vegalite_to_png(spec, scale=2))


@cache
def _script() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def _page(
    database: Path, experiment: _Experiment, charts: Sequence[_Chart], where: tuple[str, ...]
) -> str:
    told = describe_database(database, check=False)
    names = [each["name"] for each in told["experiments"].values()]
    title = ", ".join(names[:3]) or database.stem
    figures: dict[str, list[str]] = {}
    for each in charts:
        figures.setdefault(each.section, []).append(_figure(each))
    sections = {
        "Experiment": _overview(database, told, experiment, where),
        **{n: f'<div class="figures">{"".join(found)}</div>' for n, found in figures.items()},
        "Results": _results(experiment),
        "Simulations": _simulations(experiment),
        "Origin": _origin(database, told, experiment),
    }
    labels = zip(experiment.labels, _COLOURS, strict=False)
    return Template(
        files("farm_merge").joinpath("report.html").read_text(encoding="utf-8")
    ).substitute(
        title=escape(title),
        navigation="".join(f'<a href="#{_slug(n)}">{escape(n)}</a>' for n in sections),
        legend="".join(
            f'<label><input type="checkbox" checked value="{escape(label)}">'
            f'<i style="background:{colour}"></i>{escape(label)}</label>'
            for label, colour in labels
        ),
        sections="".join(
            f'<section id="{_slug(name)}"><h2>{escape(name)}</h2>{body}</section>'
            for name, body in sections.items()
        ),
        specs=_in_script(
            {each.name: _spec(experiment, each.chart, legend=False) for each in charts}
        ),
        script=_script().replace("</script", "<\\/script"),
        version=__version__,
    )


def _in_script(value: object) -> str:
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _figure(chart: _Chart) -> str:
    small = ' class="small"' if chart.is_small else ""
    return (
        f'<figure{small}><h3>{escape(chart.title)}</h3><div class="chart" id="{chart.name}"'
        f' role="img" aria-label="{escape(chart.title)}. {escape(chart.caption)}"></div>'
        f"<figcaption>{escape(chart.caption)}</figcaption></figure>"
    )


def _overview(
    database: Path, told: dict[str, Any], experiment: _Experiment, where: tuple[str, ...]
) -> str:
    frame = experiment.frame
    with reading(database) as connection:
        rows = connection.execute(
            "SELECT name, description, hypothesis FROM experiments ORDER BY experiment_id"
        ).fetchall()
    texts = [
        f"<p><b>{escape(name)}</b>{': ' + escape(text) if text else ''}</p>"
        for name, description, hypothesis in rows
        for text in [" ".join(filter(None, (description, hypothesis)))]
    ]
    states = Counter(frame["status"].fillna("unknown"))
    facts = [
        (f"{len(frame):,}", "simulations"),
        (f"{experiment.frame['steps'].sum():,}", "steps"),
        (f"{frame['agents_born'].sum():,}", "agents"),
        (f"{sum(each['rows'] for each in told['tables'].values()):,}", "rows in the file"),
        (f"{told['size_bytes'] / 1e6:,.0f} MB", database.name),
    ]
    cards = "".join(f"<li><b>{escape(a)}</b> {escape(b)}</li>" for a, b in facts)
    chosen = f"<p>Only simulations where {escape(' and '.join(where))}.</p>" if where else ""
    parameters = [
        (name.removeprefix("parameters."), _values(frame[name]))
        for name in parameter_columns(frame)
    ]
    failed = frame[~frame["status"].isin(["completed", "closed"])]
    failures = (
        "<p>All of them completed.</p>"
        if failed.empty
        else "<h3>Not completed</h3>"
        + _table(["simulation", "status"], list(zip(failed.index, failed["status"], strict=True)))
    )
    return (
        f'{"".join(texts)}{chosen}<ul class="facts">{cards}</ul>'
        f"<h3>Parameters</h3>"
        f"{_folded(_table(['parameter', 'values'], parameters), len(parameters))}"
        f"<h3>Runs</h3>{_table(['status', 'runs'], list(states.items()))}{failures}"
    )


def _folded(table: str, rows: int) -> str:
    """Return a table that is unfolded on demand, if it is long."""
    if rows <= _LONGEST_TABLE:
        return table
    return f"<details><summary>All {rows:,}</summary>{table}</details>"


def _values(column: pd.Series[Any]) -> str:
    values = sorted(column.dropna().unique(), key=lambda each: (isinstance(each, str), each))
    shown = ", ".join(shortened(str(value)) for value in values[:12])
    return f"{shown}, … ({len(values)} values)" if len(values) > 12 else shown  # noqa: PLR2004


def _results(experiment: _Experiment) -> str:
    told = group_repetitions(experiment.frame, experiment.by)
    told = told[told["result"].isin([*_OUTCOMES, "mean_total_agents", "agents_born"])]
    return (
        "<p>Means over the runs of each parameter set, with standard deviation and 95 %"
        " confidence interval.</p>" + _frame_table(told)
    )


def _simulations(experiment: _Experiment) -> str:
    wanted = ["status", "seed", *experiment.by, "steps", *_OUTCOMES]
    shown = experiment.frame[[each for each in wanted if each in experiment.frame]]
    shown = shown.rename(columns=lambda name: name.removeprefix("parameters."))
    return (
        f"<details><summary>All {len(shown):,} simulations</summary>"
        f"{_frame_table(shown.reset_index())}</details>"
    )


def _origin(database: Path, told: dict[str, Any], experiment: _Experiment) -> str:
    with reading(database) as connection:
        rows = connection.execute(
            "SELECT simulation_id, source_path, source_schema, merged_at, fingerprint"
            f" FROM {LEDGER} ORDER BY simulation_id"
        ).fetchall()
    ledger = told["ledger"]
    commits = Counter(experiment.frame["git_commit"].dropna())
    facts = [
        *((f"schema {name}", number) for name, number in ledger["schemas"].items()),
        *((f"merged by farm-merge {name}", number) for name, number in ledger["versions"].items()),
        *((f"code at commit {name}", number) for name, number in commits.items()),
        *((f"choice: {name}", number) for name, number in ledger["choices"].items()),
    ]
    columns = ["simulation", "file", "schema", "merged (UTC)", "fingerprint"]
    return (
        f"{_table(['what', 'simulations'], facts)}"
        f"<details><summary>The ledger: {len(rows):,} entries</summary>"
        f"{_table(columns, rows)}</details>"
    )


def _frame_table(frame: pd.DataFrame) -> str:
    rows = list(frame.itertuples(index=False, name=None))
    return _table([str(name) for name in frame.columns], rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f'<th scope="col">{escape(each)}</th>' for each in columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return (
        f'<div class="table" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(value: Any) -> str:
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return f'<td class="n">{"" if math.isnan(value) else f"{value:.4g}"}</td>'
    if isinstance(value, int):
        return f'<td class="n">{value}</td>'
    return f"<td>{'' if value is None else escape(str(value))}</td>"
