"""A sweep from the command line: it is simulated, merged and summed up; failures are listed."""

from __future__ import annotations

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
