"""Runs and parameter sets are computed when they are asked for, and none is kept."""

from __future__ import annotations

import tracemalloc

import pytest

from farm_merge.sweep.points import Points
from tests.sweep.small import of_model, sweep


def test_parameter_sets_are_every_combination_in_order() -> None:
    points = Points([[{"a": 1}, {"a": 2}], [{"b": 1, "c": 1}, {"b": 2, "c": 4}, {"b": 3, "c": 9}]])
    assert len(points) == 6
    assert points[1:3] == [{"a": 1, "b": 2, "c": 4}, {"a": 1, "b": 3, "c": 9}]
    assert list(points) == [points[number] for number in range(6)]
    assert points[-1] == {"a": 2, "b": 3, "c": 9}
    with pytest.raises(IndexError):
        points[6]
    assert list(Points([])) == [{}]


def test_parameters_that_vary_together_are_combined_with_the_grid() -> None:
    design = of_model("count", grid={"n": [1, 2]}, zip={"low": [1, 2], "high": [3, 4]})
    assert [run.simulation_id for run in design.runs()] == [
        f"n{n}_low{low}_hig{low + 2}_r1" for n in (1, 2) for low in (1, 2)
    ]
    with pytest.raises(ValueError, match="low has 1, high has 2"):
        of_model("count", zip={"low": [1], "high": [3, 4]})


def test_a_part_of_the_runs_is_computed_as_they_are() -> None:
    runs = sweep(repetitions=5).runs()
    assert list(runs[1::3]) == list(runs)[1::3]
    assert list(runs[1::3].at([0, 2])) == [runs[1], runs[7]]


def test_a_hundred_thousand_runs_take_no_memory() -> None:
    tracemalloc.start()
    design = of_model("count", grid={"n": list(range(50)), "x": list(range(40))}, repetitions=50)
    runs = design.runs()
    assert len(runs) == 100_000
    assert sum(run.repetition == 1 for run in runs[::25]) == 2_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
