"""Describe: inputs, plans and reports as plain data, for people and for programs."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from farm_merge.errors import for_python
from farm_merge.merge.plan.plan import count_files
from farm_merge.merge.tables.structure import today

if TYPE_CHECKING:
    from collections.abc import Callable

    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.inputs.mapping import FileMapping
    from farm_merge.merge.plan.plan import LeftOut, Outcome, Plan

__all__ = ["describe_input", "describe_left_out", "describe_outcome", "describe_plan"]


def describe_input(source: Input) -> dict[str, Any]:
    """Return what is known of a file that was read whole."""
    contents = source.contents
    counts = contents.row_counts if contents else ({},) * len(source.simulations)
    return {
        "path": str(source.path),
        "schema": source.schema,
        "size_bytes": source.file.identity.size_bytes,
        "fingerprint": contents.fingerprint if contents else None,
        "health": "ok",
        "simulations": [
            {
                "simulation_id": simulation.own_id,
                "status": simulation.status,
                "rows": sum(tables.values()),
                "tables": dict(tables),
            }
            for simulation, tables in zip(source.simulations, counts, strict=True)
        ],
        "details": list(source.details),
        "notes": list(source.notes),
    }


def describe_outcome(outcome: Outcome) -> dict[str, Any]:
    """Return what happens, or happened, to a simulation."""
    return {
        "simulation_id": outcome.simulation_id,
        "path": str(outcome.path),
        "schema": outcome.schema,
        "action": outcome.action.value,
        "reason": outcome.reason,
        "rows": outcome.rows,
        "tables": dict(outcome.row_counts or {}),
    }


def describe_left_out(
    left_out: LeftOut, worded: Callable[[str], str] = for_python
) -> dict[str, Any]:
    """Return what does not reach the output, and why, with advice as its reader writes it."""
    return {
        "path": str(left_out.path),
        "simulation_id": left_out.simulation_id,
        "reason": left_out.explained(worded),
    }


def describe_plan(plan: Plan, worded: Callable[[str], str] = for_python) -> dict[str, Any]:
    """Return what a merge will do.

    `bytes_needed` is an estimate from above: what is copied, indexes of the inputs included, and
    room for the largest file that has to be rewritten.

    Args:
        plan: The plan.
        worded: Writes the options in advice as its reader does.
    """
    target, output = plan.target, plan.output.path
    sources = {planned.source.path: planned.source for planned in plan.to_write}
    sizes = {path: source.file.identity.size_bytes for path, source in sources.items()}
    rewritten = [sizes[path] for path, source in sources.items() if not target.fits(source)]
    whole = output.absolute()
    folder = next(path for path in (whole, *whole.parents) if path.exists())
    added_columns = target.added_columns
    outcomes = plan.outcomes
    return {
        "output": str(output),
        "exists": not plan.output.is_new,
        "files": count_files(outcomes, plan.left_out),
        "simulations": list(map(describe_outcome, outcomes)),
        "tables": {
            table.name: [column.name for column in table.columns]
            for name, table in target.want.tables.items()
            if name not in today().tables or added_columns
        },
        "added_tables": [table.name for table in target.added_tables],
        "added_columns": [f"{table}.{column.name}" for table, column in added_columns],
        "added_indexes": [index.name for index in target.added_indexes],
        "mappings": _mappings(plan),
        "left_out": [describe_left_out(left_out, worded) for left_out in plan.left_out],
        "details": list(plan.details),
        "notes": list(map(worded, plan.notes)),
        "rows": plan.rows,
        "bytes_needed": sum(sizes.values()) + max(rewritten, default=0),
        "bytes_free": shutil.disk_usage(folder).free,
    }


def _mappings(plan: Plan) -> list[dict[str, Any]]:
    """Return how files are read that are no shards, once for all that are read alike."""
    groups: dict[FileMapping, dict[str, Input]] = {}
    for planned in plan.to_write:
        source = planned.source
        if not plan.target.fits(source):
            groups.setdefault(source.mapping, {})[str(source.path)] = source
    return [
        {
            "schema": next(iter(sources.values())).schema,
            "files": len(sources),
            "first": next(iter(sources)),
            "tables": [
                {"from": table.source, "to": table.target, "columns": dict(table.columns)}
                for table in mapping.tables
            ],
        }
        for mapping, sources in groups.items()
    ]
