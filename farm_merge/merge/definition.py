"""Tables as their authors wrote them, and as they stand in an experiment database.

A definition says what a table is in its own run. `TableDefinition.create` puts `simulation_id` in
front of every key, and `parse_table` takes it off again, so a table and its merged form have one
definition. What SQLite tells of a table in pragmas lacks CHECK, COLLATE and the expressions of
generated columns, so the text of CREATE TABLE is read (https://www.sqlite.org/lang_createtable.html);
expressions are carried as they are written, never understood.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

from farm_merge.driver import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = [
    "ROW_NUMBER",
    "SIMULATION_ID",
    "ColumnDefinition",
    "ForeignKey",
    "IndexDefinition",
    "TableDefinition",
    "affinity",
    "folded",
    "parse_index",
    "parse_table",
    "without_simulation",
]

SIMULATION_ID = "simulation_id"

ROW_NUMBER = "row_number"
"""The key of tables that had none; with underscores where that is taken."""

_LOWER_CASE = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<literal>[xX]?'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
      | (?P<word>[^\W\d][\w$]*)
      | (?P<number>\.?\d(?:[eE][+-]|[\w.])*)
      | (?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
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


class _Token(NamedTuple):
    kind: str
    text: str
    start: int
    end: int

    @property
    def keyword(self) -> str:
        return self.text.upper() if self.kind in {"word", "sign"} else ""

    @property
    def name(self) -> str:
        """The identifier that this token writes, without its quotes."""
        if self.kind == "quoted" or (self.kind == "literal" and self.text.startswith("'")):
            opening, inner = self.text[0], self.text[1:-1]
            return inner if opening == "[" else inner.replace(opening * 2, opening)
        return self.text


@dataclass(frozen=True, slots=True)
class ColumnDefinition:
    """A column: its name, its declared type, and its constraints as they are written.

    Attributes:
        name: The column.
        declared_type: Empty where none is declared.
        constraints: NOT NULL, DEFAULT, CHECK, COLLATE and GENERATED; keys stand in the table.
        generated: Whether its values are computed.
    """

    name: str
    declared_type: str
    constraints: tuple[str, ...] = ()
    generated: bool = False

    @property
    def not_null(self) -> bool:
        """Whether NULL is refused."""
        return "NOT NULL" in self.constraints

    def __str__(self) -> str:
        return " ".join(filter(None, (quoted(self.name), self.declared_type, *self.constraints)))


@dataclass(frozen=True, slots=True)
class ForeignKey:
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
        return {folded(each.name): each for each in self.columns}

    @cached_property
    def stored(self) -> tuple[ColumnDefinition, ...]:
        """The columns that hold values of their own."""
        return tuple(each for each in self.columns if not each.generated)

    @cached_property
    def key_names(self) -> tuple[str, ...]:
        """The columns of the primary key."""
        return tuple(_first_name(term) for term in self.key)

    @property
    def is_numbered(self) -> bool:
        """Whether its rows have no key of their own, and are numbered in their order."""
        return len(self.key) == 1 and self.key_names[0].rstrip("_") == ROW_NUMBER

    @property
    def row_order(self) -> str:
        """What sorts the rows of `t` as they were written; empty where nothing tells."""
        if self.without_rowid:
            return ", ".join(f"t.{quoted(name)}" for name in self.key_names)
        names = ("rowid", "_rowid_", "oid")
        return next((f"t.{name}" for name in names if not self.column(name)), "")

    def relaxed(self) -> TableDefinition:
        """Return the table with nothing but names, types and keys: what always takes its rows."""
        stored = tuple(
            replace(each, constraints=tuple(c for c in each.constraints if c.startswith("COLLATE")))
            for each in self.columns
            if not each.generated
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
                f"FOREIGN KEY ({_led(map(quoted, each.columns))}) REFERENCES"
                f" {quoted(each.parent)} ({_led(map(quoted, each.parent_columns))}){each.actions}"
                for each in self.foreign_keys
            ),
        ]
        body = ",\n    ".join(parts)
        return f"CREATE TABLE {quoted(self.name)} (\n    {body}\n) WITHOUT ROWID{strict}"


def folded(name: str) -> str:
    """Return a name in lower case, as SQLite compares names: only A to Z have another case."""
    return name.translate(_LOWER_CASE)


@lru_cache(maxsize=1024)
def affinity(declared_type: str) -> str:
    """Return what a declared type does to values (www.sqlite.org/datatype3.html, section 3.1).

    INTEGER is NUMERIC here: to what is stored, they do the same.
    """
    upper = declared_type.upper()
    for affinity_, words in {
        "NUMERIC": ("INT",),
        "TEXT": ("CHAR", "CLOB", "TEXT"),
        "BLOB": ("BLOB",),
        "REAL": ("REAL", "FLOA", "DOUB"),
    }.items():
        if any(word in upper for word in words):
            return affinity_
    return "NUMERIC" if upper and upper != "ANY" else "BLOB"


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
    led = index.terms and folded(_first_name(index.terms[0])) == SIMULATION_ID
    return replace(index, terms=index.terms[1:]) if led else index


def _led(terms: Iterable[str]) -> str:
    return ", ".join((SIMULATION_ID, *terms))


def _first_name(term: str) -> str:
    return next(_tokens(term)).name


def without_simulation(table: TableDefinition) -> TableDefinition:
    """Return a table without its column `simulation_id`, taken out of its keys as well."""

    def others(terms: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(term for term in terms if folded(_first_name(term)) != SIMULATION_ID)

    def pairs(foreign_key: ForeignKey) -> ForeignKey:
        kept = [
            (column, parent)
            for column, parent in zip_longest(foreign_key.columns, foreign_key.parent_columns)
            if column and folded(column) != SIMULATION_ID
        ]
        return replace(
            foreign_key,
            columns=tuple(column for column, _ in kept),
            parent_columns=tuple(parent for _, parent in kept if parent),
        )

    foreign_keys = map(pairs, table.foreign_keys)
    return replace(
        table,
        columns=tuple(each for each in table.columns if folded(each.name) != SIMULATION_ID),
        key=others(table.key),
        uniques=tuple(filter(None, map(others, table.uniques))),
        foreign_keys=tuple(each for each in foreign_keys if each.columns),
    )


def _tokens(sql: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(sql):
        if match.lastgroup and match.lastgroup != "space":
            yield _Token(match.lastgroup, match.group(), match.start(), match.end())


class _Parser:
    """Reads one statement from left to right."""

    def __init__(self, sql: str) -> None:
        self._sql = sql
        self._tokens = [*_tokens(sql), _Token("end", "", len(sql), len(sql))]
        self._at = 0

    def table(self) -> TableDefinition:
        self._skip_to_name("TABLE")
        table = TableDefinition(self._name(), ())
        self._expect("(")
        while True:
            in_constraints = bool(table.columns) and self._peek in _STARTS_TABLE_CONSTRAINT
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
            table = replace(table, key=self._terms())
        elif word == "UNIQUE":
            table = replace(table, uniques=(*table.uniques, self._terms()))
        elif word == "CHECK":
            table = replace(table, checks=(*table.checks, self._group()))
        else:
            self._expect("KEY")
            names = tuple(_first_name(term) for term in self._terms())
            self._expect("REFERENCES")
            table = self._references(table, names)
        self._conflict()
        return table

    def _references(self, table: TableDefinition, columns: tuple[str, ...]) -> TableDefinition:
        parent = self._name()
        names = tuple(_first_name(term) for term in self._terms()) if self._peek == "(" else ()
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

    def _next(self) -> _Token:
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
            raise ValueError(f"{self._tokens[self._at].text!r} stands where {keyword} should")


def _canonical(term: str) -> str:
    """Write a term that is a plain column in one way: its quoted name, its collation, DESC."""
    tokens = list(_tokens(term))
    keywords = [token.keyword for token in tokens]
    if keywords[-1:] == ["ASC"]:
        return _canonical(term[: tokens[-1].start].rstrip())
    if len(tokens) == 1 or (keywords[1] in {"COLLATE", "DESC"} and tokens[0].kind != "sign"):
        tail = term[tokens[0].end :].strip()
        return " ".join(filter(None, (quoted(tokens[0].name), tail)))
    return term
