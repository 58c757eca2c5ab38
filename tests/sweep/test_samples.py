"""Samples: what is drawn is in its range, spread as its method spreads, and always the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from farm_merge.sweep import load_sweep
from tests.sweep.small import of_model

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("SALib")

RANGES = {
    "rate": {"low": 0.001, "high": 1.0, "scale": "log"},
    "n": {"low": 1, "high": 4, "integer": True},
    "share": {"low": -1, "high": 1},
    "kind": {"choices": ["a", "b", "c"]},
}


def drawn(method: str, points: int = 16, **changes: Any) -> Any:
    """Return a design of a sample of all kinds of parameters."""
    sample = {"method": method, "points": points, "ranges": RANGES} | changes
    return of_model("count", grid={}, sample=sample)


@pytest.mark.parametrize("method", ["random", "latin_hypercube", "sobol", "morris", "saltelli"])
def test_values_are_in_their_ranges_and_always_the_same(method: str) -> None:
    runs = list(drawn(method, 64).runs())
    assert runs == list(drawn(method, 64).runs())
    assert len({run.simulation_id for run in runs}) == len(runs) > 40
    for run in runs:
        rate, n, share, kind = run.parameters.values()
        assert 0.001 <= rate <= 1.0
        assert n in {1, 2, 3, 4}
        assert isinstance(n, int)
        assert -1 <= share <= 1
        assert kind in {"a", "b", "c"}
    assert {run.parameters["n"] for run in runs} == {1, 2, 3, 4}
    assert sum(run.parameters["rate"] < 0.0316 for run in runs) == pytest.approx(
        len(runs) / 2, rel=0.4
    )


def test_a_latin_hypercube_has_one_value_in_every_stratum() -> None:
    ranges = {"x": {"low": 0, "high": 10}, "y": {"low": 5, "high": 6}}
    runs = drawn("latin_hypercube", 10, ranges=ranges).runs()
    assert sorted(int(run.parameters["x"]) for run in runs) == list(range(10))


@pytest.mark.parametrize(
    ("method", "sets"), [("random", 8), ("sobol", 8), ("morris", 8 * 5), ("saltelli", 8 * 6)]
)
def test_the_number_of_sets_is_known_before_they_are_drawn(method: str, sets: int) -> None:
    sample = drawn(method, 8).sample
    assert sample.sets == len(sample.units(0)) == sets


def test_pairs_of_parameters_cost_more_sets() -> None:
    sample = drawn("saltelli", 8, second_order=True).sample
    assert sample.sets == len(sample.units(0)) == 8 * 10


@pytest.mark.parametrize("method", ["random", "sobol"])
def test_more_points_keep_those_that_are_there(method: str) -> None:
    few, many = (drawn(method, points).sample.units(3) for points in (8, 16))
    assert np.array_equal(few, many[:8])


def test_a_sample_is_combined_with_a_grid() -> None:
    sample = {"method": "random", "points": 3, "ranges": {"x": {"low": 0, "high": 1}}}
    design = of_model("count", grid={"n": [1, 2]}, sample=sample, repetitions=2)
    assert len(design.runs()) == 12


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"method": "sobol", "points": 10}, "needs a power of 2, as 8"),
        ({"method": "lating"}, "latin_hypercube"),
        ({"points": 0}, "points"),
        ({"ranges": {}}, "ranges"),
        ({"ranges": {"x": {"low": 2, "high": 1}}}, "low is below high"),
        ({"ranges": {"x": {"low": 0, "high": 1, "scale": "log"}}}, "low is above 0"),
        ({"ranges": {"x": {"low": 0, "high": 1.5, "integer": True}}}, "whole numbers"),
        ({"ranges": {"x": {"low": 0, "choices": [1, 2]}}}, "not both"),
        ({"method": "random", "points": 30_000_000}, "30,000,000 runs"),
    ],
)
def test_a_sample_that_cannot_be_drawn_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        drawn(**({"method": "random"} | changes))


def test_a_list_of_parameter_sets_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("n,rate,kind\n1,0.5,a\n2,0.25,007\n")
    path = tmp_path / "a.toml"
    path.write_text(
        'experiment_id = "a"\nsimulation = "tests.sweep.models:count"\ncsv = "points.csv"\n'
    )
    assert [run.parameters for run in load_sweep(path).runs()] == [
        {"n": 1, "rate": 0.5, "kind": "a"},
        {"n": 2, "rate": 0.25, "kind": "007"},
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no parameter sets"),
        ("n\n", "no parameter sets"),
        ("n,m\n1,\n", "empty fields"),
        ("n,m\n1\n", "line 2"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "points.csv").write_text(text)
    with pytest.raises(ValueError, match=reason):
        of_model("count", grid={}, csv=str(tmp_path / "points.csv"))
