"""Children: a run that is killed or takes too long costs itself, whatever spreads the runs."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

import pytest

from farm_merge.sweep import engine, load_sweep, run_sweep
from tests.conftest import query
from tests.sweep.small import hidden, is_alive, of_model, threads, wait_until

if TYPE_CHECKING:
    from pathlib import Path


class Foreign(Executor):
    """An executor that is none of Python's own, as those of Dask and MPI are."""

    def __init__(self) -> None:
        self._threads = threads()

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._threads.submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._threads.shutdown(wait, cancel_futures=cancel_futures)


def test_a_run_that_kills_its_process_costs_itself_in_an_executor_of_any_kind(
    tmp_path: Path,
) -> None:
    with Foreign() as executor:
        report = run_sweep(of_model("die"), tmp_path / "s", tmp_path / "a.db", executor=executor)
    assert [failure.exception for failure in report.failed] == ["Killed"]
    assert [run.parameters["n"] for run in report.completed] == [1, 3]


@pytest.mark.parametrize("foreign", [False, True])
def test_a_run_of_a_thread_that_takes_too_long_is_ended_with_all_that_it_started(
    tmp_path: Path,
    foreign: bool,
) -> None:
    pid_file = tmp_path / "pid"
    hanging = of_model("hang", config={"pid_file": str(pid_file)})
    with Foreign() if foreign else threads() as executor:
        report = run_sweep(
            hanging, tmp_path / "s", tmp_path / "exp.db", executor=executor, timeout=3
        )
    assert [failure.exception for failure in report.failed] == ["TimeoutError"]
    assert not is_alive(int(pid_file.read_text()))
    assert len(report.completed) == 2


HANG = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid}")
time.sleep(3600)
"""


def hanging_command(tmp_path: Path, **changes: Any) -> Path:
    (tmp_path / "hang.py").write_text(HANG)
    path = tmp_path / "hang.toml"
    path.write_text(
        f"experiment_id = 'hang'\ncommand = '{sys.executable} hang.py {{pid_file}} {{shard}}'\n"
        f"config.pid_file = '{tmp_path / 'pids'}'\ngrid.n = [1]\n"
    )
    return path


def pids(tmp_path: Path) -> list[int]:
    file = tmp_path / "pids"
    return [int(pid) for pid in file.read_text().split()] if file.exists() else []


@pytest.mark.parametrize("engine_name", ["processes", "threads"])
def test_a_program_that_takes_too_long_is_ended_with_all_that_it_started(
    tmp_path: Path, engine_name: Any
) -> None:
    design = load_sweep(hanging_command(tmp_path))
    with engine(engine_name, jobs=1) as executor:
        report = run_sweep(
            design, tmp_path / "s", tmp_path / "exp.db", executor=executor, timeout=3, jobs=1
        )
    assert [failure.exception for failure in report.failed] == ["TimeoutError"]
    assert len(pids(tmp_path)) == 2
    wait_until(lambda: not any(map(is_alive, pids(tmp_path))))
    assert hidden(tmp_path / "s") == []


@pytest.mark.parametrize("engine_name", ["processes", "threads"])
def test_an_interrupt_ends_programs_and_what_they_started(
    tmp_path: Path, interruptible: None, engine_name: str
) -> None:
    words = [sys.executable, "-m", "farm_merge", "sweep", hanging_command(tmp_path), "-j", "1"]
    words += ["-o", tmp_path / "a.db", "--shards", tmp_path / "s", "--executor", engine_name]
    with subprocess.Popen([*map(str, words)], start_new_session=True) as process:
        wait_until(lambda: len(pids(tmp_path)) == 2)
        process.send_signal(2)
        assert process.wait() == 130
    wait_until(lambda: not any(map(is_alive, pids(tmp_path))))


def test_a_child_of_another_sweep_is_not_used_again(tmp_path: Path) -> None:
    with Foreign() as executor:
        for name in ("a", "b"):
            one = of_model("count", experiment_id=name)
            run_sweep(one, tmp_path / name, tmp_path / f"{name}.db", executor=executor)
        workers = [query(tmp_path / f"{name}.db", WORKERS)[0] for name in ("a", "b")]
    assert workers[0] != workers[1]
    assert [number for number, _ in workers] == [1, 1], "of one sweep, one child did all"


WORKERS = "SELECT count(DISTINCT w), max(w) FROM (SELECT results_summary ->> '$.run.worker' AS w FROM simulations)"
