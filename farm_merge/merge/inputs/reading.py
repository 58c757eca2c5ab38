"""Reading: an input that is open, and the tables that it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm_merge.errors import ShardError
from farm_merge.merge.inputs.classify import classify, target_names
from farm_merge.merge.inputs.mapping import UNATTRIBUTED
from farm_merge.merge.tables.cost import costly_columns, is_affordable, is_costly
from farm_merge.merge.tables.definition import SIMULATION_ID
from farm_merge.merge.tables.structure import read_structure
from farm_merge.schema import is_current
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from farm_merge.merge.inputs.mapping import Kind
    from farm_merge.merge.options import SourceSchema
    from farm_merge.merge.tables.definition import TableDefinition
    from farm_merge.merge.tables.structure import Structure
    from farm_merge.sqlite import sqlite3

__all__ = ["Reading", "read_tables", "require_health", "require_ok"]


@dataclass(frozen=True, slots=True)
class Reading:
    """An input that is open.

    Attributes:
        path: The input.
        connection: A connection that has it attached as `source`.
        structure: Its tables.
        kind: The family of its schema.
        schema: What its schema is called.
        names: The name that each table gets, by its lower-case name in the file.
    """

    path: Path
    connection: sqlite3.Connection
    structure: Structure
    kind: Kind
    schema: str
    names: Mapping[str, str]

    def ask(self, sql: str, simulation_id: str = "", **values: object) -> tuple[object, ...]:
        """Return the first row of a query about the input.

        Args:
            sql: The query.
            simulation_id: What expressions of a mapping take for it.
            values: Other values that the query binds.
        """
        return self.rows(sql, simulation_id, **values)[0]

    def rows(self, sql: str, simulation_id: str = "", **values: object) -> list[tuple[Any, ...]]:
        """Return all rows of a query; rows of nobody have NULL for their simulation.

        Args:
            sql: The query.
            simulation_id: What expressions of a mapping take for it.
            values: Other values that the query binds.
        """
        bound = {**values, SIMULATION_ID: simulation_id, UNATTRIBUTED: None}
        return self.connection.execute(sql, bound).fetchall()

    def holds(self, condition: str, simulation_id: str = "", **values: object) -> bool:
        """Return whether a query finds any row."""
        (found,) = self.ask(f"SELECT EXISTS ({condition})", simulation_id, **values)
        return bool(found)

    def registry(self, name: str) -> TableDefinition | None:
        """Return a table about simulations, which a foreign file does not have."""
        return self.structure.tables.get(name) if self.kind != "foreign" else None


def read_tables(path: Path, connection: sqlite3.Connection, family: SourceSchema | None) -> Reading:
    """Return what an open input shows.

    Args:
        path: The input.
        connection: A connection that has it attached as `source`.
        family: The family of its schema, where it is not to be recognised.
    """
    structure = read_structure(connection, "source")
    kind, schema = classify(structure, current=is_current(connection, "source"), family=family)
    if kind != "today":
        structure = read_structure(connection, "source", merged_form=False)
    return Reading(path, connection, structure, kind, schema, target_names(structure, kind))


def require_health(reading: Reading) -> None:
    """Let SQLite check an input.

    Raises:
        ShardError: If it is damaged.
    """
    structure = reading.structure
    # In tables WITHOUT ROWID rows are searched by their key, and whether they are in its order only
    # the longer check looks. Rows of other tables are read from first to last.
    by_key = any(table.without_rowid for table in structure.tables.values())
    check = "integrity_check" if by_key else "quick_check"
    if not structure.virtual and is_affordable(structure):
        require_ok(reading.connection, "source", f"{check}(1)", reading.path)
        return
    # A check of the whole file would run the modules of virtual tables, and costly expressions.
    for name, table in structure.tables.items():
        if table.without_rowid and is_costly(table, structure.indexes.get(name, ())):
            raise ShardError(
                "its order cannot be checked without computing what may take very long",
                path=reading.path,
                table=table.name,
            )
        if not costly_columns(table):  # else the reading of its rows shows whether they are there
            table_check = check if table.without_rowid else "quick_check"
            asked = f"{table_check}({quoted(table.name)})"
            require_ok(reading.connection, "source", asked, reading.path)


def require_ok(connection: sqlite3.Connection, schema: str, check: str, path: Path) -> None:
    """Let SQLite check an input, or a table of it.

    Args:
        connection: A connection that has it attached.
        schema: The name under which.
        check: One of SQLite's checks, with its argument.
        path: The input.

    Raises:
        ShardError: If it is damaged.
    """
    (verdict,) = connection.execute(f"PRAGMA {schema}.{check}").fetchone()
    if verdict != "ok":
        name, _, _ = check.partition("(")
        raise ShardError(f"damaged; SQLite's {name} reports: {verdict}", path=path)
