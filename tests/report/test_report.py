"""The page as a text, and its charts as pictures."""

from __future__ import annotations

import csv
import hashlib
import html
import json
import re
import shlex
from xml.etree import ElementTree

import pytest
import vl_convert
from click.testing import CliRunner

from farm_merge import __version__
from farm_merge.cli import main
from farm_merge.errors import FarmMergeError, OutputError
from farm_merge.merge import merge_shards
from farm_merge.report import write_report
from farm_merge.report.charts import draw_charts
from farm_merge.report.runs import read_runs
from tests.conftest import query
from tests.read.foreign import write_foreign_runs


def test_the_page_is_one_file_that_asks_for_nothing(experiment, tmp_path):
    charts = write_report(experiment, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert charts >= 10
    assert 'src="' not in page.split("<script>")[0]
    assert "default-src 'none'" in page
    assert "<b>sweep</b>" not in page
    assert "&lt;b&gt;sweep&lt;/b&gt;" in page


def test_an_older_page_is_replaced_and_nothing_else(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr("farm_merge.report.draw_charts", lambda _: [])
    page = tmp_path / "r.html"
    write_report(experiment, page)
    written = page.read_text()
    page.write_text(written.replace(__version__, "0.0.9", 1))
    write_report(experiment, page)
    assert page.read_text() == written
    page.write_text(written.replace("farm-merge", "pandoc", 1))
    before = experiment.read_bytes()
    for precious in (page, experiment):
        with pytest.raises(OutputError, match="is something else; choose another name"):
            write_report(experiment, precious)
    assert "pandoc" in page.read_text()
    assert experiment.read_bytes() == before


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
        elif picture.suffix == ".csv":
            header, first, *_ = csv.reader(picture.read_text().splitlines())
            assert len(header) == len(first) > 1
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
    assert next(iter(read_runs(output, ()).outcomes)) == "outcome.score", "what each run has once"
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


def test_what_is_known_at_one_step_of_each_run_is_not_drawn_over_steps(tmp_path):
    output = write_foreign_runs(tmp_path)
    query(output, "DELETE FROM sheep WHERE Step = 0")
    names = {chart.name for chart in draw_charts(read_runs(output, ()))}
    assert "sheep_agents_over_steps" not in names
    assert {"model_gini_over_steps", "sheep_wealth_of_agents"} <= names


def test_the_page_says_how_it_was_made_and_can_be_made_again(experiment, tmp_path):
    arguments = ["--where", "population=10", "--by", "learning_rate", "--title", "My title",
                 "--digest"]  # fmt: skip
    page = tmp_path / "r.html"
    result = CliRunner().invoke(main, ["report", str(experiment), "-o", str(page), *arguments])
    assert result.exit_code == 0, result.output
    first = page.read_text()
    assert "<h1>My title</h1>" in first
    assert "Runs of one set differ in" not in first
    again = html.unescape(re.search("<code>(farm-merge .*?)</code>", first)[1])
    result = CliRunner().invoke(main, shlex.split(again)[1:])
    assert result.exit_code == 0, result.output
    made = re.compile("<dt>made</dt><dd>.*?</dd>")
    assert made.sub("", page.read_text()) == made.sub("", first)
    listed = (
        CliRunner().invoke(main, ["digest", str(experiment), "--where", "population=10"]).output
    )
    digest = hashlib.blake2b(listed.encode(), digest_size=16).hexdigest()
    assert f"<code>{digest}</code>" in first


def test_sets_that_pool_other_parameters_say_so(experiment, tmp_path):
    write_report(experiment, tmp_path / "r.html", by=["learning_rate"])
    page = (tmp_path / "r.html").read_text()
    assert "Runs of one set differ in population" in page


def test_the_digest_is_the_ledgers_where_it_has_one_and_else_the_page_says_how(
    make_shard, tmp_path
):
    copy = tmp_path / "exp.db"
    merge_shards([make_shard("a"), make_shard("b")], copy)
    write_report(copy, tmp_path / "r.html")
    assert "--digest adds it here" in (tmp_path / "r.html").read_text()
    listed = CliRunner().invoke(main, ["digest", str(copy), "--store"]).output
    write_report(copy, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "<dt>digest in the ledger</dt>" in page
    computed = write_report(copy, tmp_path / "r.html", digest=True)
    assert computed
    digest = re.search("<dt>digest of the data</dt><dd><code>(.*?)</code>",
                       (tmp_path / "r.html").read_text())[1]  # fmt: skip
    assert f"<code>{digest}</code>" in page
    assert listed


def test_a_report_of_some_simulations_and_its_facts(experiment, tmp_path):
    page = tmp_path / "r.html"
    first, second = [name for (name,) in query(experiment,
        "SELECT simulation_id FROM simulations WHERE status = 'completed' LIMIT 2")]  # fmt: skip
    arguments = ["report", str(experiment), "-o", str(page), "--json", "--simulation", first]
    facts = json.loads(CliRunner().invoke(main, [*arguments, "--dry-run"]).stdout)
    assert facts == {"path": str(page), "simulations": 1}
    assert not page.exists()
    facts = json.loads(CliRunner().invoke(main, arguments).stdout)
    assert facts["bytes"] == page.stat().st_size
    assert first in page.read_text()
    assert second not in page.read_text()
    assert f"--simulation {first}" in page.read_text()


@pytest.mark.parametrize("status", ["running", "incomplete"])
def test_runs_that_did_not_say_that_they_completed_are_counted_where_they_are_pooled(
    four_runs, tmp_path, status
):
    query(
        four_runs,
        "UPDATE simulations SET status = ?, end_time = NULL WHERE simulation_id = 'b2'",
        status,
    )
    write_report(four_runs, tmp_path / "r.html")
    said = f"Not all runs said that they completed (1 {status})"
    assert said in (tmp_path / "r.html").read_text()
    result = CliRunner().invoke(main, ["compare", str(four_runs), "--grouped"])
    assert f"but not completed: 1 {status}" in result.stderr
    write_report(four_runs, tmp_path / "r.html", where=["status=completed"])
    assert "Not all runs said" not in (tmp_path / "r.html").read_text()


def test_runs_that_failed_are_listed_with_their_reason_and_in_no_mean(four_runs, tmp_path):
    query(
        four_runs,
        "UPDATE simulations SET results_summary = json_object('failure',"
        " json_object('exception', 'ValueError', 'message', 'too <hot>', 'attempts', 2))"
        " WHERE simulation_id = 'b2'",
    )
    query(
        four_runs,
        "INSERT INTO simulations (simulation_id, status, parameters, simulation_db_path)"
        " SELECT 'record', 'failed', parameters, '' FROM simulations WHERE simulation_id = 'b1'",
    )
    charts = {it.name: it for it in draw_charts(read_runs(four_runs))}
    lives = charts["births_and_deaths"].data["sets"].set_index(["set", "what"])
    assert lives.loc[("learning_rate 0.5", "lived"), ["n", "mean"]].tolist() == [1, 3]
    mix = charts["action_mix"].data["sets"].set_index(["set", "what"])
    assert mix.loc[("learning_rate 0.5", "move"), ["n", "mean"]].tolist() == [1, 3]
    write_report(four_runs, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "2 of 5 runs failed" in page
    assert "ValueError: too &lt;hot&gt;" in page
    assert "no reason was recorded" in page


@pytest.mark.parametrize(("simulations", "number"), [((), 4), (("a1",), 1)])
def test_where_all_runs_failed_the_page_has_their_reasons(four_runs, tmp_path, simulations, number):
    query(four_runs, "UPDATE simulations SET status = 'failed'")
    assert write_report(four_runs, tmp_path / "r.html", simulations=simulations) == 0
    assert f"{number} of {number} runs failed" in (tmp_path / "r.html").read_text()


def test_a_template_of_ones_own_replaces_parts_of_the_page(four_runs, tmp_path):
    template = tmp_path / "mine.html"
    template.write_text(
        '{% extends "page.html" %}{% block head %}<h1>{{ title }} of our group</h1>{% endblock %}'
    )
    write_report(four_runs, tmp_path / "r.html", template=template, title="Report")
    assert "<h1>Report of our group</h1>" in (tmp_path / "r.html").read_text()
    for wrong in ("{% extends", "{{ nobody }}", '{% include "nowhere.html" %}'):
        template.write_text(wrong)
        with pytest.raises(FarmMergeError, match=r"mine\.html: is no template for a page"):
            write_report(four_runs, tmp_path / "r.html", template=template)
