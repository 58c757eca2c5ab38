"""A whole sweep: in parallel, into one experiment, whatever the workers."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from farm_merge.errors import ConflictError, InvalidOptionError
from farm_merge.sweep import run_sweep
from tests.conftest import query
from tests.sweep.small import hidden, shard_rows, sweep, threads

if TYPE_CHECKING:
    from pathlib import Path


def test_results_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    for workers in (1, 2):
        shards = tmp_path / str(workers)
        report = run_sweep(sweep(), shards, tmp_path / f"{workers}.db", jobs=workers)
        assert len(report.completed) == 4
        assert hidden(shards) == []
    assert shard_rows(tmp_path / "1") == shard_rows(tmp_path / "2")


def test_a_sweep_ends_in_one_experiment(tmp_path: Path) -> None:
    output = tmp_path / "exp.db"
    seen: list[tuple[int, int, int]] = []
    with threads() as executor:
        run_sweep(
            sweep(),
            tmp_path / "shards",
            output,
            executor=executor,
            progress=lambda done, failed, total, _: seen.append((done, failed, total)),
        )
    assert seen == [(done, 0, 4) for done in range(5)]
    assert query(output, "SELECT experiment_id, name FROM experiments") == [
        ("small", "A small sweep")
    ]
    stored = query(
        output,
        "SELECT simulation_id, seed, status, parameters ->> '$.learning_rate',"
        " parameters ->> '$.steps' FROM simulations WHERE experiment_id = 'small' ORDER BY 1",
    )
    assert stored == [
        (run.simulation_id, run.seed, "completed", run.parameters["learning_rate"], 5)
        for run in sweep().runs()
    ]


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
        assert query(path, "SELECT simulation_db_path FROM simulations") == [(str(path),)]


@pytest.mark.parametrize("option", [{"on_conflict": "relpace"}, {"jobs": 0}])
def test_an_option_that_cannot_be_meant_stops_it_before_anything_is_run(
    tmp_path: Path, option: dict[str, Any]
) -> None:
    with pytest.raises(InvalidOptionError, match=next(iter(option))):
        run_sweep(sweep(), tmp_path / "shards", tmp_path / "exp.db", **option)
    assert list(tmp_path.iterdir()) == []


def test_a_worker_does_not_load_what_it_does_not_need() -> None:
    code = (
        "import sys, farm_merge.sweep.shards\n"
        "print(sorted({'pandas', 'sqlalchemy', 'sqlite_utils', 'tqdm'} & set(sys.modules)))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
