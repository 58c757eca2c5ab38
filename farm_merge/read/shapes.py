"""Shapes: what the rows of a table are, as its columns and its rows show.

One row a simulation is its results; one row a simulation and step is a set of metrics; rows with a
step and an agent are the states of agents. All else is events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from farm_merge.errors import FarmMergeError
from farm_merge.nearest import with_nearest
from farm_merge.read.where import plain_name, step_column
from farm_merge.schema import METADATA_TABLES
from farm_merge.sqlite import column_types, quoted, table_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from farm_merge.sqlite import sqlite3

__all__ = ["STEPS", "Shape", "chosen_metrics", "is_agentfarms", "read_shapes"]

STEPS = "simulation_steps"
"""The table whose metrics are called by their names alone."""

_AGENT_NAMES = frozenset({"agentid", "agent", "uniqueid", "who"})
_ROW_NAMES = frozenset({"id", "rownumber", "originalsimulationid"})
"""Columns that tell rows apart, and say nothing else."""

_AGENTFARMS = {
    "agents": {"death_time"},
    "agent_actions": {"action_type", "reward"},
    "health_incidents": {"cause"},
    "resource_states": {"resource_id"},
    "simulation_config": {"config_data"},
}
"""AgentFarm's tables that are compared in their own way, or not at all, and columns of theirs."""

_MOST_VALUES = 12
"""Different texts of a column that is counted value by value."""

_COLUMNS_AT_ONCE = 400
"""SQLite returns 2,000 columns at most."""


Kind = Literal["runs", "steps", "agents", "events"]


@dataclass(frozen=True, slots=True)
class Shape:
    """What the rows of a table are.

    Attributes:
        table: Its name.
        kind: "runs" (one row a simulation), "steps" (one row a simulation and step), "agents" (rows
            of agents at steps), or "events".
        step: The column with the step; None where there is none.
        agent: The column with the agent; None where there is none.
        numbers: Columns that hold numbers, and are none of these.
        texts: Columns that hold a few texts, and are none of these.
    """

    table: str
    kind: Kind
    step: str | None = None
    agent: str | None = None
    numbers: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()

    def metric(self, column: str) -> str:
        """Return what a column is called among all metrics: `TABLE.COLUMN`."""
        return column if self.table == STEPS else f"{self.table}.{column}"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of all its metrics."""
        return tuple(map(self.metric, (*self.numbers, *self.texts)))

    def number_groups(self) -> Iterator[tuple[str, ...]]:
        """Yield its numbers, as many as can be asked for at once."""
        for start in range(0, len(self.numbers), _COLUMNS_AT_ONCE):
            yield self.numbers[start : start + _COLUMNS_AT_ONCE]

    def restricted(self, wanted: set[str]) -> Shape:
        """Return the shape with those of its metrics alone that are wanted."""
        numbers = tuple(name for name in self.numbers if self.metric(name) in wanted)
        texts = tuple(name for name in self.texts if self.metric(name) in wanted)
        return Shape(self.table, self.kind, self.step, self.agent, numbers, texts)


def read_shapes(connection: sqlite3.Connection, ids: Sequence[str]) -> list[Shape]:
    """Return the shapes of all tables that hold rows of simulations.

    Args:
        connection: A shard or experiment database.
        ids: The simulations that are looked at.
    """
    tables = [name for name in table_names(connection) if name not in METADATA_TABLES]
    tables.sort(key=lambda name: (name != STEPS, name))
    return [shape for table in tables if (shape := _shape(connection, table, ids))]


def is_agentfarms(connection: sqlite3.Connection, table: str) -> bool:
    """Return whether it is one of AgentFarm's tables, and none of that name by another model."""
    return table in _AGENTFARMS and _AGENTFARMS[table] <= column_types(connection, table).keys()


def chosen_metrics(shapes: Iterable[Shape], metrics: Iterable[str]) -> list[Shape]:
    """Return the shapes that have metrics, with these alone.

    Args:
        shapes: The shapes of a database.
        metrics: Metrics, each as `TABLE.COLUMN`, or as its column where one table alone has it.

    Raises:
        FarmMergeError: If there is no such metric, or several.
    """
    shapes = list(shapes)
    wanted = {_full_name(shapes, metric) for metric in metrics}
    kept = (shape.restricted(wanted) for shape in shapes)
    return [shape for shape in kept if shape.metrics]


