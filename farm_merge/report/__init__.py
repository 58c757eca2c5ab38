"""Report: one page that shows an experiment, without network, and the same charts as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from farm_merge.errors import OutputError
from farm_merge.extras import missing_extra
from farm_merge.publish import replacing
from farm_merge.report.chart import draw_pictures
from farm_merge.report.charts import draw_charts
from farm_merge.report.effects import draw_effects
from farm_merge.report.origin import command_of, made_of
from farm_merge.report.page import read_template, render_page
from farm_merge.report.runs import read_runs

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from farm_merge.progress import ReportCount
    from farm_merge.read.compare import Interval
    from farm_merge.report.chart import Chart

__all__ = ["write_report"]

_SIGNATURE_BYTES = 223
"""A page of ours says in these that it is one, and in the next by which version."""


def write_report(
    database: str | PathLike[str],
    output: str | PathLike[str],
    *,
    plots: str | PathLike[str] | None = None,
    simulations: Iterable[str] = (),
    where: Iterable[str] = (),
    metrics: Iterable[str] = (),
    by: Iterable[str] = (),
    interval: Interval = "auto",
    title: str | None = None,
    template: str | PathLike[str] | None = None,
    digest: bool = False,
    progress: ReportCount | bool | None = None,
) -> int:
    """Write a page about an experiment, in one file that needs nothing else.

    Args:
        database: A shard or experiment database.
        output: The page; an older one is replaced, whole, and nothing else.
        plots: A folder for the same charts, each as PNG and SVG, and their data as CSV.
        simulations: Only these; all by default.
        where: Conditions on simulations, as `compare_simulations` takes them.
        metrics: What is drawn, each as `compare_simulations` takes it; by default a few that are
            not the same in all simulations and steps.
        by: The parameters that make a set, the one that colours stand for first; by default those
            that vary.
        interval: How results spread, as `group_repetitions` takes it.
        title: Of the page; by default the names of the experiments.
        template: A template of Jinja2's for the page, which may extend `page.html`.
        digest: Whether the digest of its data is computed, for which all of them are read; else
            the page has that of the ledger, where all its simulations have one.
        progress: Called with the number of simulations digested, and of all; True draws a bar.

    Returns:
        The number of charts.

    Raises:
        FarmMergeError: If the packages for charts are not installed, no simulation is chosen, there
            is no such metric or parameter, or the template is wrong.
        ShardError: If the database cannot be read.
        OutputError: If something cannot be written.
    """
    _require_packages()
    database, output = Path(database), Path(output)
    simulations, where = tuple(simulations), tuple(where)
    metrics, by = tuple(metrics), tuple(by)
    page_template = read_template(Path(template) if template else None)
    runs = read_runs(database, where, metrics, by, interval, simulations)
    charts = list(draw_charts(runs))
    if not (simulations or where):  # a part of a design has no indices
        charts += draw_effects(database)
    options = [
        *(("--simulation", it) for it in simulations),
        *(("--where", it) for it in where),
        *(("--by", it) for it in by),
        *(("--metric", it) for it in metrics),
        ("--spread", None if interval == "auto" else interval),
        ("--title", title),
        ("--template", template),
        ("--digest", digest),
    ]
    command = command_of(database, output, options)
    made = made_of(database, runs, command, digest=digest, progress=progress)
    page = render_page(
        database, runs, charts, template=page_template, where=where, made=made, title=title
    )
    try:
        with replacing(output, alike=_SIGNATURE_BYTES) as partial:
            partial.write_text(page, encoding="utf-8", errors="backslashreplace")
    except OSError as exc:
        raise OutputError(f"cannot be written ({exc.strerror})", path=output) from exc
    if plots is not None:
        _write_pictures(charts, Path(plots))
    return len(charts)


def _write_pictures(charts: Iterable[Chart], folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in draw_pictures(charts):
            with replacing(folder / name) as partial:
                partial.write_bytes(content)
    except OSError as exc:
        raise OutputError(f"cannot be written ({exc.strerror})", path=folder) from exc


def _require_packages() -> None:
    try:
        import altair  # noqa: F401
        import jinja2  # noqa: F401
        import scipy  # noqa: F401
        import vl_convert  # noqa: F401
    except ImportError as exc:
        raise missing_extra(f"a report needs the package {exc.name}", "report") from exc
