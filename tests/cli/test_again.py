"""Answers from the command line: sensitivity, digests, and runs that are made again."""

from __future__ import annotations

import json

import pytest

from tests.conftest import query

SWEEP = """
experiment_id = "small"
steps = 3
repetitions = 2

[grid]
population = [4, 6, 9]
"""


@pytest.fixture
def experiment(run, tmp_path):
    (tmp_path / "small.toml").write_text(SWEEP)
    result = run("sweep", "small.toml", "-o", "exp.db", "--executor", "threads")
    assert result.exit_code == 0, result.output
    return tmp_path / "exp.db"


def test_how_much_an_outcome_depends_on_parameters(run, experiment):
    pytest.importorskip("scipy")
    table = run("sensitivity", experiment, "--outcome", "final_population")
    assert table.exit_code == 0, table.output
    assert "rank correlation" in table.output
    found = json.loads(
        run("sensitivity", experiment, "--outcome", "final_population", "--format", "json").stdout
    )
    assert [row["parameter"] for row in found["rows"]] == ["population"]
    wrong = run("sensitivity", experiment, "--outcome", "final_populaton")
    assert wrong.exit_code == 1
    assert "the nearest is final_population" in wrong.output


def test_digests_are_printed_stored_and_checked(run, experiment):
    first = run("digest", experiment, "--store")
    assert first.exit_code == 0
    lines = [line.split() for line in first.stdout.splitlines()]
    assert [name for _, name in lines] == sorted(name for _, name in lines)
    assert len({digest for digest, _ in lines}) == len(lines) == 6
    assert run("digest", experiment).exit_code == 0
    query(experiment, "UPDATE agents SET birth_time = 9 WHERE simulation_id = 'pop4_r1'")
    changed = run("digest", experiment)
    assert changed.exit_code == 4
    assert "changed: pop4_r1 was " in changed.output
    assert "changed" not in run("digest", experiment, "--simulation", "pop6_r1").output


def test_a_simulation_is_run_again(run, experiment):
    result = run("rerun", experiment, "pop4_r2")
    assert result.exit_code == 0, result.output
    assert "pop4_r2: the same, " in result.output
    query(experiment, "DELETE FROM agent_actions WHERE simulation_id = 'pop4_r2'")
    differs = run("rerun", experiment, "pop4_r2", "--json")
    assert differs.exit_code == 4
    assert json.loads(differs.stdout)["differing"] == ["agent_actions"]
