"""Describe: inspections and plans as plain data, for people and for programs."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from farm_merge.merge.structure import today

if TYPE_CHECKING:
    from pathlib import Path

    from farm_merge.merge.inspect import Inspection
    from farm_merge.merge.plan import Plan

__all__ = ["describe_inspection", "describe_plan"]


def describe_inspection(source: Inspection) -> dict[str, Any]:
    """Return what is known of a file."""
    return {
        "path": str(source.path),
        "schema": source.schema,
        "size_bytes": source.identity.size_bytes,
        "fingerprint": source.fingerprint,
        "health": "ok",
        "simulations": [
            {
                "simulation_id": found.simulation_id,
                "status": found.status,
                "rows": found.rows,
                "tables": dict(found.row_counts),
            }
            for found in source.simulations
        ],
        "details": list(source.details),
        "notes": list(source.notes),
    }


def describe_plan(plan: Plan, output: Path) -> dict[str, Any]:
    """Return what a merge will do.

    `bytes_needed` is an estimate from above: what is copied, indexes of the inputs included, and
    room for the largest file that has to be rewritten.
    """
    target = plan.target
    sizes = {each.source.path: each.source.identity.size_bytes for each in plan.to_write}
    rewritten = [
        each.source.identity.size_bytes for each in plan.to_write if not target.fits(each.source)
    ]
    folder = next(each for each in (output.absolute(), *output.absolute().parents) if each.exists())
    return {
        "output": str(output),
        "exists": output.exists(),
        "simulations": [
            {
                "simulation_id": each.simulation_id,
                "path": str(each.source.path),
                "schema": each.source.schema,
                "action": each.action.value,
                "reason": each.reason,
                "rows": each.simulation.rows,
                "tables": dict(each.simulation.row_counts),
            }
            for each in plan.simulations
        ],
        "tables": {
            each.name: [column.name for column in each.columns]
            for table, each in target.tables.items()
            if table not in today().tables or target.added_columns
        },
        "added_tables": [each.name for each in target.added_tables],
        "added_columns": [f"{table}.{column.name}" for table, column in target.added_columns],
        "added_indexes": [each.name for each in target.added_indexes],
        "mappings": _mappings(plan),
        "left_out": [
            {
                "path": str(each.path),
                "simulation_id": each.simulation_id,
                "reason": each.reason,
            }
            for each in plan.left_out
        ],
        "details": list(plan.details),
        "notes": list(plan.notes),
        "rows": plan.rows,
        "bytes_needed": sum(sizes.values()) + max(rewritten, default=0),
        "bytes_free": shutil.disk_usage(folder).free,
    }


def _mappings(plan: Plan) -> list[dict[str, Any]]:
    """Return how files are read that are no shards, once for all that are read alike."""
    groups: dict[int, list[Inspection]] = {}
    for each in plan.to_write:
        if not plan.target.fits(each.source):
            group = groups.setdefault(id(each.source.mapping), [])
            if not group or group[-1] is not each.source:
                group.append(each.source)
    return [
        {
            "schema": group[0].schema,
            "files": len(group),
            "first": str(group[0].path),
            "tables": [
                {"from": each.source, "to": each.target, "columns": dict(each.columns)}
                for each in group[0].mapping
            ],
        }
        for group in groups.values()
    ]
