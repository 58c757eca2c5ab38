"""The page, looked at in a real browser where there is one."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import pytest

from farm_merge.report import write_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DRAWN = "return document.body.dataset.drawn"


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


@pytest.fixture(scope="module")
def written(experiment):
    page = experiment.with_name("r.html")
    write_report(experiment, page)
    return page


@pytest.fixture
def page(browser, written):
    browser.get_log("browser")
    browser.get(written.as_uri())
    _wait(browser, DRAWN)
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
        before["total_agents_over_steps"]
        + 15  # of the sets with five runs; those of four are drawn
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


@pytest.fixture
def phone(page):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True},
    )
    page.refresh()
    _wait(page, DRAWN)
    yield page
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_results_are_sorted_by_a_click_on_a_column(page):
    column = """
        const table = document.querySelector('#Results table'), place = arguments[0];
        return [...table.tBodies[0].rows].map(row => Number(row.cells[place].dataset.value))
    """
    names = page.execute_script(
        "return [...document.querySelectorAll('#Results th button')].map(it => it.textContent)"
    )
    place = names.index("final population")
    button = f"document.querySelectorAll('#Results th button')[{place}]"
    seen = []
    for expected in ("ascending", "descending"):
        page.execute_script(f"{button}.click()")
        seen.append(page.execute_script(column, place))
        assert page.execute_script(f"return {button}.parentElement.ariaSort") == expected
    assert len(seen[0]) == 4
    assert seen[0] == sorted(seen[0]) != seen[1] == sorted(seen[0], reverse=True)


def test_on_a_phone_each_result_stands_beside_its_name(phone):
    right = """
        return Math.max(...[...document.querySelectorAll('#Results td')].map(
          cell => cell.getBoundingClientRect().right))
    """
    assert phone.execute_script(right) <= 390
    name = "return getComputedStyle(document.querySelector('#Results td'), '::before').content"
    assert phone.execute_script(name) == '"learning_rate"'


def test_charts_of_a_row_are_aligned(page):
    tops = page.execute_script("""
        const rows = {};
        for (const chart of document.querySelectorAll('#Outcomes .small')) {
          const row = rows[chart.getBoundingClientRect().top] ??= { charts: [], captions: [] };
          row.charts.push(chart.querySelector('.chart').getBoundingClientRect().top);
          row.captions.push(chart.querySelector('figcaption').getBoundingClientRect().top);
        }
        return Object.values(rows)
    """)
    assert max(len(row["charts"]) for row in tops) > 1
    for row in tops:
        assert len(set(row["charts"])) == len(set(row["captions"])) == 1


@pytest.mark.parametrize(
    ("form", "name", "start"),
    [
        ("png", "total_agents_over_steps.png", b"\x89PNG"),
        ("svg", "total_agents_over_steps.svg", b"<svg"),
        ("csv", "total_agents_over_steps.sets.csv", b"set,panel,step,n,mean"),
    ],
)
def test_a_chart_is_saved_as_picture_and_data(page, tmp_path, form, name, start):
    page.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    group = "[data-chart=total_agents_over_steps]"
    page.execute_script(f"document.querySelector('{group} [data-form={form}]').click()")
    _wait(page, lambda _: (tmp_path / name).exists() and (tmp_path / name).stat().st_size)
    assert (tmp_path / name).read_bytes().startswith(start)
    if form == "csv":
        rows = list(csv.DictReader((tmp_path / name).read_text().splitlines()))
        assert {row["set"] for row in rows} > {"learning_rate 1.0, population 10"}
        assert {row["n"] for row in rows} == {"4", "5"}


def test_paper_is_white_though_the_screen_is_dark(page):
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    ink = "return getComputedStyle(document.querySelector('.plot .role-axis-label text')).fill"
    seen = []
    for media in ("screen", "print"):
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})
        seen.append(page.execute_script(ink))
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    assert seen == ["rgb(228, 232, 236)", "rgb(29, 35, 41)"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page, scheme):
    axe = os.environ.get("FARM_MERGE_AXE")
    if not axe:
        pytest.skip("FARM_MERGE_AXE names no axe.min.js")
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    page.execute_script("document.querySelectorAll('details').forEach(it => it.open = true)")
    page.set_script_timeout(300)
    page.execute_script(Path(axe).read_text())
    found = page.execute_async_script(
        "axe.run().then(found => arguments[0](found.violations.map(it => [it.id, it.nodes[0].html])))"
    )
    assert found == []


def _wait(driver, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    if isinstance(condition, str):
        script, condition = condition, lambda it: it.execute_script(script)
    WebDriverWait(driver, 60).until(condition)
