"""Resuming: what is there is not run again, and what is not of the sweep stops it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from farm_merge.errors import ConflictError, OutputError
from farm_merge.sweep import run_sweep
from tests.conftest import query
from tests.sweep.small import hidden, sweep, threads

if TYPE_CHECKING:
    from pathlib import Path


def test_runs_that_are_there_are_not_run_again(tmp_path: Path) -> None:
    shards, output = tmp_path / "shards", tmp_path / "exp.db"
    with threads() as executor:
        first = run_sweep(sweep(repetitions=1), shards, output, executor=executor)
        second = run_sweep(sweep(), shards, output, executor=executor)
    assert (len(first.completed), len(second.completed), len(second.present)) == (2, 2, 2)
    assert {run.repetition for run in second.completed} == {2}
    assert query(output, "SELECT count(*) FROM simulations") == [(4,)]


def test_a_sweep_whose_shards_are_gone_gives_the_same_simulations_again(tmp_path: Path) -> None:
    shards, output = tmp_path / "shards", tmp_path / "exp.db"
    with threads() as executor:
        run_sweep(sweep(), shards, output, executor=executor)
        for shard in shards.iterdir():
            shard.unlink()
        query(output, "UPDATE simulation_config SET timestamp = 0")  # the clock has gone on
        report = run_sweep(sweep(), shards, output, executor=executor)
    assert len(report.completed) == 4
    assert report.merge.rows == 0


@pytest.mark.parametrize("changes", [{"steps": 6}, {"seed": 2}, {"config": {"population": 7}}])
def test_a_shard_of_another_sweep_stops_it_before_anything_is_run(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    shards = tmp_path / "shards"
    with threads() as executor:
        run_sweep(sweep(repetitions=1), shards, tmp_path / "a.db", executor=executor)
        before = sorted(shards.iterdir())
        with pytest.raises(ConflictError, match=r"lr0\.1_r1\.db: .* is .*(?s:.*)another folder"):
            run_sweep(sweep(**changes), shards, tmp_path / "b.db", executor=executor)
    assert sorted(shards.iterdir()) == before
    assert not (tmp_path / "b.db").exists()


def test_a_foreign_file_under_a_run_s_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "lr0.1_r1.db").write_bytes(b"not a database, and long enough to be read as one" * 9)
    with pytest.raises(ConflictError, match=r"lr0\.1_r1\.db: cannot be read"):
        run_sweep(sweep(), tmp_path, tmp_path / "exp.db")


def test_other_shards_in_the_folder_are_left_out(tmp_path: Path) -> None:
    shards = tmp_path / "shards"
    shards.mkdir()
    (shards / "other.db").write_bytes(b"something else")
    with threads() as executor:
        report = run_sweep(sweep(), shards, tmp_path / "exp.db", executor=executor)
    assert len(report.merge.simulations) == 4


def test_what_a_killed_run_left_does_not_disturb(tmp_path: Path) -> None:
    for name in (".lr0.1_r1.running", ".lr0.1_r1.running-wal", ".lr0.1_r1.running-journal"):
        (tmp_path / name).write_bytes(b"half of something")
    with threads() as executor:
        report = run_sweep(sweep(), tmp_path, tmp_path / "out" / "exp.db", executor=executor)
    assert len(report.completed) == 4
    assert hidden(tmp_path) == ["out"]


def test_a_wal_that_is_there_alone_stops_the_sweep_before_anything_is_run(tmp_path: Path) -> None:
    stray = tmp_path / "lr0.1_r1.db-wal"
    stray.write_bytes(b"of a run that is gone")
    with threads() as executor, pytest.raises(OutputError, match=stray.name):
        run_sweep(sweep(), tmp_path, tmp_path / "out" / "exp.db", executor=executor)
    assert [path.name for path in tmp_path.iterdir()] == [stray.name]


def test_a_wal_that_appears_while_a_run_goes_on_is_not_replayed_over_it(tmp_path: Path) -> None:
    def litter(*_: object) -> None:
        (tmp_path / "lr1.0_r1.db-wal").write_bytes(b"of a run that is gone")

    with threads() as executor:
        report = run_sweep(
            sweep(repetitions=1),
            tmp_path,
            tmp_path / "out" / "exp.db",
            executor=executor,
            progress=litter,
        )
    assert [failure.run.simulation_id for failure in report.failed] == ["lr1.0_r1"]
    assert "lr1.0_r1.db-wal" in report.failed[0].reason
    assert not (tmp_path / "lr1.0_r1.db").exists()
