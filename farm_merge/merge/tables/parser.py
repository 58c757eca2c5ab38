"""Reading CREATE TABLE and CREATE INDEX as SQLite keeps them in `sqlite_schema`.

What pragmas know of a table lacks CHECK, COLLATE and the expressions of generated
columns, so the text is read (https://www.sqlite.org/lang_createtable.html); expressions are carried
as they are written, never understood.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from farm_merge.merge.tables.definition import (
    SIMULATION_ID,
    ColumnDefinition,
    ForeignKey,
    IndexDefinition,
    TableDefinition,
    folded,
    without_simulation,
)
from farm_merge.merge.tables.tokens import Token, first_name, tokens
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["parse_index", "parse_table"]

_STARTS_CONSTRAINT = frozenset(
    [
        "CONSTRAINT",
        "PRIMARY",
        "NOT",
        "NULL",
        "UNIQUE",
        "CHECK",
        "DEFAULT",
        "COLLATE",
        "REFERENCES",
        "GENERATED",
        "AS",
    ]
)
_STARTS_TABLE_CONSTRAINT = frozenset(["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"])


def parse_table(sql: str, *, merged_form: bool = True) -> TableDefinition:
    """Read a CREATE TABLE statement as SQLite keeps it in `sqlite_schema`.

    Args:
        sql: The statement.
        merged_form: Whether to take a table back to its run's form where `simulation_id` leads its
            primary key and it is WITHOUT ROWID, as `TableDefinition.create` writes it.

    Raises:
        ValueError: If the text is not understood.
    """
    table = _Parser(sql).table()
    led = merged_form and bool(table.key) and folded(table.key_names[0]) == SIMULATION_ID
    if led and table.without_rowid:
        return replace(without_simulation(table), merged=True)
    return table


def parse_index(sql: str) -> IndexDefinition:
    """Read a CREATE INDEX statement; `simulation_id` in front is taken off.

    Raises:
        ValueError: If the text is not understood.
    """
    index = _Parser(sql).index()
    led = index.terms and folded(first_name(index.terms[0])) == SIMULATION_ID
    return replace(index, terms=index.terms[1:]) if led else index


class _Parser:
    """Reads one statement from left to right."""

    def __init__(self, sql: str) -> None:
        self._sql = sql
        self._tokens = [*tokens(sql), Token("end", "", len(sql), len(sql))]
        self._at = 0

    def table(self) -> TableDefinition:
        self._skip_to_name("TABLE")
        table = TableDefinition(self._name(), ())
        self._expect("(")
        while True:
            in_constraints = self._peek in _STARTS_TABLE_CONSTRAINT
            table = self._table_constraint(table) if in_constraints else self._column(table)
            if not self._accept(",") and self._peek not in _STARTS_TABLE_CONSTRAINT:
                break
        self._expect(")")
        options = {token.keyword for token in self._tokens[self._at :]}
        return replace(table, strict="STRICT" in options, without_rowid="ROWID" in options)

    def index(self) -> IndexDefinition:
        unique = self._accept("CREATE") and self._accept("UNIQUE")
        self._skip_to_name("INDEX")
        name = self._name()
        self._expect("ON")
        table = self._name()
        terms = self._terms()
        where = self._rest() if self._accept("WHERE") else ""
        return IndexDefinition(name, table, terms, bool(unique), where)

    def _column(self, table: TableDefinition) -> TableDefinition:
        name = self._name()
        declared_type = self._slice_until(lambda word: word in _STARTS_CONSTRAINT)
        table = replace(table, columns=(*table.columns, ColumnDefinition(name, declared_type)))
        while self._peek in _STARTS_CONSTRAINT:
            table = self._column_constraint(table)
        return table

    def _column_constraint(  # noqa: C901  (one branch for each kind that SQLite knows)
        self, table: TableDefinition
    ) -> TableDefinition:
        column = table.columns[-1]
        word = self._next().keyword
        added: str | None = None
        if word == "CONSTRAINT":
            self._name()
        elif word == "PRIMARY":
            self._expect("KEY")
            order = self._order()
            self._conflict()
            self._accept("AUTOINCREMENT")
            table = replace(table, key=(quoted(column.name) + order,))
        elif word == "NOT":
            self._expect("NULL")
            self._conflict()
            added = "NOT NULL"
        elif word == "NULL":
            self._conflict()
        elif word == "UNIQUE":
            self._conflict()
            table = replace(table, uniques=(*table.uniques, (quoted(column.name),)))
        elif word == "CHECK":
            added = f"CHECK {self._group()}"
        elif word == "DEFAULT":
            added = f"DEFAULT {self._default()}"
        elif word == "COLLATE":
            added = f"COLLATE {quoted(self._name())}"
        elif word == "REFERENCES":
            table = self._references(table, (column.name,))
        else:  # GENERATED ALWAYS AS, or AS alone
            if word == "GENERATED":
                self._accept("ALWAYS")
                self._expect("AS")
            text = f"GENERATED ALWAYS AS {self._group()}"
            kind = "STORED" if self._accept("STORED") else "VIRTUAL"
            self._accept("VIRTUAL")
            column = replace(column, generated=True)
            added = f"{text} {kind}"
        if added and added not in column.constraints:
            column = replace(column, constraints=(*column.constraints, added))
        return replace(table, columns=(*table.columns[:-1], column))

    def _table_constraint(self, table: TableDefinition) -> TableDefinition:
        word = self._next().keyword
        if word == "CONSTRAINT":
            self._name()
            return table
        if word == "PRIMARY":
            self._expect("KEY")
            table = replace(table, key=_without_idle_order(table, self._terms()))
        elif word == "UNIQUE":
            table = replace(table, uniques=(*table.uniques, self._terms()))
        elif word == "CHECK":
            table = replace(table, checks=(*table.checks, self._group()))
        else:
            self._expect("KEY")
            names = tuple(first_name(term) for term in self._terms())
            self._expect("REFERENCES")
            table = self._references(table, names)
        self._conflict()
        return table

    def _references(self, table: TableDefinition, columns: tuple[str, ...]) -> TableDefinition:
        parent = self._name()
        names = tuple(first_name(term) for term in self._terms()) if self._peek == "(" else ()
        actions = ""
        while self._peek in {"ON", "MATCH", "NOT", "DEFERRABLE"}:
            if self._peek == "NOT" and self._tokens[self._at + 1].keyword != "DEFERRABLE":
                break
            word = self._next().keyword
            if word == "ON":
                event, action = self._next().keyword, self._next().keyword
                if action in {"SET", "NO"}:
                    self._next()
                elif action in {"CASCADE", "RESTRICT"}:
                    # SET NULL would reach simulation_id too, which is never NULL.
                    actions += f" ON {event} {action}"
            elif word == "MATCH":
                self._name()
            elif word == "DEFERRABLE" and self._accept("INITIALLY"):
                self._next()
        foreign_key = ForeignKey(columns, parent, names, actions)
        return replace(table, foreign_keys=(*table.foreign_keys, foreign_key))

    def _terms(self) -> tuple[str, ...]:
        """Read a parenthesised list of indexed columns; each comes back as it is written."""
        self._expect("(")
        terms = []
        while True:
            text = self._slice_until(lambda word: word == "AUTOINCREMENT")
            self._accept("AUTOINCREMENT")
            terms.append(_canonical(text))
            if not self._accept(","):
                break
        self._expect(")")
        return tuple(terms)

    def _order(self) -> str:
        if self._accept("DESC"):
            return " DESC"
        self._accept("ASC")
        return ""

    def _conflict(self) -> None:
        # Which row wins on a conflict was the run's matter; a merge must not drop rows by it.
        if self._accept("ON"):
            self._expect("CONFLICT")
            self._next()

    def _default(self) -> str:
        if self._peek == "(":
            return self._group()
        sign = self._next().text if self._peek in {"+", "-"} else ""
        return sign + self._next().text

    def _group(self) -> str:
        """Read balanced parentheses and return their text."""
        start, depth = self._tokens[self._at].start, 0
        while True:
            token = self._next()
            depth += (token.keyword == "(") - (token.keyword == ")")
            if depth == 0:
                return self._sql[start : token.end]

    def _slice_until(self, stop: Callable[[str], bool]) -> str:
        """Return the text up to a comma, a closing parenthesis or a stop word."""
        start, end = self._tokens[self._at].start, self._tokens[self._at].start
        while self._peek not in {",", ")"} and not stop(self._peek):
            if self._peek == "(":
                self._group()
            else:
                self._next()
            end = self._tokens[self._at - 1].end
        return self._sql[start:end]

    def _rest(self) -> str:
        return self._sql[self._tokens[self._at].start : self._tokens[-2].end]

    def _skip_to_name(self, kind: str) -> None:
        while self._next().keyword != kind:
            pass
        if self._accept("IF"):
            self._expect("NOT")
            self._expect("EXISTS")
        if self._tokens[self._at + 1].text == ".":
            self._at += 2

    @property
    def _peek(self) -> str:
        return self._tokens[self._at].keyword

    def _next(self) -> Token:
        token = self._tokens[self._at]
        if token.kind == "end":
            raise ValueError("the statement ends too early")
        self._at += 1
        return token

    def _name(self) -> str:
        return self._next().name

    def _accept(self, keyword: str) -> bool:
        found = self._peek == keyword
        self._at += found
        return found

    def _expect(self, keyword: str) -> None:
        if not self._accept(keyword):
            raise ValueError(f"{self._tokens[self._at].text!r} is where {keyword} should be")


def _without_idle_order(table: TableDefinition, key: tuple[str, ...]) -> tuple[str, ...]:
    """Return a key without the DESC that does not keep an INTEGER from being the rowid.

    At the column itself, DESC does (https://www.sqlite.org/lang_createtable.html#rowid).
    """
    column = table.column(first_name(key[0])) if len(key) == 1 else None
    is_rowid = column is not None and column.declared_type.upper() == "INTEGER"
    return (quoted(first_name(key[0])),) if is_rowid else key


def _canonical(term: str) -> str:
    """Write a term that is a plain column in one way: its quoted name, its collation, DESC."""
    words = list(tokens(term))
    keywords = [word.keyword for word in words]
    if keywords[-1:] == ["ASC"]:
        return _canonical(term[: words[-1].start].rstrip())
    if len(words) == 1 or (keywords[1] in {"COLLATE", "DESC"} and words[0].kind != "sign"):
        tail = term[words[0].end :].strip()
        return " ".join(filter(None, (quoted(words[0].name), tail)))
    return term
