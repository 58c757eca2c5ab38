"""Engines: what spreads runs, by the name that it has on the command line."""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, get_args

from farm_merge.errors import FarmMergeError, InvalidOptionError, require_choice
from farm_merge.extras import missing_extra

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Engine", "engine"]

Engine = Literal["processes", "threads", "dask", "mpi"]


@contextmanager
def engine(
    name: Engine, *, jobs: int | None = None, scheduler: str | None = None
) -> Iterator[Executor | None]:
    """Yield an executor for `run_sweep`; None for processes of the sweep's own.

    Args:
        name: "processes", "threads" of this process, "dask" for a cluster of Dask (a new one on
            this machine without `scheduler`), "mpi" for the processes of MPI, started as
            `mpiexec -n 9 python -m mpi4py.futures -m farm_merge sweep …`.
        jobs: How many threads, or processes of a new Dask cluster; one a core by default.
        scheduler: The address of Dask's scheduler.

    Raises:
        InvalidOptionError: If there is no such engine, or it has no scheduler.
        FarmMergeError: If it is not installed.
    """
    require_choice("engine", name, get_args(Engine))
    if scheduler is not None and name != "dask":
        raise InvalidOptionError(f"scheduler is for dask; {name} has none")
    if name == "processes":
        yield None
        return
    made = {"threads": _threads, "dask": _dask, "mpi": _mpi}[name]
    with made(jobs, scheduler) as executor:
        yield executor


@contextmanager
def _threads(jobs: int | None, _: str | None) -> Iterator[Executor]:
    with ThreadPoolExecutor(jobs) as executor:
        yield executor


@contextmanager
def _dask(jobs: int | None, scheduler: str | None) -> Iterator[Executor]:
    try:
        distributed: Any = import_module("distributed")  # it has no types of its own
    except ModuleNotFoundError as exc:
        raise missing_extra("dask is not installed", "dask") from exc
    if scheduler is not None:
        try:
            with (
                distributed.Client(scheduler) as client,
                client.get_executor(pure=False) as executor,
            ):
                yield executor
        except OSError as exc:
            raise FarmMergeError(f"Dask's scheduler {scheduler} does not answer ({exc})") from exc
        return
    cluster = distributed.LocalCluster(n_workers=jobs, threads_per_worker=1, dashboard_address=":0")
    with cluster, cluster.get_client() as client, client.get_executor(pure=False) as executor:
        yield executor


@contextmanager
def _mpi(jobs: int | None, _: str | None) -> Iterator[Executor]:
    try:
        from mpi4py.futures import MPIPoolExecutor
    except (ImportError, RuntimeError) as exc:
        raise missing_extra(f"MPI cannot be used ({exc}); it needs one", "mpi") from exc
    with MPIPoolExecutor(jobs) as executor:
        yield executor
