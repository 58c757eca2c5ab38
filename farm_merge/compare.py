"""Comparisons under the name that notebooks import; they are made in `farm_merge.read.compare`."""

from __future__ import annotations

from farm_merge.read.compare import compare_simulations, compare_two, group_repetitions

__all__ = ["compare_simulations", "compare_two", "group_repetitions"]
