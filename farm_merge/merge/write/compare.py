"""Compare: an input and another input, or the output, side by side."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from farm_merge.merge.tables.content import common_keys, differing_tables
from farm_merge.merge.tables.structure import read_structure
from farm_merge.merge.write.rewrite import as_shard
from farm_merge.publish import read_output
from farm_merge.sqlite import attached, connect

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.plan.target import Target
    from farm_merge.merge.tables.structure import Structure
    from farm_merge.sqlite import sqlite3

__all__ = ["ContentComparison", "side_by_side"]


class ContentComparison:
    """Compares the data of inputs, value by value and by type.

    Args:
        output: The output, which may not exist.
        target: Its tables.
        folder: A private folder for shards that inputs may be rewritten into.
    """

    def __init__(self, output: Path, target: Target, folder: Path) -> None:
        self._output = output
        self._target = target
        self._folder = folder

    def is_same(self, source: Input, rival: Input | None, simulation_id: str) -> bool:
        """Return whether a simulation has the same data as in another input, or in the output."""
        with self._both(source, rival) as (connection, left, right):
            return next(differing_tables(connection, simulation_id, left, right), None) is None

    def clash(self, source: Input, rival: Input | None, simulation_id: str) -> str:
        """Return the tables in which both have a row of one key; empty if there is none."""
        with self._both(source, rival) as (connection, left, right):
            return ", ".join(common_keys(connection, simulation_id, left, right))

    @contextmanager
    def _both(
        self, source: Input, rival: Input | None
    ) -> Iterator[tuple[sqlite3.Connection, Structure, Structure]]:
        with ExitStack() as stack:
            if rival is None:
                connection = stack.enter_context(read_output(self._output))
            else:
                uri = stack.enter_context(as_shard(rival, self._target, self._folder))
                connection = stack.enter_context(closing(connect(uri)))
            left, right = stack.enter_context(
                side_by_side(connection, source, self._target, self._folder)
            )
            yield connection, left, right


@contextmanager
def side_by_side(
    connection: sqlite3.Connection, source: Input, target: Target, folder: Path
) -> Iterator[tuple[Structure, Structure]]:
    """Yield the structures of a database, and of an input that is attached to it as `shard`.

    Args:
        connection: The database.
        source: The input; its simulations have their names.
        target: The tables of the output.
        folder: A private folder for a shard that the input may be rewritten into.
    """
    with as_shard(source, target, folder) as uri, attached(connection, uri, "shard"):
        yield read_structure(connection), read_structure(connection, "shard")
