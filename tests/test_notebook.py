"""What Python and notebooks show of plans, reports and databases is short, and escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from farm_merge import ExperimentDatabase
from farm_merge.merge import merge_shards, plan_merge
from farm_merge.notebook import html_table
from farm_merge.sweep import Sweep, plan_sweep, run_sweep
from tests.sweep.small import of_model


def test_a_table_is_escaped_and_cut():
    text = html_table("<b>", ["n", "x&y"], [(1000, "<i>"), *((0, None) for _ in range(24))], 25)
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


def test_a_sweep_and_what_it_would_do_are_shown_in_a_line_and_as_a_table(tmp_path):
    design, shards, output = of_model("fail"), tmp_path / "s", tmp_path / "exp.db"
    outlook = plan_sweep(design, shards, output)
    assert repr(outlook) == "<Outlook: 3 of 3 runs would be simulated>"
    assert "<td>n1_r1</td>" in outlook._repr_html_()
    report = run_sweep(design, shards, output, jobs=1)
    assert repr(report) == f"<SweepReport {output}: 2 simulated, 1 failed>"
    first, *_ = report._repr_html_().partition("<tbody>")[2].split("</tr>")
    assert "<td>n2_r1</td><td>failed</td><td>ValueError: two is too many</td>" in first
    again = run_sweep(design, shards, output, jobs=1)
    assert repr(again) == f"<SweepReport {output}: 2 there before, 1 failed>"
    assert "<td>n1_r1</td><td>there before</td>" in again._repr_html_()


def test_of_a_large_sweep_only_the_runs_are_computed_that_are_shown(tmp_path):
    design = Sweep(experiment_id="large", steps=1, repetitions=1_000, grid={"population": [10]})
    outlook = plan_sweep(design, tmp_path / "s", tmp_path / "exp.db")
    asked = []
    runs = replace(outlook, due=_Counting(outlook.due, asked))
    assert "… and 980 others" in runs._repr_html_()
    assert len(asked) <= 21


class _Counting(Sequence):
    def __init__(self, runs, asked):
        self.runs, self.asked = runs, asked

    def __len__(self):
        return len(self.runs)

    def __getitem__(self, place):
        self.asked.append(place)
        return self.runs[place]
