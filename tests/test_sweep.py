"""Sweeps: the design, the runs, and what is left when one of them dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from importlib.resources import files
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import pytest

from farm_merge.errors import ConflictError, FarmMergeError
from farm_merge.schema import DATA_TABLES
from farm_merge.sqlite import sqlite3
from farm_merge.sweep import Run, Sweep, load_sweep, run_sweep, summarize

DEFAULT = Path(str(files("farm_merge").joinpath("default_sweep.toml")))


def sweep(**changes: Any) -> Sweep:
    small = {
        "experiment_id": "small",
        "name": "A small sweep",
        "steps": 5,
        "repetitions": 2,
        "seed": 1,
        "grid": {"learning_rate": [0.1, 1.0]},
        "config": {"population": 6},
    }
    return Sweep.model_validate(small | changes)


def threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1)


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def content(folder: Path) -> dict[tuple[str, str], list[tuple[Any, ...]]]:
    tables = [table for table in DATA_TABLES if table != "simulation_config"]
    return {
        (path.name, table): rows(path, f"SELECT * FROM {table}")
        for path in sorted(folder.glob("*.db"))
        for table in tables
    }


def hidden(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.suffix != ".db"]


# ---- The design ----


def test_the_shipped_sweep_is_that_of_the_guide() -> None:
    runs = load_sweep(DEFAULT).runs()
    assert len(runs) == len({run.simulation_id for run in runs}) == 24
    assert len({run.seed for run in runs}) == 24
    assert runs[0].simulation_id == "lr0.01_pop10_r1"
    assert {run.parameters["population"] for run in runs} == {10, 50, 100}
    assert {run.parameters["learning_rate"] for run in runs} == {0.01, 0.1, 0.5, 1.0}


def test_a_grid_that_grows_keeps_the_runs_it_has() -> None:
    before = sweep().runs()
    after = sweep(grid={"learning_rate": [0.01, 0.1, 1.0]}, repetitions=3).runs()
    assert set(map(repr, before)) < set(map(repr, after))


def test_another_root_seed_gives_other_seeds() -> None:
    assert not {r.seed for r in sweep().runs()} & {r.seed for r in sweep(seed=2).runs()}


def test_names_with_the_same_initials_are_spelled_out() -> None:
    grid = {"share_amount": [1.0], "system_agents": [2], "resources": [3]}
    run = sweep(grid=grid, config={}).runs()[0]
    assert run.simulation_id == "share_amount1.0_system_agents2_res3_r1"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"color": "red"}, "color"),
        ({"steps": 0}, "steps"),
        ({"steps": "5"}, "steps"),
        ({"grid": {"lerning_rate": [0.1]}}, "lerning_rate"),
        ({"grid": {"learning_rate": [-1.0]}}, "learning_rate"),
        ({"grid": {"learning_rate": []}}, "learning_rate"),
        ({"grid": {"learning_rate": [0.1, 0.1]}}, "twice"),
        ({"grid": {"population": [1]}}, "leave one"),
        ({"grid": {"seed": [1, 2]}}, "root `seed`"),
    ],
)
def test_what_cannot_be_run_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        sweep(**changes)


@pytest.mark.parametrize(
    "text", ["steps = ", "steps = 1", 'experiment_id = "a"\nsteps = 1\nx = 1', "\xff"]
)
def test_a_file_that_is_no_sweep_is_told_by_its_path(tmp_path: Path, text: str) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(FarmMergeError, match=r"my\.toml: "):
        load_sweep(path)


# ---- The runs ----


def test_results_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    for workers in (1, 2):
        shards = tmp_path / str(workers)
        report = run_sweep(sweep(), shards, tmp_path / f"{workers}.db", workers=workers)
        assert len(report.completed) == 4
        assert hidden(shards) == []
    assert content(tmp_path / "1") == content(tmp_path / "2")


def test_a_sweep_ends_in_one_experiment(tmp_path: Path) -> None:
    output = tmp_path / "exp.db"
    told: list[tuple[int, int, int]] = []
    with threads() as executor:
        run_sweep(
            sweep(),
            tmp_path / "shards",
            output,
            executor=executor,
            progress=lambda done, failed, total, _: told.append((done, failed, total)),
        )
    assert told == [(done, 0, 4) for done in range(5)]
    assert rows(output, "SELECT experiment_id, name FROM experiments") == [
        ("small", "A small sweep")
    ]
    stored = rows(
        output,
        "SELECT simulation_id, seed, status, parameters ->> '$.learning_rate',"
        " parameters ->> '$.steps' FROM simulations WHERE experiment_id = 'small' ORDER BY 1",
    )
    assert stored == [
        (run.simulation_id, run.seed, "completed", run.parameters["learning_rate"], 5)
        for run in sweep().runs()
    ]


def test_the_summary_is_that_of_the_data(tmp_path: Path) -> None:
    output = tmp_path / "exp.db"
    with threads() as executor:
        run_sweep(sweep(), tmp_path / "shards", output, executor=executor)
    summary = summarize(output, sweep())
    assert [(row["learning_rate"], row["n"]) for row in summary] == [(0.1, 2), (1.0, 2)]
    finals = rows(
        output,
        "SELECT avg(total_agents) FROM simulation_steps WHERE step_number = 4"
        " AND simulation_id LIKE 'lr0.1%'",
    )
    assert summary[0]["final_population"] == finals[0][0]
    assert -1 < summary[0]["mean_reward"] < 1


def test_runs_that_are_there_are_not_run_again(tmp_path: Path) -> None:
    shards, output = tmp_path / "shards", tmp_path / "exp.db"
    with threads() as executor:
        first = run_sweep(sweep(repetitions=1), shards, output, executor=executor)
        second = run_sweep(sweep(), shards, output, executor=executor)
    assert (len(first.completed), len(second.completed), len(second.present)) == (2, 2, 2)
    assert {run.repetition for run in second.completed} == {2}
    assert rows(output, "SELECT count(*) FROM simulations") == [(4,)]


def test_a_sweep_whose_shards_are_gone_gives_the_same_simulations_again(tmp_path: Path) -> None:
    shards, output = tmp_path / "shards", tmp_path / "exp.db"
    with threads() as executor:
        run_sweep(sweep(), shards, output, executor=executor)
        for shard in shards.iterdir():
            shard.unlink()
        time.sleep(1.1)  # the clock that save_configuration stores counts whole seconds
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


# ---- What dies ----


class Failing(ThreadPoolExecutor):
    """Fails the runs of one learning rate."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        run = next(each for each in args if isinstance(each, Run))
        if run.parameters["learning_rate"] == 1.0:
            fn = partial(_fail, "no luck")
        return super().submit(fn, *args, **kwargs)


