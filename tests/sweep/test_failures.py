"""Failures are data: each leaves a record, costs only itself, and is tried again next time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from farm_merge.sweep import run_sweep
from tests.conftest import query
from tests.sweep.small import hidden, is_alive, of_model, threads

if TYPE_CHECKING:
    from pathlib import Path


def records(output: Path) -> dict[str, Any]:
    """Return the records of failures by the name of their simulations."""
    rows = query(
        output, "SELECT simulation_id, results_summary FROM simulations WHERE status = 'failed'"
    )
    return {simulation_id: json.loads(summary)["failure"] for simulation_id, summary in rows}


@pytest.mark.parametrize(
    ("function", "exception", "message", "stage"),
    [
        ("fail", "ValueError", "two is too many", "simulate"),
        ("leave", "SystemExit", "enough", "simulate"),
        ("die", "Killed", "the process was killed by SIGKILL", "simulate"),
    ],
)
def test_a_run_that_fails_is_recorded_and_the_others_go_on(
    tmp_path: Path, function: str, exception: str, message: str, stage: str
) -> None:
    output, shards = tmp_path / "exp.db", tmp_path / "shards"
    report = run_sweep(of_model(function), shards, output, jobs=1)
    assert [run.parameters["n"] for run in report.completed] == [1, 3]
    assert [str(failure) for failure in report.failed] == [f"n2_r1: {exception}: {message}"]
    record = records(output)["n2_r1"]
    assert (record["exception"], record["message"], record["stage"]) == (exception, message, stage)
    assert record["worker"].startswith("process ")
    assert record["seconds"] >= 0
    assert bool(record["traceback"]) == (exception != "Killed")
    assert query(
        output, "SELECT simulation_id, max(step_number) FROM simulation_steps GROUP BY 1"
    ) == [
        ("n1_r1", 0),
        ("n3_r1", 2),
    ]
    assert hidden(shards) == []


def test_a_run_that_takes_too_long_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    hanging = of_model("hang", config={"pid_file": str(pid_file)})
    report = run_sweep(hanging, tmp_path / "s", tmp_path / "exp.db", jobs=2, timeout=2)
    assert [failure.exception for failure in report.failed] == ["TimeoutError"]
    assert records(tmp_path / "exp.db")["n2_r1"]["seconds"] >= 2
    assert not is_alive(int(pid_file.read_text()))
    assert len(report.completed) == 2


def test_a_simulation_that_ends_otherwise_has_failed(tmp_path: Path) -> None:
    ends = of_model("end_otherwise", grid={"n": [1]})
    report = run_sweep(ends, tmp_path / "s", tmp_path / "exp.db", jobs=1)
    assert report.failed[0].stage == "store"
    assert "'cancelled'" in report.failed[0].message


def test_a_run_that_completes_later_takes_the_place_of_its_failure(tmp_path: Path) -> None:
    output = tmp_path / "exp.db"
    once = of_model("fail_once", config={"folder_of_marks": str(tmp_path)})
    first = run_sweep(once, tmp_path / "s", output, jobs=1)
    assert len(first.failed) == len(records(output)) == 3
    second = run_sweep(once, tmp_path / "s", output, jobs=1)
    assert (len(second.completed), second.failed, records(output)) == (3, (), {})
    assert query(output, "SELECT DISTINCT status FROM simulations") == [("completed",)]


def test_a_run_is_tried_again_as_often_as_asked(tmp_path: Path) -> None:
    once = of_model("fail_once", config={"folder_of_marks": str(tmp_path)}, retries=1)
    report = run_sweep(once, tmp_path / "s", tmp_path / "exp.db", jobs=1)
    assert (len(report.completed), report.failed) == (3, ())
    never = run_sweep(of_model("fail"), tmp_path / "t", tmp_path / "b.db", jobs=1, retries=2)
    assert [failure.attempts for failure in never.failed] == [3]


def test_a_sweep_stops_when_enough_runs_have_failed(tmp_path: Path) -> None:
    many = of_model("fail", grid={"n": [2], "x": list(range(20))})
    report = run_sweep(many, tmp_path / "s", tmp_path / "exp.db", jobs=1, max_failures=3)
    assert (len(report.failed), report.not_run) == (3, 17)
    assert len(records(tmp_path / "exp.db")) == 3


def test_what_completed_is_not_overwritten_by_a_failure(tmp_path: Path) -> None:
    output, design = tmp_path / "exp.db", of_model("count")
    with threads() as executor:
        run_sweep(design, tmp_path / "s", output, executor=executor)
        failing = of_model("fail", grid={"n": [2]}, seed=1)
        report = run_sweep(
            failing, tmp_path / "t", output, executor=executor, on_conflict="replace"
        )
    assert len(report.failed) == 1
    assert records(output) == {}
    assert query(output, "SELECT status FROM simulations WHERE simulation_id = 'n2_r1'") == [
        ("completed",)
    ]


@pytest.mark.parametrize("function", ["fail", "die"])
def test_what_a_run_had_logged_is_kept_on_request_until_it_completes(
    tmp_path: Path, function: str
) -> None:
    output, shards = tmp_path / "exp.db", tmp_path / "shards"
    steps = "SELECT simulation_id, count(*) FROM simulation_steps GROUP BY 1 ORDER BY 1"
    failing = of_model(function, config={"flush": True})
    report = run_sweep(failing, shards, output, jobs=1, keep_partial=True)
    assert len(report.failed) == 1
    assert list(records(output)) == ["n2_r1"]
    assert query(output, steps) == [("n1_r1", 1), ("n2_r1", 2), ("n3_r1", 3)]
    assert hidden(shards) == []
    again = run_sweep(failing, shards, output, jobs=1, keep_partial=True)
    assert (len(again.present), len(again.failed)) == (2, 1)
    assert query(output, steps) == [("n1_r1", 1), ("n2_r1", 2), ("n3_r1", 3)]
    with_rows = run_sweep(failing, shards, output, jobs=1)
    assert len(with_rows.failed) == 1
    assert list(records(output)) == ["n2_r1"]


def test_partial_rows_give_way_to_those_of_the_run_that_completes(tmp_path: Path) -> None:
    output = tmp_path / "exp.db"
    once = of_model("fail_late_once", config={"folder_of_marks": str(tmp_path)})
    first = run_sweep(once, tmp_path / "s", output, jobs=1, keep_partial=True)
    assert len(first.failed) == 3
    assert query(output, "SELECT count(*) FROM simulation_steps") == [(6,)]
    second = run_sweep(once, tmp_path / "s", output, jobs=1)
    assert (len(second.completed), records(output)) == (3, {})
    assert query(output, "SELECT count(*) FROM simulation_steps") == [(6,)]
    assert query(output, "SELECT DISTINCT status FROM simulations") == [("completed",)]
    assert query(output, "SELECT count(*) FROM merged_shards") == [(3,)]
