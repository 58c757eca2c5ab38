"""The page, looked at in a real browser where there is one, and the same charts as pictures."""

from __future__ import annotations

import json
import os
import shutil
from xml.etree import ElementTree

import pytest
import vl_convert
from click.testing import CliRunner

from farm_merge.cli import main
from farm_merge.merge import merge_shards
from farm_merge.read.report import write_report
from farm_merge.read.report.charts import draw_charts
from farm_merge.read.report.runs import read_runs
from farm_merge.sweep import Sweep, run_sweep
from tests.conftest import query
from tests.read.foreign import write_foreign_runs

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    """A small sweep, one run of which failed, with a name that a page must not take for markup."""
    folder = tmp_path_factory.mktemp("report")
    sweep = Sweep(
        experiment_id="small",
        name="small </script><b>sweep</b>",
        repetitions=2,
        seed=1,
        steps=40,
        grid={"learning_rate": [0.1, 1.0], "population": [10, 30]},
    )
    run_sweep(sweep, folder / "shards", folder / "exp.db", workers=2)
    query(
        folder / "exp.db",
        "UPDATE simulations SET status = 'failed' WHERE simulation_id ="
        " (SELECT min(simulation_id) FROM simulations)",
    )
    return folder / "exp.db"


def test_the_page_is_one_file_that_asks_for_nothing(experiment, tmp_path):
    charts = write_report(experiment, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert charts >= 10
    assert 'src="' not in page.split("<script>")[0]
    assert "default-src 'none'" in page
    assert "<b>sweep</b>" not in page
    assert "&lt;b&gt;sweep&lt;/b&gt;" in page


def test_pictures(experiment, tmp_path):
    result = CliRunner().invoke(
        main, ["report", str(experiment), "-o", str(tmp_path / "r.html"), "--plots",
               str(tmp_path / "plots")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    pictures = sorted((tmp_path / "plots").iterdir())
    names = {picture.stem for picture in pictures}
    assert {"total_agents_over_steps", "action_mix", "births_and_deaths"} <= names
    for picture in pictures:
        if picture.suffix == ".png":
            assert picture.read_bytes().startswith(b"\x89PNG")
        else:
            drawn = ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}path")
            assert len(list(drawn)) > 4


def test_what_looks_like_markup_is_text_wherever_it_is(make_shard, tmp_path):
    evil = "<img src=x onerror=alert(1)>'\"&</script>"
    for number in (1, 2):
        shard = make_shard(f"{number}{evil}", file=f"s{number}.db", status=evil, shift=number)
        parameters = json.dumps({evil: number, "text": evil})
        query(shard, "UPDATE simulations SET parameters = ?, git_commit = ?", parameters, evil)
        query(shard, "UPDATE agent_actions SET action_type = ?", evil)
        query(shard, "UPDATE health_incidents SET cause = ?", evil)
    shards = sorted((tmp_path / "shards").iterdir())
    merge_shards(shards, tmp_path / "exp.db", experiment_id=evil, name=evil, description=evil)
    query(tmp_path / "exp.db", "UPDATE experiments SET hypothesis = ?", evil)
    query(tmp_path / "exp.db", "UPDATE merged_shards SET source_path = ?", evil)
    write_report(tmp_path / "exp.db", tmp_path / "r.html", where=[f"status={evil}"])
    page = (tmp_path / "r.html").read_text()
    assert page.count("&lt;img src=x onerror=alert(1)&gt;") > 20
    assert r"\u003cimg src=x onerror=alert(1)\u003e" in page
    vega = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    assert page.count("<img") == vega.count("<img")
    assert page.count("</script>") == 2


def test_a_database_without_agentfarms_tables_makes_a_page(tmp_path):
    query(tmp_path / "a.db", "CREATE TABLE prey (id INTEGER PRIMARY KEY, x REAL)")
    query(tmp_path / "a.db", "INSERT INTO prey (x) VALUES (1), (2)")
    merge_shards([tmp_path / "a.db"], tmp_path / "exp.db")
    assert write_report(tmp_path / "exp.db", tmp_path / "r.html") == 0
    assert "<h2>Origin</h2>" in (tmp_path / "r.html").read_text()


def test_a_single_run_without_parameters_makes_a_page_too(make_shard, tmp_path):
    merge_shards([make_shard("a")], tmp_path / "exp.db")
    assert write_report(tmp_path / "exp.db", tmp_path / "r.html") > 2


def test_no_simulation_makes_no_page(experiment, tmp_path):
    result = CliRunner().invoke(
        main,
        ["report", str(experiment), "-o", str(tmp_path / "r.html"), "--where", "population>99"],
    )
    assert result.exit_code == 1
    assert "no simulation that could be shown" in result.output


@pytest.fixture(scope="module")
def browser():
    selenium = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service

    binary = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no chromium with chromedriver")
    options = selenium.ChromeOptions()
    options.binary_location = binary
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--window-size=1200,900",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    os.environ.setdefault("SE_AVOID_STATS", "true")
    with selenium.Chrome(options=options, service=Service(driver)) as opened:
        yield opened


@pytest.fixture
def page(browser, experiment, tmp_path):
    from selenium.webdriver.support.ui import WebDriverWait

    write_report(experiment, tmp_path / "r.html")
    browser.get_log("browser")
    browser.get((tmp_path / "r.html").as_uri())
    WebDriverWait(browser, 30).until(
        lambda d: d.execute_script("return document.body.dataset.drawn")
    )
    return browser


MARKS = """
return Object.fromEntries([...document.querySelectorAll('.chart')].map(chart => [chart.id,
  chart.querySelectorAll('.role-mark path, .role-mark rect, .role-mark line').length]))
"""


def test_every_chart_has_marks_and_nothing_fails(page):
    assert page.get_log("browser") == []
    marks = page.execute_script(MARKS)
    assert len(marks) >= 10
    assert all(marks.values()), marks


def test_the_legend_toggles_a_set_and_single_runs_by_keyboard(page):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    before = page.execute_script(MARKS)
    box = page.find_element(By.CSS_SELECTOR, ".legend input[value]:not(#single-runs)")
    box.send_keys(Keys.SPACE)
    waiting = WebDriverWait(page, 20)
    waiting.until(lambda d: d.execute_script("return document.body.dataset.toggled") == "1")
    hidden = page.execute_script(MARKS)
    for chart in ("total_agents_over_steps", "births_and_deaths", "action_mix"):
        assert 0 < hidden[chart] < before[chart]
    box.send_keys(Keys.SPACE)
    waiting.until(lambda d: d.execute_script("return document.body.dataset.toggled") == "2")
    assert page.execute_script(MARKS) == before
    page.find_element(By.ID, "single-runs").send_keys(Keys.SPACE)
    waiting.until(lambda d: d.execute_script("return document.body.dataset.toggled") == "3")
    assert page.execute_script(MARKS)["total_agents_over_steps"] == (
        before["total_agents_over_steps"] + 8
    )


def test_a_phone_needs_no_sideways_scrolling(page):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": True},
    )
    page.refresh()
    try:
        assert page.execute_script("return document.documentElement.scrollWidth") <= 390
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_dark_and_light(page):
    colour = "return getComputedStyle(document.body).backgroundColor"
    seen = set()
    for scheme in ("light", "dark"):
        page.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )
        seen.add(page.execute_script(colour))
    assert seen == {"rgb(255, 255, 255)", "rgb(20, 24, 28)"}