def _fail(reason: str, *_: object) -> None:
    raise RuntimeError(reason)


def test_a_failed_run_is_told_and_the_others_are_merged(tmp_path: Path) -> None:
    output = tmp_path / "exp.db"
    with Failing(1) as executor:
        report = run_sweep(sweep(), tmp_path / "shards", output, executor=executor)
    assert [str(each) for each in report.failed] == [
        "lr1.0_r1: RuntimeError: no luck",
        "lr1.0_r2: RuntimeError: no luck",
    ]
    assert len(report.merge.simulations) == 2
    assert [row["n"] for row in summarize(output, sweep())] == [2]


def test_a_sweep_without_any_result_says_why(tmp_path: Path) -> None:
    only = sweep(grid={"learning_rate": [1.0]})
    with Failing(1) as executor, pytest.raises(FarmMergeError, match=r"lr1\.0_r1: .*no luck"):
        run_sweep(only, tmp_path, tmp_path / "exp.db", executor=executor)


def kill_when_begun(executor: ProcessPoolExecutor, temporary: Path) -> None:
    deadline = time.monotonic() + 30
    while not temporary.exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    for process in list(executor._processes.values()):
        os.kill(process.pid, signal.SIGKILL)


def test_a_killed_worker_leaves_no_half_shard_and_the_sweep_says_which(tmp_path: Path) -> None:
    shards, output = tmp_path / "shards", tmp_path / "exp.db"
    short, long = sweep(repetitions=1), sweep(repetitions=1, steps=100_000)
    with threads() as executor:
        run_sweep(short, shards, output, executor=executor)
    (shards / "lr1.0_r1.db").unlink()
    killed = long.model_copy(update={"grid": {"learning_rate": [1.0]}})
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        arguments = (pool, shards / ".lr1.0_r1.running")
        killer = threading.Thread(target=kill_when_begun, args=arguments)
        killer.start()
        with pytest.raises(FarmMergeError, match=r"lr1\.0_r1: BrokenProcessPool"):
            run_sweep(killed, shards, tmp_path / "other.db", executor=pool)
        killer.join()
    assert [path.name for path in shards.iterdir()] == ["lr0.1_r1.db"]
    with threads() as executor:
        report = run_sweep(short, shards, tmp_path / "again.db", executor=executor)
    assert [run.simulation_id for run in report.completed] == ["lr1.0_r1"]


