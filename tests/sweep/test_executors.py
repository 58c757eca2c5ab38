"""Executors: a run that fails, or kills its process, costs only itself."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest

from farm_merge.sweep import Run, run_sweep, summarize
from tests import processes
from tests.conftest import query
from tests.sweep.small import hidden, shard_rows, sweep, threads

if TYPE_CHECKING:
    from pathlib import Path


class Failing(ThreadPoolExecutor):
    """Fails the runs of one learning rate."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        run = next(argument for argument in args if isinstance(argument, Run))
        if run.parameters["learning_rate"] == 1.0:
            fn = partial(_fail, "no luck")
        return super().submit(fn, *args, **kwargs)


def _fail(reason: str, *_: object) -> None:
    raise RuntimeError(reason)


def test_a_failed_run_is_reported_and_the_others_are_merged(tmp_path: Path) -> None:
    output = tmp_path / "exp.db"
    with Failing(1) as executor:
        report = run_sweep(sweep(), tmp_path / "shards", output, executor=executor)
    assert [str(failure) for failure in report.failed] == [
        "lr1.0_r1: RuntimeError: no luck",
        "lr1.0_r2: RuntimeError: no luck",
    ]
    assert len(report.merge.simulations) == 2
    assert [row["runs"] for row in summarize(output, sweep())] == [2]


def test_a_sweep_without_any_result_has_a_record_of_every_failure(tmp_path: Path) -> None:
    only, output = sweep(grid={"learning_rate": [1.0]}), tmp_path / "out" / "exp.db"
    with Failing(1) as executor:
        report = run_sweep(only, tmp_path, output, executor=executor)
    assert (len(report.completed), len(report.failed), report.merge.rows) == (0, 2, 0)
    records = query(
        output, "SELECT status, results_summary ->> '$.failure.message' FROM simulations"
    )
    assert records == [("failed", "no luck")] * 2


def kill_when_begun(executor: ProcessPoolExecutor, temporary: Path) -> None:
    deadline = time.monotonic() + 30
    while not temporary.exists() and time.monotonic() < deadline:
        time.sleep(0.001)
    for process in list(executor._processes.values()):
        os.kill(process.pid, signal.SIGKILL)


def test_a_killed_worker_leaves_no_half_shard_and_the_sweep_reports_which(tmp_path: Path) -> None:
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
        report = run_sweep(killed, shards, tmp_path / "other.db", executor=pool)
        killer.join()
    assert [failure.exception for failure in report.failed] == ["BrokenProcessPool"]
    assert [path.name for path in shards.iterdir()] == ["lr0.1_r1.db"]
    with threads() as executor:
        report = run_sweep(short, shards, tmp_path / "again.db", executor=executor)
    assert [run.simulation_id for run in report.completed] == ["lr1.0_r1"]


class Forgetful(ThreadPoolExecutor):
    """Loses the results of runs that are done, or cancels those that are not."""

    def __init__(self, *, cancels: bool = False) -> None:
        super().__init__(1)
        self._cancels = cancels

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self._cancels:
            cancelled: Future[Any] = Future()
            cancelled.cancel()
            cancelled.set_running_or_notify_cancel()
            return cancelled

        def work() -> None:
            fn(*args, **kwargs)
            raise TypeError("cannot unpack non-iterable Ended object")

        return super().submit(work)


def test_a_run_whose_shard_is_there_has_completed_though_its_result_is_lost(tmp_path: Path) -> None:
    output = tmp_path / "exp.db"
    with Forgetful() as executor:
        report = run_sweep(sweep(), tmp_path / "shards", output, executor=executor)
    assert (len(report.completed), report.failed) == (4, ())
    assert query(output, "SELECT DISTINCT status FROM simulations") == [("completed",)]


def test_a_run_that_an_executor_cancels_has_failed(tmp_path: Path) -> None:
    with Forgetful(cancels=True) as executor:
        report = run_sweep(sweep(), tmp_path / "shards", tmp_path / "exp.db", executor=executor)
    assert {failure.exception for failure in report.failed} == {"CancelledError"}


def test_an_interrupt_cancels_what_has_not_begun(tmp_path: Path) -> None:
    def interrupt(done: int, *_: object) -> None:
        if done == 1:
            raise KeyboardInterrupt

    many = sweep(repetitions=30)
    with threads() as executor, pytest.raises(KeyboardInterrupt):
        run_sweep(many, tmp_path, tmp_path / "exp.db", executor=executor, progress=interrupt)
    assert len(list(tmp_path.glob("*.db"))) < 30
    assert hidden(tmp_path) == []


@processes.in_its_own
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
    assert shard_rows(shards) == shard_rows(tmp_path / "again")
