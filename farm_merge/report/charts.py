"""Charts: which there are of an experiment, each under a name of its own.

On the page, plain checkboxes show and hide parameter sets and single runs in all charts at once,
so that they can be reached by keyboard; in pictures, legends name the sets.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

from farm_merge.report.lives import draw_lives
from farm_merge.report.outcomes import draw_outcomes
from farm_merge.report.series import draw_agents, draw_series

if TYPE_CHECKING:
    from collections.abc import Iterator

    from farm_merge.report.chart import Chart
    from farm_merge.report.runs import Runs

__all__ = ["draw_charts"]


def draw_charts(runs: Runs) -> Iterator[Chart]:
    """Yield the charts for which there is data; those of a section one after the other."""
    if runs.frame.empty:  # all failed
        return
    names: set[str] = set()
    drawn = (draw(runs) for draw in (draw_series, draw_agents, draw_outcomes, draw_lives))
    for chart in chain.from_iterable(drawn):
        name, number = chart.name, 1
        while name in names:
            number += 1
            name = f"{chart.name}_{number}"
        names.add(name)
        yield replace(chart, name=name)
