"""What Python and notebooks show of plans, reports and databases is short, and escaped."""

from __future__ import annotations

from farm_merge import ExperimentDatabase
from farm_merge.merge import merge_shards, plan_merge
from farm_merge.notebook import html_table


def test_a_table_is_escaped_and_cut():
    text = html_table("<b>", ["n", "x&y"], [(1000, "<i>"), *((0, None) for _ in range(24))])
    assert "<p>&lt;b&gt;</p>" in text
    assert "<th>x&amp;y</th>" in text
    assert '<td style="text-align: right">1,000</td><td>&lt;i&gt;</td>' in text
    assert text.count("<tr>") == 21
    assert "… and 5 others" in text


def test_a_plan_and_a_report_are_shown_in_a_line_and_as_a_table(make_shard, tmp_path):
    shards = [make_shard("a"), make_shard("<b>", file="b.db")]
    running = make_shard("r", status="running")
    output = tmp_path / "exp.db"
    plan = plan_merge([*shards, running], output)
    line = f"{output}: 2 to merge, 1 to leave out; {plan.rows:,} rows"
    assert repr(plan) == f"<Plan: nothing is written yet; {line}>"
    report = merge_shards([*shards, running], output)
    assert repr(report).startswith(f"<MergeReport {output}: 2 merged, 1 left out; ")
    assert len(repr(report)) < 200
    again = merge_shards(shards, output)
    assert repr(again).startswith(f"<MergeReport {output}: 2 already merged in ")
    for shown in (plan._repr_html_(), report._repr_html_()):
        assert "<td>&lt;b&gt;</td>" in shown
        assert "its run has not ended" in shown
        assert "include_running=True" in shown


def test_an_experiment_is_shown_with_its_simulations(tmp_path):
    with ExperimentDatabase(tmp_path / "exp.db", "exp") as experiment:
        experiment.create_simulation_context("run_1", {"rate": 0.5, "seed": 7})
        assert repr(experiment) == (
            f"<ExperimentDatabase {tmp_path}/exp.db: experiment exp, 1 simulation>"
        )
        shown = experiment._repr_html_()
        assert "<td>run_1</td><td>running</td>" in shown
        assert "rate" in shown
    assert repr(experiment).endswith("experiment exp, closed>")
    assert "<tbody></tbody>" in experiment._repr_html_()
