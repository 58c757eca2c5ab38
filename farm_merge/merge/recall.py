"""Recall: a file that the ledger knows and nobody touched since needs no reading."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from farm_merge.errors import ShardError
from farm_merge.merge.inspect import Found, Inspection
from farm_merge.merge.mapping import Facts
from farm_merge.merge.source import companions, identify
from farm_merge.merge.structure import Structure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from farm_merge.merge.plan import LedgerEntry, OutputState

__all__ = ["files_in_ledger", "recall"]


def files_in_ledger(output: OutputState) -> dict[str, list[LedgerEntry]]:
    """Return what the ledger says of each path, of the file that stood there last."""
    files: dict[str, list[LedgerEntry]] = {}
    for entry in output.ledger:
        found = files.setdefault(entry.source_path, [])
        if found and found[0].fingerprint != entry.fingerprint:
            found.clear()
        if entry.simulation_id in output.simulation_ids:
            found.append(entry)
    return files


def recall(path: Path, files: Mapping[str, list[LedgerEntry]]) -> Inspection | None:
    """Return what the ledger tells of a file, if all of it was merged and it did not change.

    The times of the file decide together with its inode and size. A WAL or a journal beside it may
    hold more than the file, so then it is read.
    """
    entries = files.get(str(path.absolute()))
    if not entries or len(entries) != entries[0].in_file:
        return None
    try:
        if identify(path) != entries[0].identity or companions(path):
            return None
    except ShardError:
        return None
    return Inspection(
        path,
        entries[0].identity,
        entries[0].fingerprint,
        entries[0].source_schema,
        "today",
        _nothing(),
        tuple(Found(each.simulation_id, None, each.row_counts) for each in entries),
        Facts(),
        (),
        {},
    )


@lru_cache(maxsize=1)
def _nothing() -> Structure:
    return Structure({})
