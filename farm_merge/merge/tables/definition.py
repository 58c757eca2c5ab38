"""Tables as their authors wrote them, and as they are in an experiment database.

A definition is what a table is in its own run. `TableDefinition.create` puts `simulation_id` in
front of every key, and `parse_table` takes it off again, so a table and its merged form have one
definition.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import pairwise, zip_longest
from typing import TYPE_CHECKING, NamedTuple

from farm_merge.merge.tables.tokens import first_name, tokens, unknown_collations
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

__all__ = [
    "ROW_NUMBER",
    "SIMULATION_ID",
    "ColumnDefinition",
    "ForeignKey",
    "IndexDefinition",
    "TableDefinition",
    "affinity",
    "folded",
    "without_simulation",
]

SIMULATION_ID = "simulation_id"

ROW_NUMBER = "row_number"
"""The key of tables that had none; with underscores where that is taken."""

_LOWER_CASE = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


@dataclass(frozen=True, slots=True)
class ColumnDefinition:
    """A column: its name, its declared type, and its constraints as they are written.

    Attributes:
        name: The column.
        declared_type: Empty where none is declared.
        constraints: NOT NULL, DEFAULT, CHECK, COLLATE and GENERATED; keys are in the table.
        generated: Whether its values are computed.
    """

    name: str
    declared_type: str
    constraints: tuple[str, ...] = ()
    generated: bool = False

    @property
    def unknown_collations(self) -> frozenset[str]:
        """The collations that it names, and SQLite does not have."""
        return frozenset(name for text in self.constraints for name in unknown_collations(text))

    @property
    def is_stored(self) -> bool:
        """Whether a record holds its values, computed or not."""
        return not self.generated or any(text.endswith(" STORED") for text in self.constraints)

    @property
    def not_null(self) -> bool:
        """Whether NULL is refused."""
        return "NOT NULL" in self.constraints

    def __str__(self) -> str:
        return " ".join(filter(None, (quoted(self.name), self.declared_type, *self.constraints)))


class ForeignKey(NamedTuple):
    """A reference inside one simulation."""

    columns: tuple[str, ...]
    parent: str
    parent_columns: tuple[str, ...]
    actions: str = ""


@dataclass(frozen=True, slots=True)
class IndexDefinition:
    """An index; `terms` and `where` are SQL as it was written."""

    name: str
    table: str
    terms: tuple[str, ...]
    unique: bool = False
    where: str = ""

    @property
    def unknown_collations(self) -> frozenset[str]:
        """The collations that it names, and SQLite does not have."""
        return frozenset(name for term in self.terms for name in unknown_collations(term))

    def without_collations(self, names: Container[str]) -> IndexDefinition:
        """Return the index without some collations."""
        return replace(self, terms=tuple(_without(term, names) for term in self.terms))

    def create(self) -> str:
        """Return the statement that makes it, led by `simulation_id`."""
        unique = "UNIQUE " if self.unique else ""
        where = f" WHERE {self.where}" if self.where else ""
        terms = ", ".join((SIMULATION_ID, *self.terms))
        return f"CREATE {unique}INDEX {quoted(self.name)} ON {quoted(self.table)} ({terms}){where}"


@dataclass(frozen=True)
class TableDefinition:
    """A table as it is in its own run, without the `simulation_id` that a merge puts in front.

    Attributes:
        name: The table.
        columns: In their order.
        key: The terms of its primary key, as SQL (`"a" COLLATE NOCASE DESC`); empty for none.
        uniques: The terms of each UNIQUE constraint.
        foreign_keys: References to tables of the same run.
        checks: The expressions of CHECK constraints, with their parentheses.
        strict: Whether SQLite enforces the declared types.
        merged: Whether it was read in its merged form.
        without_rowid: Whether its rows are kept by their key alone.
    """

    name: str
    columns: tuple[ColumnDefinition, ...]
    key: tuple[str, ...] = ()
    uniques: tuple[tuple[str, ...], ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[str, ...] = ()
    strict: bool = False
    merged: bool = False
    without_rowid: bool = field(default=False, compare=False)

    def column(self, name: str) -> ColumnDefinition | None:
        """Return a column by its name, in any case."""
        return self._by_name.get(folded(name))

    @cached_property
    def _by_name(self) -> dict[str, ColumnDefinition]:
        return {folded(column.name): column for column in self.columns}

    @cached_property
    def stored(self) -> tuple[ColumnDefinition, ...]:
        """The columns that hold values of their own."""
        return tuple(column for column in self.columns if not column.generated)

    @cached_property
    def key_names(self) -> tuple[str, ...]:
        """The columns of the primary key."""
        return tuple(first_name(term) for term in self.key)

    @property
    def folded_name(self) -> str:
        """Its name in lower case, by which tables are found."""
        return folded(self.name)

    def extends(self, other: TableDefinition) -> bool:
        """Return whether the table is another with more columns at its end."""
        begin = self.columns[: len(other.columns)]
        return self.key == other.key and self.merged == other.merged and begin == other.columns

    def is_like(self, other: TableDefinition) -> bool:
        """Return whether another table has the same columns and the same key."""
        names = [column.name for column in self.columns]
        return names == [column.name for column in other.columns] and (
            self.key_names == other.key_names
        )

    @property
    def has_rowid_key(self) -> bool:
        """Whether its key is another name of the rowid (www.sqlite.org/lang_createtable.html)."""
        column = self.column(self.key_names[0]) if len(self.key) == 1 else None
        is_integer = column is not None and folded(column.declared_type) == "integer"
        return is_integer and not self.without_rowid and not self.key[0].endswith(" DESC")

    @property
    def unknown_collations(self) -> frozenset[str]:
        """The collations that it names, and SQLite does not have."""
        terms = (term for terms in (self.key, *self.uniques) for term in terms)
        return frozenset(name for term in terms for name in unknown_collations(term)).union(
            *(column.unknown_collations for column in self.columns)
        )

    def without_collations(self, names: Container[str]) -> TableDefinition:
        """Return the table without some collations."""
        return replace(
            self,
            columns=tuple(
                replace(
                    column,
                    constraints=tuple(
                        filter(None, (_without(text, names) for text in column.constraints))
                    ),
                )
                for column in self.columns
            ),
            key=tuple(_without(term, names) for term in self.key),
            uniques=tuple(tuple(_without(term, names) for term in terms) for terms in self.uniques),
        )

    @property
    def is_numbered(self) -> bool:
        """Whether its rows have no key of their own, and are numbered in their order."""
        return len(self.key) == 1 and self.key_names[0].rstrip("_") == ROW_NUMBER

    @property
    def row_order(self) -> str:
        """What sorts the rows of `t` as they were written; empty where nothing does."""
        if self.without_rowid:
            return ", ".join(f"t.{quoted(name)}" for name in self.key_names)
        names = ("rowid", "_rowid_", "oid")
        return next((f"t.{name}" for name in names if not self.column(name)), "")

    def relaxed(self) -> TableDefinition:
        """Return the table with nothing but names, types and keys: what always takes its rows."""
        stored = tuple(
            replace(
                column,
                constraints=tuple(
                    text for text in column.constraints if text.startswith("COLLATE")
                ),
            )
            for column in self.stored
        )
        return TableDefinition(self.name, stored, self.key)

    def create(self) -> str:
        """Return the statement that makes the table in an experiment database."""
        strict = ", STRICT" if self.strict else ""
        # STRICT knows TEXT alone; VARCHAR(64) is what AgentFarm's tables declare.
        id_type = "TEXT" if self.strict else "VARCHAR(64)"
        parts = [
            f"{SIMULATION_ID} {id_type} NOT NULL",
            *map(str, self.columns),
            f"PRIMARY KEY ({_led(self.key)})",
            *(f"UNIQUE ({_led(terms)})" for terms in self.uniques),
            *(f"CHECK {expression}" for expression in self.checks),
            f"FOREIGN KEY ({SIMULATION_ID}) REFERENCES simulations ({SIMULATION_ID})",
            *(
                f"FOREIGN KEY ({_led(map(quoted, key.columns))}) REFERENCES"
                f" {quoted(key.parent)} ({_led(map(quoted, key.parent_columns))}){key.actions}"
                for key in self.foreign_keys
            ),
        ]
        body = ",\n    ".join(parts)
        return f"CREATE TABLE {quoted(self.name)} (\n    {body}\n) WITHOUT ROWID{strict}"


@lru_cache(maxsize=4096)
def folded(name: str) -> str:
    """Return a name in lower case, as SQLite compares names: only A to Z have another case."""
    return name.translate(_LOWER_CASE)


@lru_cache(maxsize=1024)
def affinity(declared_type: str) -> str:
    """Return what a declared type does to values (www.sqlite.org/datatype3.html, section 3.1).

    INTEGER is NUMERIC here: to what is stored, they do the same.
    """
    lower = folded(declared_type)
    for affinity_, words in {
        "NUMERIC": ("int",),
        "TEXT": ("char", "clob", "text"),
        "BLOB": ("blob",),
        "REAL": ("real", "floa", "doub"),
    }.items():
        if any(word in lower for word in words):
            return affinity_
    return "NUMERIC" if lower and lower != "any" else "BLOB"


def without_simulation(table: TableDefinition) -> TableDefinition:
    """Return a table without its column `simulation_id`, taken out of its keys as well."""

    def others(terms: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(term for term in terms if folded(first_name(term)) != SIMULATION_ID)

    def pairs(foreign_key: ForeignKey) -> ForeignKey:
        kept = [
            (column, parent)
            for column, parent in zip_longest(foreign_key.columns, foreign_key.parent_columns)
            if column and folded(column) != SIMULATION_ID
        ]
        return foreign_key._replace(
            columns=tuple(column for column, _ in kept),
            parent_columns=tuple(parent for _, parent in kept if parent),
        )

    foreign_keys = map(pairs, table.foreign_keys)
    return replace(
        table,
        columns=tuple(column for column in table.columns if folded(column.name) != SIMULATION_ID),
        key=others(table.key),
        uniques=tuple(filter(None, map(others, table.uniques))),
        foreign_keys=tuple(key for key in foreign_keys if key.columns),
    )


def _without(text: str, names: Container[str]) -> str:
    """Return a piece of SQL without some collations."""
    for word, name in pairwise(list(tokens(text))):
        if word.keyword == "COLLATE" and name.name in names:
            return _without(
                f"{text[: word.start].rstrip()} {text[name.end :].lstrip()}".strip(), names
            )
    return text


def _led(terms: Iterable[str]) -> str:
    return ", ".join((SIMULATION_ID, *terms))
