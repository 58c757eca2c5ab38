"""From shards and legacy files to one experiment database, step by step."""

from farm_merge.merge.pipeline import Merged, MergeReport, Progress, merge_shards
from farm_merge.merge.plan import Action, LeftOut, OnConflict

__all__ = ["Action", "LeftOut", "MergeReport", "Merged", "OnConflict", "Progress", "merge_shards"]
