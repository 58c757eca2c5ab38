"""Page: charts, tables and the ledger of an experiment, in one file without network."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING, Any

from farm_merge import __version__
from farm_merge.merge.ledger import read_ledger
from farm_merge.read.compare import group_repetitions, parameter_columns, without_prefix
from farm_merge.read.listing import describe_database, shortened
from farm_merge.read.open import reading_rows
from farm_merge.read.report.charts import COLOURS, slug, spec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd
    from jinja2 import Template

    from farm_merge.read.report.charts import Chart
    from farm_merge.read.report.runs import Runs

__all__ = ["render_page"]

_LONGEST_TABLE = 25
"""Rows of a table that are shown without being asked for."""

_MOST_VALUES = 12
"""Values of a parameter that are listed."""


def render_page(database: Path, runs: Runs, charts: Sequence[Chart], where: Sequence[str]) -> str:
    """Return a page of HTML.

    Args:
        database: The experiment database.
        runs: What is shown of it.
        charts: The charts, in order; those of one section one after the other.
        where: The conditions by which the runs were chosen.
    """
    facts = describe_database(database, check=False)
    names = [experiment["name"] for experiment in facts["experiments"].values()]
    with reading_rows(database) as db:
        experiments = list(
            db.query(
                "SELECT name, trim(coalesce(description, '') || ' ' || coalesce(hypothesis, ''))"
                " AS text FROM experiments ORDER BY experiment_id"
            )
        )
        ledger = sorted(read_ledger(db.conn), key=lambda entry: entry.simulation_id)
    return _template().render(
        title=", ".join(names[:3]) or database.stem,
        version=__version__,
        legend=list(zip(runs.labels, COLOURS, strict=False)),
        experiments=experiments,
        where=where,
        facts=_facts(database, facts, runs),
        **_parameters(runs.frame),
        longest_table=_LONGEST_TABLE,
        **_statuses(runs.frame["status"]),
        figures={
            section: list(group) for section, group in groupby(charts, lambda chart: chart.section)
        },
        results=_results(runs),
        simulations=_simulations(runs),
        origins=_origins(facts["ledger"], runs),
        ledger=[
            (
                entry.simulation_id,
                entry.source_path,
                entry.source_schema,
                entry.merged_at,
                entry.fingerprint,
            )
            for entry in ledger
        ],
        specs={chart.name: spec(chart, legend=False) for chart in charts},
        vega=_vega(),
    )


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"cell": _cell, "slug": slug}
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    text = files("farm_merge.read.report").joinpath("page.html").read_text(encoding="utf-8")
    return environment.from_string(text)


@cache
def _vega() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, which is taken as it is."""
    import vl_convert
    from markupsafe import Markup

    script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    return Markup(script.replace("</script", "<\\/script"))  # noqa: S704  (our own)


def _facts(database: Path, facts: dict[str, Any], runs: Runs) -> list[tuple[str, str]]:
    rows = sum(table["rows"] for table in facts["tables"].values())
    counts = [
        (name, f"{runs.frame[column].sum():,}")
        for name, column in (("steps", "steps"), ("agents", "agents_born"))
        if column in runs.frame
    ]
    return [
        (f"{len(runs.frame):,}", "simulations"),
        *((number, name) for name, number in counts),
        (f"{rows:,}", "rows in the file"),
        (f"{facts['size_bytes'] / 1e6:,.0f} MB", database.name),
    ]


def _parameters(frame: pd.DataFrame) -> dict[str, list[tuple[str, str]]]:
    """Return the parameters with their values: those that differ, and those of all runs."""
    found: dict[str, list[tuple[str, str]]] = {"parameters": [], "constants": []}
    for name in parameter_columns(frame):
        is_constant = len(frame) > 1 and frame[name].nunique(dropna=False) == 1
        values = name.removeprefix("parameters."), _values(frame[name])
        found["constants" if is_constant else "parameters"].append(values)
    return found


def _values(column: pd.Series[Any]) -> str:
    values = sorted(column.dropna().unique(), key=lambda value: (isinstance(value, str), value))
    shown = ", ".join(shortened(str(value)) for value in values[:_MOST_VALUES])
    return f"{shown}, … ({len(values)} values)" if len(values) > _MOST_VALUES else shown


def _statuses(status: pd.Series[Any]) -> dict[str, list[tuple[Any, Any]]]:
    failed = status[~status.isin(["completed", "closed"])]
    return {
        "statuses": list(Counter(status.fillna("unknown")).items()),
        "not_completed": list(failed.items()),
    }


def _results(runs: Runs) -> tuple[list[str], list[tuple[Any, ...]]]:
    means = group_repetitions(runs.frame, runs.by)
    shown = [*runs.outcomes, *(f"mean_{metric}" for metric in runs.series), "agents_born"]
    return _table(means[means["result"].isin(shown)])


def _simulations(runs: Runs) -> tuple[list[str], list[tuple[Any, ...]]]:
    wanted = ["status", "seed", *runs.by, "steps", *runs.outcomes]
    shown = runs.frame[[name for name in wanted if name in runs.frame]]
    return _table(without_prefix(shown).reset_index())


def _origins(ledger: dict[str, Any], runs: Runs) -> list[tuple[str, int]]:
    """Return what the ledger counts, and which versions of the code simulated."""
    commits = Counter(runs.frame["git_commit"].dropna())
    return [
        *((f"schema {name}", number) for name, number in ledger["schemas"].items()),
        *((f"merged by farm-merge {name}", number) for name, number in ledger["versions"].items()),
        *((f"code at commit {name}", number) for name, number in commits.items()),
        *((f"choice: {name}", number) for name, number in ledger["choices"].items()),
    ]


def _table(frame: pd.DataFrame) -> tuple[list[str], list[tuple[Any, ...]]]:
    rows = list(frame.itertuples(index=False, name=None))
    return [str(name) for name in frame.columns], rows


def _cell(value: object) -> object:
    """Return what is written into a cell of a table."""
    if isinstance(value, float):  # NumPy's are among them
        return "" if math.isnan(value) else f"{value:.4g}"
    return "" if value is None else value
