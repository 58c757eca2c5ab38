"""Engines: Dask's processes, one of which is killed in mid-run, and those of MPI."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from farm_merge.errors import FarmMergeError, InvalidOptionError
from farm_merge.sweep import engine, run_sweep
from tests import processes
from tests.conftest import content, query
from tests.sweep.small import hidden, is_alive, of_model, sweep


def test_threads_and_processes_give_the_same(tmp_path: Path) -> None:
    for name in ("processes", "threads"):
        with engine(name, jobs=2) as executor:
            run_sweep(
                of_model("count"), tmp_path / name, tmp_path / f"{name}.db", executor=executor
            )
    assert content(tmp_path / "processes.db") == content(tmp_path / "threads.db")


@pytest.mark.parametrize("wrong", [{"name": "slurm"}, {"name": "threads", "scheduler": "tcp://x"}])
def test_an_engine_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError), engine(**wrong):
        pass


@processes.in_its_own
def test_a_dask_worker_that_is_killed_costs_only_its_run_which_is_run_again(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    shards, output = tmp_path / "shards", tmp_path / "exp.db"
    marks = {"folder_of_marks": str(tmp_path)}
    design = of_model("kill_worker_once", grid={"n": list(range(1, 9))}, config=marks)
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster, cluster.get_client() as client, client.get_executor(pure=False) as executor:
        before = set(client.run(os.getpid).values())
        report = run_sweep(design, shards, output, executor=executor)
        client.wait_for_workers(2)
        late = of_model("hang", config={"pid_file": str(tmp_path / "pid")}, experiment_id="late")
        ended = run_sweep(
            late, tmp_path / "late", tmp_path / "late.db", executor=executor, timeout=5
        )
        after = set(client.run(os.getpid).values())
    assert len(before - after) == 1, "a worker was killed"
    assert (len(report.completed), report.failed) == (8, ())
    rows = "SELECT simulation_id, count(*) FROM simulation_steps GROUP BY 1 ORDER BY 1"
    assert query(output, rows) == [(f"n{n}_r1", n) for n in range(1, 9)]
    assert hidden(shards) == []
    assert [failure.exception for failure in ended.failed] == ["TimeoutError"]
    assert not is_alive(int((tmp_path / "pid").read_text()))


@processes.in_its_own
def test_a_scheduler_that_is_not_there_is_named() -> None:
    distributed = pytest.importorskip("distributed")
    import dask

    with (
        dask.config.set({"distributed.comm.timeouts.connect": "0.2s"}),
        pytest.raises(FarmMergeError, match=r"tcp://127\.0\.0\.1:9 does not answer"),
        engine("dask", scheduler="tcp://127.0.0.1:9"),
    ):
        raise AssertionError(distributed)


def mpiexec() -> str:
    """Return the program that starts MPI's processes: that of the wheel, or any."""
    beside = Path(sys.executable).with_name("mpiexec")
    found = str(beside) if beside.exists() else shutil.which("mpiexec")
    return found or pytest.skip("there is no MPI: neither a wheel of Open MPI nor another")


ON_LOOPBACK = {
    "OMPI_MCA_btl": "self,tcp",
    "OMPI_MCA_btl_tcp_if_include": "127.0.0.0/8",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}


def test_mpi_processes_run_a_sweep(tmp_path: Path) -> None:
    pytest.importorskip("mpi4py")
    path, output = tmp_path / "a.toml", tmp_path / "exp.db"
    path.write_text('experiment_id = "a"\nsteps = 5\nrepetitions = 2\ngrid.population = [6, 9]\n')
    words = [mpiexec(), "-n", "2", sys.executable]
    words += ["-m", "mpi4py.futures", "-m", "farm_merge", "sweep", str(path), "-o", str(output)]
    words += ["--shards", str(tmp_path / "shards"), "--executor", "mpi"]
    result = subprocess.run(
        words, check=False, capture_output=True, text=True, env={**os.environ, **ON_LOOPBACK}
    )
    assert result.returncode == 0, result.stderr
    assert "4 merged" in result.stdout
    run_sweep(
        sweep(experiment_id="a", grid={"population": [6, 9]}, config={}, seed=0),
        tmp_path / "again",
        tmp_path / "again.db",
        jobs=1,
    )
    tables = "SELECT * FROM agent_states ORDER BY simulation_id, step_number, agent_id"
    assert query(output, tables) == query(tmp_path / "again.db", tables)
    workers = query(output, "SELECT DISTINCT results_summary ->> '$.run.worker' FROM simulations")
    assert len(workers) == 1
