"""Intervals: under five runs their range, then what Student and the bootstrap say, by its name."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from farm_merge.errors import FarmMergeError
from farm_merge.read.compare import intervals, is_technical, kinds_in_words


def test_fewer_than_five_runs_have_their_range_and_no_confidence():
    found = intervals([np.array([12.0, 50.0]), np.array([1.0, 4.0, 2.0, 9.0])], "t")
    assert list(found["low"]) == [12, 1]
    assert list(found["high"]) == [50, 9]
    assert list(found["n"]) == [2, 4]
    assert set(found["interval"]) == {"range of runs"}


def test_one_run_and_none_have_no_spread():
    found = intervals([np.array([3.0]), np.array([])])
    assert found["low"].isna().all()
    assert list(found["n"]) == [1, 0]
    assert found["mean"][0] == 3


def test_five_runs_have_students_interval():
    sample = np.array([4.0, 6.0, 5.0, 7.0, 8.0])
    found = intervals([sample]).iloc[0]
    low, high = stats.t.interval(0.95, 4, loc=6, scale=stats.sem(sample))
    assert (found["low"], found["high"]) == pytest.approx((low, high))
    assert found["interval"] == "95 % CI, Student's t"


def test_what_is_never_below_zero_has_no_interval_below_it():
    sample = np.array([0.0, 0.0, 0.0, 0.0, 9.0])
    found = intervals([sample]).iloc[0]
    assert found["low"] == 0
    assert found["interval"] == "95 % CI, Student's t, cut at 0"
    below = intervals([sample, np.array([-1.0, 1.0, 2.0, 3.0, 4.0])])
    assert below["low"][0] < 0  # of what can be below zero it is not cut


def test_kinds_of_intervals_are_named_once():
    student, cut = "95 % CI, Student's t", "95 % CI, Student's t, cut at 0"
    assert kinds_in_words([student, student]) == student
    assert kinds_in_words(["range of runs", cut, "one run", student]) == (
        f"range of runs or {student}, in part cut at 0"
    )
    assert kinds_in_words(["one run"]) == "one run"


def test_many_skewed_runs_are_bootstrapped_and_symmetric_ones_are_not():
    random = np.random.default_rng(5)
    skewed, symmetric = random.lognormal(0, 1, 40), random.normal(0, 1, 40)
    found = intervals([skewed]).iloc[0]
    assert found["interval"] == "95 % CI, bootstrap (BCa)"
    assert found["mean"] - found["low"] < found["high"] - found["mean"]
    assert intervals([symmetric])["interval"][0] == "95 % CI, Student's t"
    assert intervals([skewed[:10]])["interval"][0].startswith("95 % CI, Student's t")


def test_a_bootstrap_is_the_same_each_time_and_takes_what_does_not_vary():
    samples = [np.array([1.0, 2.0, 2.0, 3.0, 9.0]), np.full(6, 4.0)]
    first, second = (intervals(samples, "bootstrap") for _ in range(2))
    assert first.equals(second)
    assert tuple(first.loc[1, ["low", "high"]]) == (4, 4)


def test_an_interval_that_is_none_is_refused():
    with pytest.raises(FarmMergeError, match="interval"):
        intervals([], "wide")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("database.cache_size_mb", True),
        ("parameters.log_level", True),
        ("world.logging.file", True),
        ("db_pragma_profile", True),
        ("log_growth", False),
        ("learning_rate", False),
        ("population", False),
        ("parameters.output", False),
    ],
)
def test_parameters_of_storing_and_logging_are_technical(name, expected):
    assert is_technical(name) is expected
