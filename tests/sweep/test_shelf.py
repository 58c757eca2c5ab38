"""One shard a worker: what comes out is what one shard a run gives, whatever happens meanwhile."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from farm_merge.digest import digest_simulations
from farm_merge.merge import merge_shards
from farm_merge.sqlite import connect, file_uri, sqlite3
from farm_merge.sweep import load_sweep, plan_sweep, run_sweep
from farm_merge.sweep import shelf as shelf_module
from farm_merge.sweep.shelf import Shelf, put_on_shelf
from tests.conftest import content, query, union
from tests.sweep.small import hidden, is_alive, of_model, sweep, threads, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    MakeShard = Callable[..., Path]


def digests(path: Path) -> dict[str, str]:
    return {it.simulation_id: it.digest for it in digest_simulations(path)}


def test_a_worker_has_one_shard_and_the_result_is_the_same(tmp_path: Path) -> None:
    by_worker = sweep(shards="worker", repetitions=5)
    report = run_sweep(by_worker, tmp_path / "s", tmp_path / "a.db", jobs=2)
    run_sweep(sweep(repetitions=5), tmp_path / "t", tmp_path / "b.db", jobs=2)
    shards = list((tmp_path / "s").iterdir())
    assert 1 <= len(shards) <= 2
    assert hidden(tmp_path / "s") == []
    assert len(report.merge.simulations) == len(report.completed) == 10
    assert digests(tmp_path / "a.db") == digests(tmp_path / "b.db")
    held = [name for shard in shards for name in digests(shard)]
    assert sorted(held) == sorted(digests(tmp_path / "b.db"))
    for shard in shards:
        assert query(shard, "SELECT DISTINCT simulation_db_path FROM simulations") == [
            (str(shard),)
        ]
        assert query(shard, "SELECT count(*) FROM merged_shards") == [(0,)]
    again = run_sweep(by_worker, tmp_path / "s", tmp_path / "a.db", jobs=2)
    assert (again.completed, len(again.present), again.notes) == ((), 10, ())
    merged = merge_shards([tmp_path / "s"], tmp_path / "afterwards.db")
    assert len(merged.simulations) == 10
    assert digests(tmp_path / "afterwards.db") == digests(tmp_path / "a.db")


def test_runs_of_either_kind_of_shard_are_not_run_again(tmp_path: Path) -> None:
    few, many = sweep(repetitions=1), sweep(shards="worker", repetitions=2)
    with threads() as executor:
        run_sweep(few, tmp_path / "s", tmp_path / "a.db", executor=executor)
        second = run_sweep(many, tmp_path / "s", tmp_path / "b.db", executor=executor)
        third = run_sweep(sweep(), tmp_path / "s", tmp_path / "c.db", executor=executor)
    assert (len(second.completed), len(second.present)) == (2, 2)
    assert (len(third.completed), len(third.present)) == (0, 4)
    assert digests(tmp_path / "b.db") == digests(tmp_path / "c.db")
    outlook = plan_sweep(sweep(repetitions=3), tmp_path / "s", tmp_path / "c.db")
    assert (len(outlook.due), outlook.judged) == (2, 4)


def done_in(folder: Path, mode: str = "ro") -> int:
    """Return how many runs are in the shards of workers, those that grow among them."""
    number = 0
    for path in (*folder.glob("*.db"), *folder.glob(".*.growing")):
        try:
            with closing(connect(file_uri(path, mode=mode), read_only=True)) as connection:
                ((found,),) = connection.execute("SELECT count(*) FROM simulations")
        except sqlite3.Error:  # it was taken over
            continue
        number += found
    return number


def test_a_sweep_that_is_stopped_again_and_again_is_finished_as_if_it_had_not_been(
    tmp_path: Path, interruptible: None
) -> None:
    path = tmp_path / "stopped.toml"
    text = 'experiment_id = "a"\nsteps = 30\nrepetitions = 6\ngrid.population = [6, 9]\n'
    path.write_text(text + 'shards = "worker"\n')
    shards, output = tmp_path / "shards", tmp_path / "exp.db"
    words = [sys.executable, "-m", "farm_merge", "sweep", path, "-o", output, "--shards", shards]
    for number, blow in ((2, signal.SIGINT), (5, signal.SIGINT), (8, signal.SIGKILL)):
        with subprocess.Popen([*map(str, words), "-j", "2"], start_new_session=True) as process:
            wait_until(lambda n=number: done_in(shards) >= n)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            process.send_signal(blow)
            assert process.wait() in {130, -signal.SIGKILL}
        wait_until(lambda them=children: not any(is_alive(int(pid)) for pid in them))
        assert blow == signal.SIGKILL or hidden(shards) == []
    shutil.copytree(shards, tmp_path / "copy")  # what was half written is rolled back there
    before = done_in(tmp_path / "copy", "rw")
    assert before >= 8
    subprocess.run(words, check=True, capture_output=True)
    path.write_text(text)
    run_sweep(load_sweep(path), tmp_path / "whole", tmp_path / "whole.db", jobs=2)
    assert digests(output) == digests(tmp_path / "whole.db")
    assert hidden(shards) == []
    assert done_in(shards) == 12


def test_a_worker_that_is_killed_leaves_whole_simulations_and_its_run_is_run_again(
    tmp_path: Path,
) -> None:
    marks = {"folder_of_marks": str(tmp_path)}
    grid = {"n": list(range(1, 9))}
    dying = of_model("die_once", grid=grid, config=marks, shards="worker", retries=1)
    report = run_sweep(dying, tmp_path / "s", tmp_path / "exp.db", jobs=1)
    assert (len(report.completed), report.failed) == (8, ())
    assert len(list((tmp_path / "s").iterdir())) == 2, "of the worker that died and its successor"
    steps = "SELECT simulation_id, count(*) FROM simulation_steps GROUP BY 1 ORDER BY 1"
    assert query(tmp_path / "exp.db", steps) == [(f"n{n}_r1", n) for n in range(1, 9)]


@pytest.mark.parametrize("keep", [False, True])
def test_failures_are_recorded_as_ever(tmp_path: Path, keep: bool) -> None:
    output, failing = tmp_path / "exp.db", of_model("fail", shards="worker")
    report = run_sweep(failing, tmp_path / "s", output, jobs=1, keep_partial=keep)
    assert [str(failure) for failure in report.failed] == ["n2_r1: ValueError: two is too many"]
    status = "SELECT simulation_id, status FROM simulations ORDER BY 1"
    assert query(output, status) == [
        ("n1_r1", "completed"),
        ("n2_r1", "failed"),
        ("n3_r1", "completed"),
    ]
    rows = query(output, "SELECT count(*) FROM simulation_steps WHERE simulation_id = 'n2_r1'")
    assert rows == [(2 if keep else 0,)]
    assert hidden(tmp_path / "s") == []


def test_shards_that_are_old_are_merged_while_runs_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf_module, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(shelf_module, "_PART", 1e9)
    monkeypatch.setattr(shelf_module, "_LOOK_SECONDS", 0.0)
    output = tmp_path / "exp.db"

    def wait_for_the_first(done: int, *_: Any) -> None:
        if done == 3:
            wait_until(output.exists)

    with threads() as executor:
        report = run_sweep(
            sweep(shards="worker"),
            tmp_path / "s",
            output,
            executor=executor,
            progress=wait_for_the_first,
        )
        run_sweep(sweep(), tmp_path / "t", tmp_path / "b.db", executor=executor)
    assert len(report.merge.simulations) == 4
    assert len(list((tmp_path / "s").glob("worker-*.db"))) > 1
    assert digests(output) == digests(tmp_path / "b.db")


def test_a_run_that_was_done_twice_is_kept_once(tmp_path: Path, make_shard: MakeShard) -> None:
    a, b, other = make_shard("a"), make_shard("b"), make_shard("a", file="other.db", shift=1.0)
    folder = tmp_path / "folder"
    folder.mkdir()
    put_on_shelf(a, folder)
    shelf = Shelf(folder)
    (first,) = shelf.take_over()
    put_on_shelf(b, folder)
    put_on_shelf(other, folder)
    (second,) = shelf.take_over()
    assert content(first) == content(a)
    assert content(second) == content(b)
    assert list(shelf.take_over()) == []
    put_on_shelf(other, folder)
    assert list(shelf.take_over()) == []
    merge_shards([folder], tmp_path / "exp.db")
    assert content(tmp_path / "exp.db") == union(a, b)
    assert hidden(folder) == []
