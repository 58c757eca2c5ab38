"""Report: one page that shows an experiment, without network, and the same charts as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from farm_merge.errors import OutputError
from farm_merge.extras import missing_extra
from farm_merge.publish import replacing
from farm_merge.read.report.charts import draw_charts, draw_pictures
from farm_merge.read.report.page import render_page
from farm_merge.read.report.runs import read_runs

if TYPE_CHECKING:
    from collections.abc import Iterable
    from os import PathLike

    from farm_merge.read.report.charts import Chart

__all__ = ["write_report"]


def write_report(
    database: str | PathLike[str],
    output: str | PathLike[str],
    *,
    plots: str | PathLike[str] | None = None,
    where: Iterable[str] = (),
    metrics: Iterable[str] = (),
) -> int:
    """Write a page about an experiment, in one file that needs nothing else.

    Args:
        database: A shard or experiment database.
        output: The page; an older one is replaced, whole.
        plots: A folder for the same charts, each as PNG and SVG.
        where: Conditions on simulations, as `compare_simulations` takes them.
        metrics: What is drawn, each as `compare_simulations` takes it; by default a few that are
            not the same in all simulations and steps.

    Returns:
        The number of charts.

    Raises:
        FarmMergeError: If the packages for charts are not installed, no simulation is chosen, or
            there is no such metric.
        ShardError: If the database cannot be read.
        OutputError: If something cannot be written.
    """
    _require_packages()
    where, output = tuple(where), Path(output)
    runs = read_runs(database, where, tuple(metrics))
    charts = list(draw_charts(runs))
    page = render_page(Path(database), runs, charts, where)
    try:
        with replacing(output) as partial:
            partial.write_text(page, encoding="utf-8")
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
