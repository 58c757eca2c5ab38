"""Resuming: what is there is not run again, and what is not of the sweep stops it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from farm_merge.errors import ConflictError, OutputError
from farm_merge.merge import Action, merge_shards
from farm_merge.sweep import load_sweep, run_sweep
from tests.conftest import content, query
from tests.sweep.small import hidden, is_alive, of_model, sweep, threads, wait_until


def test_runs_that_are_there_are_not_run_again(tmp_path: Path) -> None:
    shards, output = tmp_path / "shards", tmp_path / "exp.db"
    with threads() as executor:
        first = run_sweep(sweep(repetitions=1), shards, output, executor=executor)
        second = run_sweep(sweep(), shards, output, executor=executor)
    assert (len(first.completed), len(second.completed), len(second.present)) == (2, 2, 2)
    assert {run.repetition for run in second.completed} == {2}
    assert query(output, "SELECT count(*) FROM simulations") == [(4,)]


def test_what_was_merged_is_not_run_again_though_its_shards_are_gone(tmp_path: Path) -> None:
    shards, output = tmp_path / "shards", tmp_path / "exp.db"
    with threads() as executor:
        run_sweep(sweep(repetitions=1), shards, output, executor=executor)
        for shard in shards.iterdir():
            shard.unlink()
        report = run_sweep(sweep(), shards, output, executor=executor)
    assert (len(report.completed), len(report.present)) == (2, 2)
    assert query(output, "SELECT count(*) FROM simulations") == [(4,)]


def test_a_sweep_whose_shards_are_gone_gives_the_same_simulations_again(tmp_path: Path) -> None:
    shards, output = tmp_path / "shards", tmp_path / "exp.db"
    with threads() as executor:
        run_sweep(sweep(), shards, output, executor=executor)
        query(output, "UPDATE simulation_config SET timestamp = 0")  # the clock has gone on
        report = run_sweep(sweep(), tmp_path / "again", tmp_path / "again.db", executor=executor)
    assert len(report.completed) == 4
    merged = merge_shards([tmp_path / "again"], output)
    assert merged.counts == {Action.ALREADY_MERGED: 4}


def test_simulations_of_other_parameters_in_the_output_stop_it(tmp_path: Path) -> None:
    output = tmp_path / "exp.db"
    with threads() as executor:
        run_sweep(sweep(), tmp_path / "a", output, executor=executor)
        other = sweep(steps=6)
        with pytest.raises(ConflictError, match=r"exp\.db: lr0\.1_r1: steps is 5, not 6"):
            run_sweep(other, tmp_path / "b", output, executor=executor)
        replaced = run_sweep(
            other, tmp_path / "b", output, executor=executor, on_conflict="replace"
        )
    assert len(replaced.completed) == 4
    assert query(output, "SELECT max(step_number) FROM simulation_steps") == [(5,)]


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"experiment_id": "other"}, "experiment_id is small, not other"),
        ({"simulation": "tests.sweep.models:slow"}, "simulation is tests.sweep.models:count"),
    ],
)
def test_runs_of_another_experiment_or_model_are_not_taken_for_those_of_the_sweep(
    tmp_path: Path, changes: dict[str, str], difference: str
) -> None:
    output = tmp_path / "exp.db"
    with threads() as executor:
        run_sweep(of_model("count"), tmp_path / "a", output, executor=executor)
        other = of_model("count", **changes)
        for shards in ("a", "b"):
            with pytest.raises(ConflictError, match=f"n1_r1: {difference}"):
                run_sweep(other, tmp_path / shards, output, executor=executor)


def test_what_is_there_is_kept_where_that_was_chosen(tmp_path: Path) -> None:
    output = tmp_path / "exp.db"
    with threads() as executor:
        run_sweep(sweep(), tmp_path / "a", output, executor=executor)
        report = run_sweep(
            sweep(steps=6), tmp_path / "b", output, executor=executor, on_conflict="skip"
        )
    assert len(report.completed) == 4
    assert report.merge.counts == {Action.SKIP: 4}
    assert query(output, "SELECT max(step_number) FROM simulation_steps") == [(4,)]


def test_a_design_that_changes_adds_runs_and_is_reported(tmp_path: Path) -> None:
    output = tmp_path / "exp.db"
    with threads() as executor:
        first = run_sweep(sweep(repetitions=1), tmp_path / "s", output, executor=executor)
        second = run_sweep(sweep(), tmp_path / "s", output, executor=executor)
        third = run_sweep(sweep(), tmp_path / "s", output, executor=executor)
    assert (first.notes, third.notes) == ((), ())
    assert second.notes == ("the design has changed since it was run last, in repetitions",)


def test_other_code_under_the_same_names_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "changing.toml"
    path.write_text('experiment_id = "a"\nsimulation = "changing_model:go"\ngrid.n = [1, 2]\n')
    model = tmp_path / "changing_model.py"
    model.write_text("def go(db, parameters, seed): pass\n")
    with threads() as executor:
        run_sweep(load_sweep(path), tmp_path / "s", tmp_path / "exp.db", executor=executor)
        model.write_text("def go(db, parameters, seed): return 1\n")
        report = run_sweep(load_sweep(path), tmp_path / "s", tmp_path / "exp.db", executor=executor)
    assert len(report.present) == 2
    assert [note.partition(" was ")[0] for note in report.notes] == [
        "2 runs that are there were simulated by other code: source"
    ]


def uninterrupted(tmp_path: Path, path: Path) -> dict[str, Any]:
    """Return the content of a sweep that nothing disturbed."""
    run_sweep(load_sweep(path), tmp_path / "whole", tmp_path / "whole.db", jobs=2)
    return content(tmp_path / "whole.db")


def test_a_sweep_that_is_stopped_again_and_again_is_finished_as_if_it_had_not_been(
    tmp_path: Path, interruptible: None
) -> None:
    path = tmp_path / "stopped.toml"
    path.write_text('experiment_id = "a"\nsteps = 30\nrepetitions = 6\ngrid.population = [6, 9]\n')
    shards, output = tmp_path / "shards", tmp_path / "exp.db"
    words = [sys.executable, "-m", "farm_merge", "sweep", path, "-o", output, "--shards", shards]
    for number, blow in ((2, signal.SIGINT), (5, signal.SIGKILL), (8, signal.SIGINT)):
        with subprocess.Popen([*map(str, words), "-j", "2"], start_new_session=True) as process:
            wait_until(lambda n=number: len(list(shards.glob("*.db"))) >= n)
            children = children_of(process.pid)
            process.send_signal(blow)
            assert process.wait() in {130, -signal.SIGKILL}
        wait_until(lambda them=children: not any(map(is_alive, them)))
    before = {shard: shard.stat().st_mtime_ns for shard in shards.glob("*.db")}
    finished = subprocess.run(words, check=True, capture_output=True, text=True)
    assert all(shard.stat().st_mtime_ns == when for shard, when in before.items())
    assert "12 merged" in finished.stdout or "already merged" in finished.stdout
    assert strip_clock(content(output)) == strip_clock(uninterrupted(tmp_path, path))
    assert hidden(shards) == []


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return list(map(int, text.split()))


def strip_clock(rows: dict[str, Any]) -> dict[str, Any]:
    """Return rows without those that carry a clock."""
    return {table: found for table, found in rows.items() if table != "simulation_config"}


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
