"""A small sweep, one run of which failed."""

from __future__ import annotations

import pytest

from farm_merge.sweep import Sweep, run_sweep
from tests.conftest import query
from tests.read.conftest import four_runs

__all__ = ["experiment", "four_runs"]


@pytest.fixture(scope="session")
def experiment(tmp_path_factory):
    """A small sweep, one run of which failed, with a name that a page must not take for markup."""
    folder = tmp_path_factory.mktemp("report")
    sweep = Sweep(
        experiment_id="small",
        name="small </script><b>sweep</b>",
        repetitions=5,
        seed=1,
        steps=20,
        grid={"learning_rate": [0.1, 1.0], "population": [10, 30]},
    )
    run_sweep(sweep, folder / "shards", folder / "exp.db", jobs=2)
    query(
        folder / "exp.db",
        "UPDATE simulations SET status = 'failed' WHERE simulation_id ="
        " (SELECT min(simulation_id) FROM simulations)",
    )
    return folder / "exp.db"
