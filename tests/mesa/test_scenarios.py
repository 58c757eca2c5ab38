"""Workers of Mesa 4's `run_scenarios` can write shards: the protocol of its main branch, imitated.

A worker gets a run and a picklable writer, and returns a reference; the root knows the scenarios.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from farm_merge import describe_simulations
from farm_merge.merge import audit, merge_shards
from farm_merge.mesa import ShardWriter
from farm_merge.read.compare import compare_simulations
from farm_merge.read.open import frame
from tests.conftest import query

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class RunId:
    scenario_id: int
    replication_id: int


@dataclass(frozen=True)
class Reference:
    run_id: RunId
    payload: Any


@dataclass(frozen=True)
class Writer:
    """What `Store.writer()` returns: it is sent with every run."""

    shards: ShardWriter

    def to_reference(self, run_id: RunId, outcome: dict[str, pd.DataFrame]) -> Reference:
        simulation_id = f"s{run_id.scenario_id}_r{run_id.replication_id}"
        with self.shards.simulation(simulation_id) as database:
            for table, rows in outcome.items():
                columns = {name: rows[name].tolist() for name in rows}
                database.logger.log_columns(table, columns)
        return Reference(run_id, simulation_id)


def run(run_id: RunId, growth: float, writer: Writer) -> Reference:
    """Run a scenario, as Mesa's workers do."""
    if run_id == RunId(2, 1):
        raise ArithmeticError("diverged")
    time = np.arange(4)
    outcome = pd.DataFrame({"time": time, "population": 10 * growth**time + run_id.replication_id})
    return writer.to_reference(run_id, {"outcomes": outcome, "ends": outcome.tail(1)})


def test_each_worker_writes_one_shard_of_many_simulations(tmp_path: Path) -> None:
    writer = Writer(ShardWriter(tmp_path / "shards", "sweep"))
    scenarios = {
        RunId(scenario, replication): {"growth": 1 + scenario / 10}
        for scenario in range(5)
        for replication in range(2)
    }
    succeeded, failed = {}, {}
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as executor:
        futures = {
            executor.submit(run, run_id, found["growth"], writer): run_id
            for run_id, found in scenarios.items()
        }
        for future in as_completed(futures):
            if future.exception():
                failed[futures[future]] = future.exception()
            else:
                succeeded[futures[future]] = future.result()
    assert set(failed) == {RunId(2, 1)}
    shards = sorted((tmp_path / "shards").glob("*.db"))
    assert 1 <= len(shards) <= 2
    assert all(len(shard.stem) == 32 for shard in shards)
    merge_shards([tmp_path / "shards"], tmp_path / "exp.db")
    assert audit(tmp_path / "exp.db", shards).problems == ()
    described = {ref.payload: scenarios[run_id] for run_id, ref in succeeded.items()}
    assert describe_simulations(tmp_path / "exp.db", described) == 0
    compared = compare_simulations(tmp_path / "exp.db")
    assert len(compared) == 9
    assert compared.loc["s4_r1", "parameters.growth"] == 1.4
    assert compared.loc["s4_r1", "final_outcomes.population"] == 10 * 1.4**3 + 1
    outcomes = frame(tmp_path / "exp.db", "outcomes", "s0_r1")
    assert outcomes["population"].tolist() == [11.0] * 4
    assert query(tmp_path / "exp.db", "SELECT DISTINCT experiment_id FROM simulations") == [
        ("sweep",)
    ]


def test_a_run_that_raises_while_it_is_written_is_not_taken_for_complete(tmp_path: Path) -> None:
    writer = ShardWriter(tmp_path)
    with pytest.raises(ZeroDivisionError), writer.simulation("a") as database:
        database.logger.log("outcomes", time=1 / 0)
    with writer.simulation("b") as database:
        database.logger.log("outcomes", time=0)
    (shard,) = tmp_path.glob("*.db")
    statuses = "SELECT simulation_id, status FROM simulations ORDER BY 1"
    assert query(shard, statuses) == [("a", "failed"), ("b", "completed")]
