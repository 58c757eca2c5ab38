"""Buffers: rows that are held as tuples, and written by `executemany` in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from farm_merge.data_logging.records import COLUMNS, NUMBERED, insert_statement
from farm_merge.data_logging.tables import ModelTables
from farm_merge.errors import InvalidRecordError, OutputError
from farm_merge.sqlite import column_types, quoted, sqlite3, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from farm_merge.data_logging.refusals import Refusals

__all__ = ["Buffers"]

_OF_A_STEP = ("agent_states", "resource_states", "simulation_steps")


class Buffers:
    """The rows of one simulation that wait to be written; emptied only after their commit.

    Args:
        connect: Returns where to write; in autocommit mode, as transactions are this class's own.
        simulation_id: The simulation that all rows belong to.
        make_room: Tries to, when the database is full, and returns whether it could.
        refused: Counts the rows that SQLite refuses.

    Attributes:
        tables: The tables that the model made up.
        held: How many rows wait.
        closed: Whether no more rows are taken.
        added: The columns that tables have got beyond the schema's, by table.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        simulation_id: str,
        make_room: Callable[[], bool],
        refused: Refusals,
    ) -> None:
        self.tables = ModelTables(connect, simulation_id)
        self.held = 0
        self.closed = False
        self.added: dict[str, tuple[str, ...]] = dict.fromkeys(COLUMNS, ())
        self._connect = connect
        self._simulation_id = simulation_id
        self._make_room = make_room
        self._refused = refused
        self._inserts = {
            table: insert_statement(table, columns) for table, columns in COLUMNS.items()
        }
        self._rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in COLUMNS}
        self._deaths: list[tuple[int, str, str]] = []
        self._replaced_steps: list[tuple[str, int]] = []
        self._next_id = {
            table: self._highest(table, column, 0) + 1 for table, column in NUMBERED.items()
        }

    def last_step(self) -> int:
        """Return the last step of which something is stored, or -1."""
        return max(self._highest(table, "step_number", -1) for table in _OF_A_STEP)

    def stored_agents(self) -> set[str]:
        """Return the agents that are stored."""
        rows = self._connect().execute(
            "SELECT agent_id FROM agents WHERE simulation_id = ?", (self._simulation_id,)
        )
        return {agent_id for (agent_id,) in rows}

    def _highest(self, table: str, column: str, none: int) -> int:
        (highest,) = (
            self._connect()
            .execute(
                f"SELECT max({column}) FROM {table} WHERE simulation_id = ?", (self._simulation_id,)
            )
            .fetchone()
        )
        return none if highest is None else int(highest)

    def take_ids(self, table: str, count: int = 1) -> int:
        """Give out `count` ids of a table and return the first."""
        first = self._next_id[table]
        self._next_id[table] = first + count
        return first

    def extend(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        """Hold rows: `simulation_id`, the schema's columns, the added ones.

        Raises:
            OutputError: If the simulation is closed: nobody would write them.
        """
        self._require_open()
        self._rows[table] += rows
        self.held += len(rows)

    def extend_model_table(
        self, table: str, columns: Mapping[str, Sequence[Any]], key: Sequence[str], number: int
    ) -> None:
        """Hold rows of a table that the model made up, as `ModelTables.add` takes them.

        Raises:
            InvalidRecordError: If they do not fit.
            OutputError: If the simulation is closed: nobody would write them.
        """
        self._require_open()
        self.tables.add(table, columns, key, number)
        self.held += number

    def _require_open(self) -> None:
        if self.closed:
            raise OutputError(f"simulation {self._simulation_id!r} is closed")

    def discard(self, table: str, agent_ids: Container[str]) -> set[str]:
        """Drop the rows of agents that are held for a table, and return whose those were."""
        place = 1 + COLUMNS[table].index("agent_id")
        rows = self._rows[table]
        kept = [row for row in rows if row[place] not in agent_ids]
        dropped = {row[place] for row in rows} - {row[place] for row in kept}
        self.held -= len(rows) - len(kept)
        self._rows[table] = kept
        return dropped

    def replace_step(self, step: int) -> None:
        """Let the rows of a step that are stored go when those that follow are written."""
        self._replaced_steps.append((self._simulation_id, step))

    def set_death(self, agent_id: str, step: int) -> None:
        """Hold that an agent died at a step."""
        self._deaths.append((step, self._simulation_id, agent_id))

    def add_columns(self, table: str, names: Iterable[str], types: Mapping[str, str]) -> None:
        """Give a table columns beyond its schema, in the order of their names.

        Args:
            table: Its name.
            names: The columns.
            types: Their declared types; without one, every value is stored as it is.

        Raises:
            InvalidRecordError: If a name is taken.
            OutputError: If SQLite cannot write.
        """
        new = sorted(names, key=str)
        taken = {column.lower() for column in ("simulation_id", *COLUMNS[table])}
        for name in new:
            if not isinstance(name, str) or not name or name.lower() in taken:
                raise InvalidRecordError(f"{name!r} cannot be a new column of {table}")
        self.flush()  # what is held has the columns from before
        connection = self._connect()
        try:
            with transaction(connection, "IMMEDIATE"):
                present = column_types(connection, table)
                for name in new:
                    if name not in present:  # it is there in a resumed simulation
                        declared = f"{quoted(name)} {types.get(name, '')}"
                        connection.execute(f"ALTER TABLE {table} ADD COLUMN {declared}")
        except sqlite3.Error as exc:
            raise OutputError(f"cannot get a column ({exc})", table=table) from exc
        self.added[table] += tuple(new)
        columns = (*COLUMNS[table], *map(quoted, self.added[table]))
        self._inserts[table] = insert_statement(table, columns)

    def flush(self) -> None:
        """Write everything that is held, in one transaction.

        Raises:
            OutputError: If SQLite cannot write it; it is still held then.
        """
        if not (self.held or self._deaths or self._replaced_steps):
            return
        try:
            self._write()
        except sqlite3.Error as exc:
            if _is_full(exc) and self._make_room():
                self.flush()
                return
            raise OutputError(
                f"simulation {self._simulation_id!r}: {self.held} rows could not be written and"
                f" are still held ({exc})"
            ) from exc
        for held in (*self._rows.values(), self._deaths, self._replaced_steps):
            held.clear()
        self.held = 0
        for error in self.tables.clear():
            self._refused.add("log", error)

    def _write(self) -> None:
        connection = self._connect()
        with transaction(connection, "IMMEDIATE"):
            for table in _OF_A_STEP:
                connection.executemany(
                    f"DELETE FROM {table} WHERE simulation_id = ? AND step_number = ?",
                    self._replaced_steps,
                )
            for table, rows in self._rows.items():
                connection.executemany(self._inserts[table], rows)
            connection.executemany(
                "UPDATE agents SET death_time = ? WHERE simulation_id = ? AND agent_id = ?",
                self._deaths,
            )
            self.tables.write(connection)


def _is_full(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
