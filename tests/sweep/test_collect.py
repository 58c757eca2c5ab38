"""Shards are merged while other runs go on, and the result is that of a merge afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm_merge.errors import OutputError
from farm_merge.merge import merge_shards
from farm_merge.sweep import run_sweep
from tests.conftest import content, query, union
from tests.sweep.small import of_model, sweep, threads, wait_until

if TYPE_CHECKING:
    from pathlib import Path


def test_shards_are_merged_while_other_runs_go_on(tmp_path: Path) -> None:
    output = tmp_path / "exp.db"

    def look(done: int, failed: int, total: int, _: object) -> None:
        if done + failed == total - 1:  # and the last is not handed over before this returns
            wait_until(lambda: output.exists() and merged() == total - 1)

    def merged() -> int:
        return query(output, "SELECT count(*) FROM simulations")[0][0]

    design = of_model("fail", grid={"n": [1, 2, 3, 4]})
    with threads() as executor:
        run_sweep(design, tmp_path / "s", output, executor=executor, progress=look)
    assert merged() == 4


def test_the_result_is_that_of_a_merge_afterwards(tmp_path: Path) -> None:
    shards, output = tmp_path / "shards", tmp_path / "exp.db"
    report = run_sweep(sweep(repetitions=6), shards, output, jobs=2)
    merge_shards([shards], tmp_path / "afterwards.db", experiment_id="small")
    assert content(output) == content(tmp_path / "afterwards.db") == union(*shards.glob("*.db"))
    assert len(report.merge.simulations) == 12
    assert report.merge.rows == sum(map(len, content(output).values()))
    assert query(output, "SELECT count(*) FROM merged_shards") == [(12,)]


def test_a_merge_that_is_not_possible_costs_no_run_and_is_reported_at_the_end(
    tmp_path: Path,
) -> None:
    output = tmp_path / "exp.db"

    def litter(done: int, *_: object) -> None:
        if done == 0:
            output.write_bytes(b"something else, and long enough to be looked at")

    with threads() as executor, pytest.raises(OutputError, match=r"exp\.db"):
        run_sweep(sweep(), tmp_path / "s", output, executor=executor, progress=litter)
    assert len(list((tmp_path / "s").glob("*.db"))) == 4
    output.unlink()
    assert len(run_sweep(sweep(), tmp_path / "s", output, jobs=1).present) == 4
    assert query(output, "SELECT count(*) FROM simulations") == [(4,)]
