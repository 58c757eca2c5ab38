"""Compare: one row a simulation, groups of repetitions, and two simulations side by side.

Everything that touches the rows of runs is aggregated by SQLite, simulation by simulation along
the key; what reaches pandas is one row a simulation.
"""

from __future__ import annotations

from farm_merge.read.compare.columns import (
    is_technical,
    parameter_column,
    parameter_columns,
    result_columns,
    varied_parameters,
    varied_results,
    without_prefix,
)
from farm_merge.read.compare.groups import ended_well, group_repetitions, unfinished
from farm_merge.read.compare.intervals import FEWEST_RUNS, Interval, intervals, kinds_in_words
from farm_merge.read.compare.simulations import compare_simulations, compare_two

__all__ = [
    "FEWEST_RUNS",
    "Interval",
    "compare_simulations",
    "compare_two",
    "ended_well",
    "group_repetitions",
    "intervals",
    "is_technical",
    "kinds_in_words",
    "parameter_column",
    "parameter_columns",
    "result_columns",
    "unfinished",
    "varied_parameters",
    "varied_results",
    "without_prefix",
]