def test_parameters_called_like_columns_are_drawn(make_shard, tmp_path):
    for number in range(1, 5):
        make_shard(f"run_{number}", agents=number)
    merge_shards(sorted((tmp_path / "shards").iterdir()), tmp_path / "exp.db")
    query(
        tmp_path / "exp.db",
        "UPDATE simulations SET parameters = json_object('n', substr(simulation_id, 5) % 2,"
        " 'mean', CAST(substr(simulation_id, 5) AS INTEGER) < 3, 'simulation_id', 'x')",
    )
    names = [chart.name for chart in draw_charts(read_runs(tmp_path / "exp.db", ()))]
    assert {"final_total_agents_by_n", "final_total_agents_by_mean"} <= set(names)
    assert write_report(tmp_path / "exp.db", tmp_path / "page.html") == len(names)


def test_the_metrics_of_any_model_are_drawn_and_not_what_is_constant(tmp_path):
    output = write_foreign_runs(tmp_path)
    names = {chart.name for chart in draw_charts(read_runs(output, ()))}
    assert names == {
        "model_gini_over_steps",
        "sheep_agents_over_steps",
        "sheep_wealth_of_agents",
        "final_model_gini_by_speed",
        "final_mean_sheep_wealth_by_speed",
        "outcome_score_by_speed",
    }
    chosen = {chart.name for chart in draw_charts(read_runs(output, (), ("model.constant",)))}
    assert "model_constant_over_steps" in chosen
    assert "model_gini_over_steps" not in chosen
    result = CliRunner().invoke(
        main,
        ["report", str(output), "-o", str(tmp_path / "r.html"), "--metric", "gini", "--plots",
         str(tmp_path / "plots")],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "model_gini_over_steps.svg" in {path.name for path in (tmp_path / "plots").iterdir()}
