"""Layouts: a line pools the runs of one parameter set; many sets have panels, too many no line."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest

from farm_merge import SimulationDatabase
from farm_merge.merge import merge_shards
from farm_merge.report.charts import draw_charts
from farm_merge.report.layout import lay_out
from farm_merge.report.runs import read_runs


def _frame(**values):
    return pd.DataFrame(list(product(*values.values())), columns=list(values))


def test_a_few_sets_have_a_colour_each():
    layout = lay_out(_frame(rate=[1, 2], size=[10, 20, 30]), ["rate", "size"])
    assert (layout.colours, layout.panels, layout.is_single) == (("rate", "size"), (), False)


def test_more_sets_have_panels_for_the_second_parameter():
    frame = _frame(rate=[1, 2, 3, 4], size=[10, 20, 30])
    layout = lay_out(frame, ["rate", "size"])
    assert (layout.colours, layout.panels) == (("rate",), ("size",))
    assert list(dict.fromkeys(layout.panel(frame))) == ["size 10", "size 20", "size 30"]
    assert set(layout.panel(frame, "size")) == {""}  # along an axis it needs no panels


def test_a_parameter_with_too_many_values_has_no_colours_of_its_own():
    layout = lay_out(_frame(size=range(12), rate=[1, 2]), ["size", "rate"])
    assert (layout.colours, layout.panels) == (("rate",), ("size",))


def test_a_random_design_is_drawn_run_by_run():
    frame = pd.DataFrame({"rate": range(64), "size": range(64)})
    assert lay_out(frame, ["rate", "size"]).is_single


@pytest.fixture(scope="module")
def twelve_sets(tmp_path_factory):
    """Four rates by three sizes, two runs each; the population is the size."""
    folder = tmp_path_factory.mktemp("sets")
    for rate, size, repetition in product([1, 2, 3, 4], [10, 50, 100], [1, 2]):
        name = f"r{rate}_s{size:03}_{repetition}"
        parameters = {"rate": rate, "size": size, "repetition": repetition, "log_level": name}
        with SimulationDatabase(
            folder / f"{name}.db", simulation_id=name, parameters=parameters
        ) as db:
            for step in range(4):
                db.logger.log_step(step, [], [], {"total_agents": size + repetition * step})
    merge_shards([folder], folder / "exp.db")
    return folder / "exp.db"


def test_no_line_pools_runs_of_different_parameter_sets(twelve_sets):
    runs = read_runs(twelve_sets)
    assert runs.layout.by == ("parameters.rate", "parameters.size")  # the log level causes nothing
    charts = {chart.name: chart for chart in draw_charts(runs)}
    chart = charts["total_agents_over_steps"]
    assert list(chart.panels) == ["size 10", "size 50", "size 100"]
    assert len(chart.data["sets"]) == 12 * 4
    assert set(chart.data["sets"]["n"]) == {2}
    assert (chart.data["sets"]["high"] - chart.data["sets"]["low"]).max() == 3
    for name in ("final_total_agents_by_rate", "final_total_agents_by_size"):
        assert len(charts[name].data["sets"]) == 12
        assert set(charts[name].data["sets"]["interval"]) == {"range of runs"}
        assert len(charts[name].data["runs"]) == 24
    assert all("n = 2" in chart.caption for chart in charts.values())


def test_parameters_that_are_chosen_make_the_sets(twelve_sets):
    runs = read_runs(twelve_sets, by=("size",))
    assert runs.keys == ["size 10", "size 50", "size 100"]
    (chart,) = [it for it in draw_charts(runs) if it.name == "total_agents_over_steps"]
    assert set(chart.data["sets"]["n"]) == {8}
