"""Page: charts, tables and the ledger of an experiment, in one file without network."""

from __future__ import annotations

from collections import Counter
from functools import cache
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge import __version__
from farm_merge.errors import FarmMergeError
from farm_merge.merge.ledger import read_ledger
from farm_merge.read.compare import unfinished, varied_parameters
from farm_merge.read.listing import describe_database
from farm_merge.read.open import reading_rows
from farm_merge.report.chart import COLOURS, on_page, slug
from farm_merge.report.origin import origin_tables
from farm_merge.report.sections import read_sections
from farm_merge.report.tables import parameter_tables, results, simulations, statuses

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment, Template

    from farm_merge.report.chart import Chart
    from farm_merge.report.runs import Runs

__all__ = ["read_template", "render_page"]

_FILES = ("page.html", "page.css", "page.js")


def render_page(
    database: Path,
    runs: Runs,
    charts: Sequence[Chart],
    *,
    template: Template,
    where: Sequence[str],
    made: list[tuple[str, str]],
    title: str | None,
) -> str:
    """Return a page of HTML.

    Args:
        database: The experiment database.
        runs: What is shown of it.
        charts: The charts, in order; those of one section one after the other.
        template: What `read_template` returned.
        where: The conditions by which the runs were chosen.
        made: When and by what the page is made.
        title: Its title; by default the names of the experiments.

    Raises:
        FarmMergeError: If the template of a user is wrong.
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
        entries = (it for it in read_ledger(db.conn) if it.simulation_id in runs.all.index)
        ledger = sorted(entries, key=lambda entry: entry.simulation_id)
    return _rendered(
        template,
        title=title or ", ".join(names[:3]) or database.stem,
        version=__version__,
        legend=list(zip(_legend(runs), runs.keys, COLOURS, strict=False)),
        experiments=experiments,
        where=where,
        facts=_facts(database, facts, runs),
        pooled=_pooled(runs),
        unfinished=Counter(unfinished(runs.all)),
        parameters=parameter_tables(runs.all),
        statuses=statuses(runs.all),
        figures={
            section: list(group) for section, group in groupby(charts, lambda chart: chart.section)
        },
        sections=list(read_sections(database, runs)),
        results=results(runs),
        simulations=simulations(runs),
        made=made,
        origins=origin_tables(runs, facts["ledger"], ledger),
        charts={chart.name: on_page(chart) for chart in charts},
        vega=_vega(),
    )


def read_template(path: Path | None) -> Template:
    """Return the template of a page.

    Args:
        path: One of a user; it may extend `page.html` and replace its blocks.

    Raises:
        FarmMergeError: If it cannot be read, or is no template.
    """
    from jinja2 import TemplateError

    environment = _environment(path.parent if path else None)
    try:
        return environment.get_template(path.name if path else "page.html")
    except (TemplateError, OSError, UnicodeDecodeError) as exc:
        raise _wrong(path, exc) from exc


def _rendered(template: Template, **values: Any) -> str:
    from jinja2 import TemplateError

    try:
        return template.render(**values)
    except TemplateError as exc:
        raise _wrong(Path(template.filename or "page.html"), exc) from exc


def _wrong(path: Path | None, error: Exception) -> FarmMergeError:
    line = getattr(error, "lineno", None)
    where = f" (line {line})" if line else ""
    return FarmMergeError(
        f"is no template for a page: {error}{where}",
        path=path,
        remedy='begin with {% extends "page.html" %} and replace its blocks: docs/reading.md',
    )


def _environment(folder: Path | None) -> Environment:
    from jinja2 import ChoiceLoader, DictLoader, Environment, FileSystemLoader, StrictUndefined

    home = files("farm_merge.report")
    own = DictLoader({name: home.joinpath(name).read_text(encoding="utf-8") for name in _FILES})
    loaders = [FileSystemLoader(folder), own] if folder else [own]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, loader=ChoiceLoader(loaders)
    )
    environment.filters |= {"slug": slug}
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment


@cache
@cache
def _vega() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, which is taken as it is."""
    import vl_convert
    from markupsafe import Markup

    script = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    return Markup(script.replace("</script", "<\\/script"))  # noqa: S704  (our own)


def _legend(runs: Runs) -> list[str]:
    """Return the names of colours, with the number of runs where each is one parameter set."""
    numbers = runs.sets.value_counts()
    if runs.layout.panels:
        return runs.keys
    return [f"{key} (n = {numbers[key]:,})" for key in runs.keys]


def _pooled(runs: Runs) -> list[str]:
    """Return the parameters in which runs of one set differ, since somebody chose others."""
    varied = varied_parameters(runs.all)
    return [name.removeprefix("parameters.") for name in varied if name not in runs.layout.by]


def _facts(database: Path, facts: dict[str, Any], runs: Runs) -> list[tuple[str, str]]:
    rows = sum(table["rows"] for table in facts["tables"].values())
    failed = len(runs.all) - len(runs.frame)
    counts = [
        (f"{runs.frame[column].sum():,}", name)
        for name, column in (("steps", "steps"), ("agents", "agents_born"))
        if column in runs.frame
    ]
    return [
        (f"{len(runs.all):,}", "simulations"),
        *([(f"{failed:,}", "of them failed")] if failed else []),
        *counts,
        (f"{rows:,}", "rows in the file"),
        (_size(facts["size_bytes"]), database.name),
    ]


def _size(number: int) -> str:
    megabytes = number / 1e6
    return f"{megabytes:,.0f} MB" if megabytes >= 10 else f"{megabytes:.1f} MB"  # noqa: PLR2004
