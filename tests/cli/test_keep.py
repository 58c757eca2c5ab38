"""Keeping house from the command line: dry runs, what is printed, and the exit codes."""

from __future__ import annotations

import pytest

from tests.conftest import content, query

AC = ["--simulation", "a", "--simulation", "c"]


@pytest.fixture
def experiment(run, make_shard, tmp_path):
    run(make_shard("a"), make_shard("b"), make_shard("c", steps=7), "-o", "exp.db")
    return tmp_path / "exp.db"


def test_a_dry_run_counts_what_would_be_removed(run, experiment):
    before = experiment.read_bytes()
    result = run("remove", experiment, *AC, "-n")
    counts = {
        name: sum(
            query(experiment, f"SELECT count(*) FROM {table} WHERE simulation_id = ?", name)[0][0]
            for table in content(experiment)
        )
        for name in "ac"
    }
    assert f"would remove a: {counts['a']} rows\nwould remove c: {counts['c']} rows\n" in (
        result.output
    )
    assert f"2 simulations would be removed, {sum(counts.values())} rows" in result.output
    assert experiment.read_bytes() == before
    assert f"2 simulations removed, {sum(counts.values())} rows" in (
        run("remove", experiment, *AC).output
    )


def test_simulations_are_named_or_described(run, experiment):
    assert run("remove", experiment).exit_code == 2
    query(experiment, "UPDATE simulations SET status = 'failed' WHERE simulation_id <> 'b'")
    both = run("remove", experiment, "--simulation", "b", "--where", "status=failed")
    assert "0 simulations removed" in both.output
    result = run("remove", experiment, "--where", "status=failed")
    assert result.exit_code == 0, result.output
    assert query(experiment, "SELECT simulation_id FROM simulations") == [("b",)]


def test_a_dry_run_of_a_split_writes_nothing(run, experiment, tmp_path):
    result = run("split", experiment, "-o", tmp_path / "parts", "--dry-run")
    assert f"would write {tmp_path}/parts/a.db: a\n" in result.output
    assert "would get 3 files" in result.output
    assert not (tmp_path / "parts").exists()


def test_a_dry_run_of_a_vacuum_shows_what_it_would_give(run, experiment):
    run("remove", experiment, "--simulation", "a", "--simulation", "b")
    before = experiment.stat().st_size
    result = run("vacuum", experiment, "-n")
    (promised,) = (
        int(word.replace(",", "")) for word in result.output.split() if word[0] in "1234567890"
    )
    assert result.output.endswith("bytes would be given back\n")
    assert experiment.stat().st_size == before
    assert f"{before:,} -> {before - promised:,} bytes" in run("vacuum", experiment).output


def test_an_archive_is_made_and_restored(run, experiment, tmp_path):
    result = run("archive", experiment, "--dry-run")
    assert (
        result.output == f"{experiment}.zst: would be made of {experiment.stat().st_size:,} bytes\n"
    )
    assert not (tmp_path / "exp.db.zst").exists()
    assert "bytes, and read again" in run("archive", experiment).output
    result = run("restore", "exp.db.zst", "-o", "back.db")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "back.db").read_bytes() == experiment.read_bytes()
    for words in (["archive", experiment], ["restore", "exp.db.zst", "-o", "back.db"]):
        result = run(*words)
        assert result.exit_code == 1
        assert "is there already" in result.output


def test_a_path_that_leads_through_a_file_is_reported_without_a_traceback(run, experiment):
    before = content(experiment)
    for words in (
        ["archive", experiment, "-o", experiment / "a.zst"],
        ["split", experiment, "-o", experiment / "parts"],
        ["export", experiment, "-o", experiment / "out"],
        ["report", experiment, "-o", experiment / "r.html"],
    ):
        result = run(*words)
        assert result.exit_code == 1, words
        assert isinstance(result.exception, SystemExit)
        assert "Error: " in result.output
    assert content(experiment) == before
