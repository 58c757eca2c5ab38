"""Attach: the rows of one simulation are copied, in one transaction with its ledger entry."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from farm_merge.errors import OutputError, ShardError
from farm_merge.merge.inputs.file import require_unchanged
from farm_merge.merge.ledger import keep_digest
from farm_merge.merge.tables.structure import read_structure
from farm_merge.merge.write.check import count_rows, require_counts, require_same
from farm_merge.merge.write.registry import (
    copy_rows,
    highest_number,
    register,
    remove_simulation,
)
from farm_merge.sqlite import transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from farm_merge.merge.options import Verification
    from farm_merge.merge.plan.plan import SimulationPlan
    from farm_merge.merge.write.registry import ExperimentFields
    from farm_merge.sqlite import sqlite3

__all__ = ["copy_simulation", "keep_digest_of_content"]


def copy_simulation(
    connection: sqlite3.Connection,
    planned: SimulationPlan,
    experiment: ExperimentFields,
    verification: Verification,
    advance: Callable[[int], None],
) -> None:
    """Copy one simulation from `shard` into `main`, in one transaction with its ledger entry.

    Args:
        connection: The output, with the input attached as `shard`.
        planned: The simulation, with its rows counted.
        experiment: The experiment it belongs to.
        verification: What is compared with the input before the transaction ends.
        advance: Called with the number of rows copied since the last call.

    Raises:
        ShardError: If what arrived differs, or the input is no longer what was inspected; the
            transaction is rolled back.
    """
    simulation_id, counts = planned.simulation_id, planned.outcome.row_counts or {}
    output, shard = read_structure(connection), read_structure(connection, "shard")
    with transaction(connection, "IMMEDIATE"):
        if planned.replaces:
            remove_simulation(connection, output, simulation_id)
        before: Counter[str] = Counter()
        if planned.joins:
            before = count_rows(connection, simulation_id, shard.content)
        for table, definition in shard.content.items():
            target = output.tables[table]
            after = highest_number(connection, target, simulation_id) if planned.joins else 0
            advance(copy_rows(connection, definition, target, simulation_id, after=after))
        register(connection, planned, experiment, output, shard)
        try:
            if verification != "none":
                require_counts(connection, simulation_id, shard.content, before + Counter(counts))
            if verification == "content":
                require_same(connection, simulation_id, output, shard, joined=planned.joins)
                keep_digest_of_content(connection, simulation_id)
            elif planned.joins:  # it was that of less
                keep_digest(connection, simulation_id, None)
        except OutputError as exc:  # what an input counts and what it gives differ
            require_unchanged(planned.source.file)
            raise ShardError(exc.reason, path=planned.source.path) from exc
        require_unchanged(planned.source.file)


def keep_digest_of_content(connection: sqlite3.Connection, simulation_id: str) -> None:
    """Keep the digest of what a simulation has now in the output."""
    from farm_merge.merge.tables.digest import content_digest  # slow to load, and seldom needed

    keep_digest(connection, simulation_id, content_digest(connection, simulation_id))
