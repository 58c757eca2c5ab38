"""The summary of a sweep is that of its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm_merge.sweep import run_sweep, summarize
from tests.conftest import query
from tests.sweep.small import sweep, threads

if TYPE_CHECKING:
    from pathlib import Path


def test_the_summary_is_that_of_the_data(tmp_path: Path) -> None:
    output = tmp_path / "exp.db"
    with threads() as executor:
        run_sweep(sweep(), tmp_path / "shards", output, executor=executor)
    summary = summarize(output, sweep())
    assert [(row["learning_rate"], row["runs"]) for row in summary] == [(0.1, 2), (1.0, 2)]
    finals = query(
        output,
        "SELECT avg(total_agents) FROM simulation_steps WHERE step_number = 4"
        " AND simulation_id LIKE 'lr0.1%'",
    )
    assert summary[0]["final_population"] == finals[0][0]
    assert -1 < summary[0]["mean_reward"] < 1
