"""From shards and legacy files to one experiment database, step by step."""

from farm_merge.merge.audit import Audit, audit
from farm_merge.merge.describe import describe_inspection, describe_plan
from farm_merge.merge.find import find_shards
from farm_merge.merge.inspect import inspect_shard
from farm_merge.merge.pipeline import (
    Merged,
    MergeReport,
    Options,
    Progress,
    merge_shards,
    plan_merge,
)
from farm_merge.merge.plan import Action, LeftOut, OnConflict, Plan

__all__ = [
    "Action",
    "Audit",
    "LeftOut",
    "MergeReport",
    "Merged",
    "OnConflict",
    "Options",
    "Plan",
    "Progress",
    "audit",
    "describe_inspection",
    "describe_plan",
    "find_shards",
    "inspect_shard",
    "merge_shards",
    "plan_merge",
]