def kill_while(begun: Path, over: threading.Event) -> None:
    """Kill the processes of this one whenever a run has begun."""
    while not over.wait(0.001):
        if begun.exists():
            for process in active_children():
                process.kill()
            while begun.exists() and not over.is_set():
                time.sleep(0.001)


def test_a_run_that_kills_its_process_costs_only_itself(tmp_path: Path) -> None:
    shards, output = tmp_path / "shards", tmp_path / "exp.db"
    over = threading.Event()
    killer = threading.Thread(target=kill_while, args=(shards / ".lr1.0_r1.running", over))
    killer.start()
    try:
        deadly = sweep(repetitions=1, steps=1000)
        report = run_sweep(deadly, shards, output, workers=2)
    finally:
        over.set()
        killer.join()
    assert [each.run.simulation_id for each in report.failed] == ["lr1.0_r1"]
    assert [run.simulation_id for run in report.completed] == ["lr0.1_r1"]
    assert [path.name for path in shards.iterdir()] == ["lr0.1_r1.db"]


def test_two_sweeps_do_not_write_to_one_folder_at_once(tmp_path: Path) -> None:
    def again(*_: object) -> None:
        with pytest.raises(ConflictError, match="another sweep"):
            run_sweep(sweep(), tmp_path, tmp_path / "out" / "b.db")

    with threads() as executor:
        run_sweep(sweep(), tmp_path, tmp_path / "out" / "a.db", executor=executor, progress=again)


def test_a_shard_knows_its_own_path(tmp_path: Path) -> None:
    with threads() as executor:
        run_sweep(sweep(), tmp_path, tmp_path / "out" / "exp.db", executor=executor)
    for path in tmp_path.glob("*.db"):
        assert rows(path, "SELECT simulation_db_path FROM simulations") == [(str(path),)]


def test_what_a_killed_run_left_does_not_disturb(tmp_path: Path) -> None:
    for name in (".lr0.1_r1.running", ".lr0.1_r1.running-wal", ".lr0.1_r1.running-journal"):
        (tmp_path / name).write_bytes(b"half of something")
    with threads() as executor:
        report = run_sweep(sweep(), tmp_path, tmp_path / "out" / "exp.db", executor=executor)
    assert len(report.completed) == 4
    assert hidden(tmp_path) == ["out"]


def test_an_interrupt_cancels_what_has_not_begun(tmp_path: Path) -> None:
    def interrupt(done: int, *_: object) -> None:
        if done == 1:
            raise KeyboardInterrupt

    many = sweep(repetitions=30)
    with threads() as executor, pytest.raises(KeyboardInterrupt):
        run_sweep(many, tmp_path, tmp_path / "exp.db", executor=executor, progress=interrupt)
    assert len(list(tmp_path.glob("*.db"))) < 30
    assert hidden(tmp_path) == []


@pytest.mark.filterwarnings("ignore")
def test_dask_runs_a_sweep(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.Client(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None
        ) as client,
        client.get_executor(pure=False) as executor,
    ):
        assert isinstance(executor, Executor)
        shards = tmp_path / "shards"
        report = run_sweep(sweep(), shards, tmp_path / "exp.db", executor=executor)
    assert len(report.completed) == 4
    with threads() as executor:
        run_sweep(sweep(), tmp_path / "again", tmp_path / "again.db", executor=executor)
    assert content(shards) == content(tmp_path / "again")
