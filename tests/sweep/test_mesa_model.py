"""A model of Mesa's is swept by one line of the file, and is what Mesa itself makes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from farm_merge.sweep import Sweep, rerun_simulation, run_sweep
from tests.conftest import query
from tests.sweep.small import threads

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("mesa")


def walkers(**changes: Any) -> Sweep:
    """Return a design of a model of Mesa's."""
    design = {
        "experiment_id": "walkers",
        "simulation": "mesa:tests.mesa.models:Walkers",
        "steps": 4,
        "grid": {"n": [2, 3]},
        "config": {"width": 7},
    }
    return Sweep.model_validate(design | changes)


def test_a_model_of_mesa_s_is_swept_and_made_again(tmp_path: Path) -> None:
    from tests.mesa.models import Walkers

    output = tmp_path / "exp.db"
    report = run_sweep(walkers(), tmp_path / "s", output, jobs=1)
    assert [str(failure) for failure in report.failed] == []
    for run in walkers().runs():
        model = Walkers(n=run.parameters["n"], width=7, seed=run.seed)
        for _ in range(4):
            model.step()
        totals = query(
            output,
            "SELECT Total FROM model_vars WHERE simulation_id = ? ORDER BY step",
            run.simulation_id,
        )
        assert [total for (total,) in totals] == model.datacollector.model_vars["Total"]
        assert rerun_simulation(output, run.simulation_id).is_same
    stored = "SELECT seed, parameters ->> '$.n', parameters ->> '$.steps' FROM simulations"
    assert query(output, stored) == [(run.seed, run.parameters["n"], 4) for run in walkers().runs()]


def test_a_model_of_mesa_s_that_fails_is_recorded(tmp_path: Path) -> None:
    failing = walkers(grid={"fault": ["none", "raise"]})
    with threads() as executor:
        report = run_sweep(failing, tmp_path / "s", tmp_path / "exp.db", executor=executor)
    assert [str(failure) for failure in report.failed] == ["fauraise_r1: RuntimeError: walked away"]
    assert len(report.completed) == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"grid": {"wdth": [1]}}, "wdth is no parameter of .*; the nearest is width"),
        ({"steps": None}, "steps is missing"),
    ],
)
def test_what_the_model_does_not_take_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        walkers(config={}, **changes)
