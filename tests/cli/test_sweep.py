"""A sweep from the command line: it is simulated, merged and summed up; failures are listed."""

from __future__ import annotations

import re

import pytest

from tests.conftest import query

SWEEP = """
experiment_id = "small"
steps = 3
repetitions = 2

[grid]
population = [4, 6]
"""


@pytest.fixture
def sweep_file(tmp_path):
    (tmp_path / "small.toml").write_text(SWEEP)
    return tmp_path / "small.toml"


def test_a_sweep_becomes_an_experiment_and_is_not_run_twice(run, sweep_file, tmp_path):
    words = ["sweep", sweep_file, "-o", "exp.db", "--shards", "runs", "-j", 2]
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "population  runs  final_population  mean_reward" in result.output
    assert "exp.db: 4 merged; " in result.output
    assert len(list((tmp_path / "runs").glob("*.db"))) == 4
    assert query("exp.db", "SELECT count(*) FROM simulations") == [(4,)]
    assert "exp.db: 4 already merged" in run(*words).output


def test_a_sweep_that_cannot_be_run_is_an_error(run, sweep_file):
    sweep_file.write_text(SWEEP.replace("population", "populace"))
    result = run("sweep", sweep_file)
    assert result.exit_code == 1
    assert "small.toml" in result.output


def test_a_dry_run_shows_the_runs_and_judges_time_and_size(run, sweep_file, tmp_path):
    before = run("sweep", sweep_file, "--dry-run")
    assert before.exit_code == 0, before.output
    assert "pop4_r1" in before.output
    assert "4 of 4 runs would be simulated. Nothing was run" in before.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.toml"]
    run("sweep", sweep_file, "--task", "1/2", "--executor", "threads")
    after = run("sweep", sweep_file, "--dry-run", "-j", 1)
    judged = r"2 of 4 runs would be simulated, in about \d+ s; all shards about [\d,]+ bytes"
    assert re.search(judged, after.output)
    assert "judged by 2 runs" in after.output


def test_a_failure_is_listed_and_the_exit_code_says_so(run, tmp_path):
    (tmp_path / "bad.toml").write_text(
        'experiment_id = "a"\nsimulation = "tests.sweep.models:fail"\n[grid]\nn = [1, 2]\n'
    )
    result = run("sweep", "bad.toml", "--executor", "threads")
    assert result.exit_code == 3
    assert "n2_r1   simulate" in result.output
    assert "ValueError: two is too many" in result.output
    assert run("sweep", "bad.toml", "--fail-fast", "-j", 1).exit_code == 3


def test_the_parts_of_a_design_make_the_whole(run, sweep_file):
    for part in ("1/3", "2/3", "3/3"):
        result = run(
            "sweep", sweep_file, "--task", part, "--executor", "threads", "-o", f"{part[0]}.db"
        )
        assert result.exit_code == 0, result.output
    assert "4 merged" in run("1.db", "2.db", "3.db", "-o", "all.db").output
    assert "4 already merged" in run("shards", "-o", "all.db").output


@pytest.mark.parametrize("task", ["0/2", "3/2", "1", "a/b"])
def test_a_part_that_is_none_is_refused(run, sweep_file, task):
    assert run("sweep", sweep_file, "--task", task).exit_code == 2