def _full_name(shapes: Iterable[Shape], metric: str) -> str:
    names = [
        (shape.metric(column), f"{shape.table}.{column}", column)
        for shape in shapes
        for column in (*shape.numbers, *shape.texts)
    ]
    found = {name for name, *others in names if metric in {name, *others}}
    exact = {name for name, full, _ in names if metric in {name, full}}
    if len(exact or found) == 1:
        return (exact or found).pop()
    if found:
        raise FarmMergeError(f"metric {metric} may be {', '.join(sorted(found))}")
    known = (name for forms in names for name in forms[:2])
    raise FarmMergeError(with_nearest(f"no simulation has a metric {metric}", metric, known))


def _shape(connection: sqlite3.Connection, table: str, ids: Sequence[str]) -> Shape | None:
    rows = connection.execute(f"PRAGMA table_xinfo({quoted(table)})").fetchall()
    columns = [name for _, name, *_ in rows]
    keys = {name for _, name, _, _, _, key, _ in rows if key}
    if "simulation_id" not in columns or not (first := _first_with_rows(connection, table, ids)):
        return None
    step = step_column(connection, table, first)
    agent = next((name for name in columns if plain_name(name) in _AGENT_NAMES), None)
    others = [
        name
        for name in columns
        if name not in {"simulation_id", step, agent} and plain_name(name) not in _ROW_NAMES
    ]
    is_keyed = keys == {"simulation_id", step}
    kind = _kind(connection, table, step, agent, first, ids, is_keyed=is_keyed)
    if kind == "agents":
        others = [name for name in others if not name.endswith("_id")]
    numbers: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    if kind != "events":
        at = step if kind == "agents" else None
        numbers, texts = _columns(connection, table, others, first, at)
    return Shape(table, kind, step, agent, numbers, () if kind == "steps" else texts)


def _kind(
    connection: sqlite3.Connection,
    table: str,
    step: str | None,
    agent: str | None,
    first: str,
    ids: Sequence[str],
    *,
    is_keyed: bool,
) -> Kind:
    """Return what the rows of a table are, by what repeats in them.

    Of agents, the first simulation shows it, since there are many.
    """
    if step and agent:
        return "events" if _repeats(connection, table, (step, agent), first) else "agents"
    if step:
        repeats = not is_keyed and any(_repeats(connection, table, (step,), it) for it in ids)
        return "events" if repeats else "steps"
    return "runs" if _is_row_a_run(connection, table) else "events"


def _first_with_rows(connection: sqlite3.Connection, table: str, ids: Sequence[str]) -> str | None:
    asked = f"SELECT EXISTS (SELECT 1 FROM {quoted(table)} WHERE simulation_id = ?)"
    return next((name for name in ids if connection.execute(asked, (name,)).fetchone()[0]), None)


def _repeats(
    connection: sqlite3.Connection, table: str, columns: Iterable[str], simulation_id: str
) -> bool:
    """Return whether a simulation has several rows with the same values."""
    (repeats,) = connection.execute(
        f"SELECT EXISTS (SELECT 1 FROM {quoted(table)} WHERE simulation_id = ?"
        f" GROUP BY {', '.join(map(quoted, columns))} HAVING count(*) > 1)",
        (simulation_id,),
    ).fetchone()
    return bool(repeats)


def _is_row_a_run(connection: sqlite3.Connection, table: str) -> bool:
    (repeats,) = connection.execute(
        f"SELECT EXISTS (SELECT 1 FROM {quoted(table)} GROUP BY simulation_id HAVING count(*) > 1)"
    ).fetchone()
    return not repeats


def _columns(
    connection: sqlite3.Connection,
    table: str,
    columns: Sequence[str],
    simulation_id: str,
    step: str | None = None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which columns hold numbers, and which a few texts.

    All of a table is looked at, or, of a table of agents, the last step of one simulation.
    """
    numbers: list[str] = []
    texts: list[str] = []
    where, values = "", {"id": simulation_id}
    if step:
        name = quoted(step)
        where = (
            f" WHERE simulation_id = :id AND {name} ="
            f" (SELECT max({name}) FROM {quoted(table)} WHERE simulation_id = :id)"
        )
    for column in columns:
        value = quoted(column)
        (has_numbers, has_others) = connection.execute(
            f"SELECT max(typeof({value}) IN ('integer', 'real')), max(typeof({value}) = 'text')"
            f" FROM {quoted(table)}{where}",
            values if step else {},
        ).fetchone()
        if has_numbers:
            numbers.append(column)
        elif has_others and _has_few(connection, table, value, where, values if step else {}):
            texts.append(column)
    return tuple(numbers), tuple(texts)


def _has_few(
    connection: sqlite3.Connection, table: str, value: str, where: str, values: dict[str, str]
) -> bool:
    (number,) = connection.execute(
        f"SELECT count(DISTINCT {value}) FROM {quoted(table)}{where}", values
    ).fetchone()
    return bool(number <= _MOST_VALUES)
