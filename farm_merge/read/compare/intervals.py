"""Intervals: how far the runs of a parameter set spread, called what it is.

Fewer than five runs are shown by their range: Student's t would give two runs an interval that is
wider than anything that was seen. From five on it is the 95 % confidence interval of the mean, by
Student's t, or by the bootstrap (BCa; Efron, Better bootstrap confidence intervals, JASA 82 (1987),
171-185). The bootstrap is taken by itself only from twenty runs on: with fewer its intervals are
too narrow, for skewed values too (docs/reading.md has what was measured).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Literal, get_args

from farm_merge.errors import require_choice
from farm_merge.extras import missing_extra

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import pandas as pd

    Numbers = np.ndarray[Any, Any]

__all__ = ["FEWEST_RUNS", "Interval", "intervals", "kinds_in_words"]

Interval = Literal["auto", "t", "bootstrap", "range"]

FEWEST_RUNS = 5
"""Runs of a set from which there is a confidence interval."""

_ONE_RUN = "one run"
_RANGE = "range of runs"
_STUDENT = "95 % CI, Student's t"
_STUDENT_CUT = f"{_STUDENT}, cut at 0"
_BOOTSTRAP = "95 % CI, bootstrap (BCa)"

_CONFIDENCE = 0.95
_RESAMPLES = 1_999
_BATCH = 200
_SEED = 1
"""Of the bootstrap, so that a page can be made again."""

_FEWEST_BOOTSTRAPPED = 20
_SKEWED, _SIGNIFICANT, _FEWEST_TESTED = 0.5, 0.01, 8


def kinds_in_words(names: Iterable[str]) -> str:
    """Return what intervals are that stand side by side; "one run" says that there is none.

    Args:
        names: What `intervals` calls each of them.
    """
    kinds = [name for name in dict.fromkeys(names) if name != _ONE_RUN]
    if {_STUDENT, _STUDENT_CUT} <= {*kinds}:
        kinds.remove(_STUDENT_CUT)
        kinds[kinds.index(_STUDENT)] = f"{_STUDENT}, in part cut at 0"
    return " or ".join(kinds) or _ONE_RUN


def intervals(samples: Sequence[Numbers], interval: Interval = "auto") -> pd.DataFrame:
    """Return the mean and the spread of samples of one result.

    Args:
        samples: A sample a parameter set (and step): the values of its runs, none missing.
        interval: "t", "bootstrap" or "range"; "auto" is "t", but "bootstrap" for 20 runs and more
            where the result is skewed, and in all of these "range" for fewer than five runs.

    Returns:
        A row a sample: `n`, `mean`, `std` (of the sample), `low`, `high`, and `interval`, what
        these two are. An interval of what is never below 0 is cut there.

    Raises:
        InvalidOptionError: If there is no such interval.
        FarmMergeError: If SciPy is not installed.
    """
    import numpy as np
    import pandas as pd

    require_choice("interval", interval, get_args(Interval))
    skewed = interval == "auto" and _is_skewed(samples)
    is_positive = all(sample.min() >= 0 for sample in samples if len(sample))
    places: dict[int, list[int]] = defaultdict(list)
    for place, sample in enumerate(samples):
        places[len(sample)].append(place)
    low, high = np.full((2, len(samples)), np.nan)
    names = [_ONE_RUN] * len(samples)
    for n, where in places.items():
        if n < 2:  # noqa: PLR2004  (one run has no spread)
            continue
        wanted = "range" if n < FEWEST_RUNS else interval
        if wanted == "auto":
            wanted = "bootstrap" if skewed and n >= _FEWEST_BOOTSTRAPPED else "t"
        matrix = np.stack([samples[place] for place in where])
        low[where], high[where] = _limits(matrix, wanted)
        for place in where:
            names[place] = {"range": _RANGE, "t": _STUDENT, "bootstrap": _BOOTSTRAP}[wanted]
    for place in np.flatnonzero(low < 0).tolist() if is_positive else ():
        low[place], names[place] = 0.0, _STUDENT_CUT
    return pd.DataFrame(
        {
            "n": [len(sample) for sample in samples],
            "mean": [sample.mean() if len(sample) else np.nan for sample in samples],
            "std": [sample.std(ddof=1) if len(sample) > 1 else np.nan for sample in samples],
            "low": low,
            "high": high,
            "interval": names,
        }
    )


def _limits(matrix: Numbers, interval: str) -> tuple[Numbers, Numbers]:
    """Return the limits of samples of one size, each a row."""
    if interval == "range":
        return matrix.min(axis=1), matrix.max(axis=1)
    mean = matrix.mean(axis=1)
    if interval == "bootstrap":
        return _bootstrapped(matrix, mean)
    n = matrix.shape[1]
    half = matrix.std(axis=1, ddof=1) / n**0.5 * _stats().t.ppf(0.5 + _CONFIDENCE / 2, n - 1)
    return mean - half, mean + half


def _bootstrapped(matrix: Numbers, mean: Numbers) -> tuple[Numbers, Numbers]:
    import numpy as np

    low, high = mean.copy(), mean.copy()  # of values that are all the same
    varied = np.flatnonzero(np.ptp(matrix, axis=1))
    if len(varied):
        found = _stats().bootstrap(
            (matrix[varied],),
            np.mean,
            axis=1,
            n_resamples=_RESAMPLES,
            batch=_BATCH,
            confidence_level=_CONFIDENCE,
            method="BCa",
            rng=np.random.default_rng(_SEED),
        )
        low[varied], high[varied] = found.confidence_interval
    return low, high


def _is_skewed(samples: Sequence[Numbers]) -> bool:
    """Return whether the runs of a set are skewed about its mean, all sets taken together."""
    import numpy as np

    large = [sample for sample in samples if len(sample) >= FEWEST_RUNS and np.ptp(sample) > 0]
    if not large:
        return False
    residuals = np.concatenate([(it - it.mean()) / it.std(ddof=1) for it in large])
    if len(residuals) < _FEWEST_TESTED or abs(_stats().skew(residuals)) < _SKEWED:
        return False
    return bool(_stats().skewtest(residuals).pvalue < _SIGNIFICANT)


def _stats() -> Any:
    try:
        from scipy import stats
    except ImportError as exc:
        raise missing_extra("confidence intervals need SciPy", "report") from exc
    return stats
