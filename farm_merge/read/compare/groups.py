"""Groups: the repetitions of a parameter set, and how their results spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm_merge.read.compare.columns import (
    parameter_column,
    result_columns,
    varied_parameters,
    without_prefix,
)
from farm_merge.read.compare.intervals import intervals

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from farm_merge.read.compare.intervals import Interval

__all__ = ["ended_well", "group_repetitions", "unfinished"]

_ENDED = ("completed", "closed", "failed", "unknown")


def ended_well(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the simulations of a comparison that did not fail.

    What a run that failed has at its last step is no outcome, and the counts of one that left
    nothing are 0: neither is part of a mean.
    """
    return frame[frame["status"].ne("failed")] if "status" in frame else frame


def unfinished(frame: pd.DataFrame) -> pd.Series[Any]:
    """Return the status of the simulations of a comparison that did not say that they ended.

    They are in groups, since older programs wrote no other status when a run was over; who shows
    groups names them.
    """
    import pandas as pd

    status = frame.get("status", pd.Series(dtype=object)).dropna()
    return status[~status.isin(_ENDED)]


def group_repetitions(
    frame: pd.DataFrame, by: Sequence[str] | None = None, *, interval: Interval = "auto"
) -> pd.DataFrame:
    """Return the results of parameter sets, over their repetitions.

    Simulations that failed are in no set: see `ended_well`.

    Args:
        frame: What `compare_simulations` returned.
        by: Parameters that make a set, with or without `parameters.` in front; by default
            `varied_parameters`.
        interval: "auto", "t" (Student's), "bootstrap" (BCa) or "range". Fewer than five runs always
            have their range. "auto" is "t", but "bootstrap" for results that are skewed, from 20
            runs on.

    Returns:
        A long frame, a row for every set and result: the parameters (one that is called as another
        column keeps `parameters.` in front), `result`, `n` (simulations that have it), `mean`,
        `std` (of the sample), `low`, `high`, and `interval`: what these two are.

    Raises:
        FarmMergeError: If there is no such parameter, or SciPy is not installed.
    """
    import pandas as pd

    names = varied_parameters(frame) if by is None else [parameter_column(frame, it) for it in by]
    results = [name for name in result_columns(frame) if pd.api.types.is_numeric_dtype(frame[name])]
    frame = ended_well(frame)
    groups = frame.groupby(names, dropna=False) if names else [((), frame)]
    keys, members = (
        zip(*((key, group) for key, group in groups), strict=True) if len(frame) else ((), ())
    )
    parts = []
    for name in results:
        samples = [group[name].dropna().to_numpy(dtype=float) for group in members]
        part = pd.DataFrame(list(keys), columns=names).assign(result=name)
        parts.append(part.join(intervals(samples, interval)))
    if not parts:
        return pd.DataFrame()
    # By sets, in the order of their values, and of each its results in the order of the columns.
    ordered = pd.concat(parts).sort_index(kind="stable").reset_index(drop=True)
    return without_prefix(ordered)
