"""CREATE statements, read as SQLite reads them."""

from __future__ import annotations

from contextlib import closing, suppress

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sqlite_utils.create_table_parser import parse_checks, parse_uniques

from farm_merge.merge.tables.definition import ForeignKey, affinity, folded
from farm_merge.merge.tables.parser import parse_index, parse_table
from farm_merge.merge.tables.tokens import first_name
from farm_merge.sqlite import quoted, sqlite3


def kept(*statements, name="t"):
    """Return a statement as SQLite keeps it, the last of some that are run."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in statements:
            connection.execute(statement)
        asked = "SELECT sql FROM sqlite_schema WHERE name = ?"
        return connection.execute(asked, (name,)).fetchone()[0]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t (a, b)",
        "CREATE TABLE t (a INTEGER PRIMARY KEY DESC, b TEXT UNIQUE)",
        'CREATE TABLE "a ""b" ([c] INT /* , ) */ NOT NULL ON CONFLICT IGNORE, `d` DEFAULT (1, 2))'.replace(
            "(1, 2)", "(1 + (2))"
        ),
        "CREATE TABLE t (a TEXT CONSTRAINT n PRIMARY KEY, b REFERENCES t (a) ON UPDATE SET NULL MATCH SIMPLE NOT DEFERRABLE INITIALLY DEFERRED NOT NULL)",
        "CREATE TABLE t (a, b, CONSTRAINT k PRIMARY KEY (b, a) CONSTRAINT u UNIQUE (a) CHECK (a > ')'))",
        "CREATE TABLE t(a decimal(10, 5) default -1.5e-3, b varchar default 'it''s', c as (a) unique)",
        "CREATE TABLE t AS SELECT 1 AS x, 'a' AS y",
    ],
)
def test_a_definition_and_its_merged_form_are_one(sql):
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(sql)
        ((kept,),) = connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'table'")
        name = parse_table(kept).name.replace('"', '""')
        expected = [row[1] for row in connection.execute(f'PRAGMA table_xinfo("{name}")')]
        key = [
            row[1]
            for row in sorted(
                connection.execute(f'PRAGMA table_xinfo("{name}")'), key=lambda r: r[5]
            )
            if row[5]
        ]
        definition = parse_table(kept)
        assert [column.name for column in definition.columns] == expected
        assert list(definition.key_names) == key
        if key:
            again = parse_table(definition.create())
            assert again.merged
            assert again.create() == definition.create()


def test_an_index_and_its_merged_form_are_one():
    index = parse_index(
        "CREATE UNIQUE INDEX IF NOT EXISTS main.i ON t (a COLLATE nocase ASC, b+1) WHERE c"
    )
    assert parse_index(index.create()) == index
    assert index.where == "c"


def test_an_unfinished_statement_is_refused():
    with pytest.raises(ValueError, match="too early"):
        parse_table("CREATE TABLE t (a")


@pytest.mark.parametrize("rest", ["x)", "x INT", "x (", "x) WITHOUT", "PRIMARY KEY (a b"])
def test_what_is_no_statement_of_sqlites_is_refused_or_read_without_a_traceback(rest):
    with suppress(ValueError):
        parse_table(f"CREATE TABLE t (a, {rest}")


@pytest.mark.parametrize("end", ["", " ", " -- why", " /* why */", " -- why\n ;", ";"])
def test_what_follows_an_index_is_no_part_of_it(end):
    statement = kept("CREATE TABLE t (a)", f"CREATE INDEX i ON t (a) WHERE a > (1){end}", name="i")
    assert parse_index(statement).where == "a > (1)"


def test_what_is_in_front_of_an_index_is_the_simulation():
    index = parse_index('CREATE INDEX i ON t (simulation_id, "a" DESC)')
    assert index.terms == ('"a" DESC',)
    assert not index.unique
    assert parse_index("CREATE INDEX i ON t (SIMULATION_ID)").terms == ()
    assert parse_index("CREATE UNIQUE INDEX i ON t (a, simulation_id)").terms == (
        '"a"',
        '"simulation_id"',
    )


def test_what_follows_a_reference_is_kept():
    table = parse_table("CREATE TABLE t (a REFERENCES q (k) NOT NULL DEFAULT 1, b REFERENCES q)")
    first, second = table.columns
    assert first.constraints == ("NOT NULL", "DEFAULT 1")
    assert second.constraints == ()
    assert table.foreign_keys == (ForeignKey(("a",), "q", ("k",)), ForeignKey(("b",), "q", ()))


@pytest.mark.parametrize(
    ("written", "kept_as"),
    [
        ("ON DELETE CASCADE ON UPDATE RESTRICT", " ON DELETE CASCADE ON UPDATE RESTRICT"),
        ("ON DELETE SET NULL", ""),  # the simulation_id is never NULL
        ("ON UPDATE NO ACTION MATCH FULL DEFERRABLE INITIALLY DEFERRED", ""),
        ("NOT DEFERRABLE INITIALLY IMMEDIATE ON DELETE CASCADE", " ON DELETE CASCADE"),
    ],
)
def test_what_a_reference_does_is_kept_where_it_can_be(written, kept_as):
    for sql in (f"a REFERENCES q (k) {written}", f"a, FOREIGN KEY (a) REFERENCES q (k) {written}"):
        (found,) = parse_table(f"CREATE TABLE t ({sql})").foreign_keys
        assert found == ForeignKey(("a",), "q", ("k",), kept_as)


def test_a_merged_table_is_read_in_its_own_form():
    sql = "CREATE TABLE t (simulation_id TEXT, a, UNIQUE (simulation_id, a), PRIMARY KEY (simulation_id, a))"
    merged = parse_table(f"{sql} WITHOUT ROWID")
    assert merged.merged
    assert [column.name for column in merged.columns] == ["a"]
    assert (merged.key, merged.uniques) == (('"a"',), (('"a"',),))
    for own in (parse_table(sql), parse_table(f"{sql} WITHOUT ROWID", merged_form=False)):
        assert not own.merged
        assert own.key_names == ("simulation_id", "a")


@pytest.mark.parametrize("word", ["constraint", "primary", "unique", "check", "foreign"])
def test_a_column_may_be_called_like_a_constraint(word):
    table = parse_table(
        f'CREATE TABLE t ("{word}" int, [{word}2] text, `key` int CHECK ("key" > 0))'
    )
    assert [column.name for column in table.columns] == [word, f"{word}2", "key"]
    assert (table.key, table.uniques, table.checks) == ((), (), ())


# Any statement that SQLite takes: what it knows of the table, and what another parser reads.

BLANKS = st.sampled_from([" ", "  ", "\n", "\t", " /* , ) */ ", " -- ( 'x\n"])
NAMES = st.sampled_from(["a", "B", "c d", 'q"q', "key", "é", "ROWID", "it's", "check it", "[x"])
TYPES = st.sampled_from(
    ["", "INTEGER", "int", "TEXT", "VARCHAR(10)", "decimal( 10 , 5 )", "REAL", "BLOB", "a b c"]
)
EXPRESSIONS = st.sampled_from(
    ["(1)", "(1 + (2))", "('a)')", "(length('x''y') > 0)", "(1 /* ) */)", "( 2 <> 3 )"]
)
LITERALS = st.sampled_from(["1", "-1", "+.5", "- 2", "'it''s'", "NULL", "x'00'", "CURRENT_TIME"])
CONFLICTS = st.sampled_from(["", " ON CONFLICT IGNORE", " ON CONFLICT replace"])
ACTIONS = st.sampled_from(
    ["", " ON DELETE CASCADE", " ON UPDATE SET NULL", " MATCH FULL", " DEFERRABLE",
     " NOT DEFERRABLE INITIALLY DEFERRED", " ON DELETE NO ACTION ON UPDATE RESTRICT"]
)  # fmt: skip


@st.composite
def written_names(draw, name):
    """Write a name in one of the ways that SQL has for it."""
    marks = ['"{}"', "`{}`", "'{}'", "[{}]", "{}"]
    if not name.isalnum():
        marks = marks[:3]
    mark = draw(st.sampled_from(marks))
    return mark.format(name.replace(mark[0], mark[0] * 2) if mark[0] != "{" else name)


CONSTRAINTS = [
    CONFLICTS.map("NOT NULL{}".format),
    st.just("NULL"),
    CONFLICTS.map("UNIQUE{}".format),
    EXPRESSIONS.map("CHECK {}".format),
    st.one_of(LITERALS, EXPRESSIONS).map("DEFAULT {}".format),
    st.sampled_from(["COLLATE NOCASE", "COLLATE binary", 'collate "rtrim"']),
    st.builds("REFERENCES p{}{}".format, st.sampled_from(["", " (k)", '("k")']), ACTIONS),
]
COMPUTED = st.builds(
    "{}AS {}{}".format,
    st.sampled_from(["", "GENERATED ALWAYS "]),
    EXPRESSIONS,
    st.sampled_from(["", " STORED", " VIRTUAL"]),
)
NAMED = st.sampled_from(["", "", "CONSTRAINT n ", 'CONSTRAINT "a b" '])


@st.composite
def columns(draw, name, types, *, is_key):
    """Write a column, which is the whole key or not."""
    words = [draw(written_names(name)), draw(types)]
    kinds = draw(st.lists(st.sampled_from(CONSTRAINTS), max_size=2, unique_by=id))
    words += [draw(NAMED) + draw(kind) for kind in kinds]
    if is_key:
        order = draw(st.sampled_from(["", " ASC", " DESC"]))
        words.insert(draw(st.integers(2, len(words))), f"PRIMARY KEY{order}{draw(CONFLICTS)}")
    return draw(BLANKS).join(filter(None, words))


@st.composite
def table_constraints(draw, names, kind):
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    written = [draw(written_names(draw(st.sampled_from([name, name.upper()])))) for name in chosen]
    if kind == "FOREIGN KEY":
        parents = "(k)" if len(chosen) == 1 else "(k, l)"
        return f"FOREIGN KEY ({', '.join(written)}) REFERENCES p {parents}{draw(ACTIONS)}"
    ends = st.sampled_from(["", " DESC", " COLLATE NOCASE", " asc"])
    terms = ", ".join(name + draw(ends) for name in written)
    return f"{draw(NAMED)}{kind} ({terms}){draw(CONFLICTS)}"


@st.composite
def statements(draw):
    """Draw a CREATE TABLE statement, which SQLite may refuse for other reasons than its grammar."""
    key = draw(st.sampled_from(["no key", "column", "table"]))
    strict = draw(st.booleans())
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique_by=str.lower))
    types = st.sampled_from(["INT", "text", "ANY"]) if strict else TYPES
    parts = [
        draw(columns(name, types, is_key=key == "column" and number == 0))
        for number, name in enumerate(names)
    ]
    if draw(st.booleans()):
        parts.append(f"z{' INT' if strict else ''} {draw(COMPUTED)}")
    kinds = draw(st.lists(st.sampled_from(["UNIQUE", "FOREIGN KEY"]), max_size=1))
    kinds += ["PRIMARY KEY"] if key == "table" else []
    parts += [draw(table_constraints(names, kind)) for kind in kinds]
    parts += draw(st.lists(EXPRESSIONS.map("CHECK {}".format), max_size=1))
    rowid = ["WITHOUT ROWID"] if key != "no key" and draw(st.booleans()) else []
    options = ", ".join([*rowid, *(["STRICT"] if strict else [])])
    comma = draw(st.sampled_from([",", " ,\n", ", -- , x\n"]))
    return f"CREATE TABLE{draw(BLANKS)}t ({comma.join(parts)}) {options}"


def bare(expression):
    """Return an expression without the parentheses around it, and blanks at its ends."""
    text = expression.strip()
    return text[1:-1].strip() if text.startswith("(") else text


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(statements())
def test_a_table_is_what_sqlite_and_another_parser_know_of_it(statement):
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute(statement)
        except sqlite3.OperationalError:
            assume(False)
        table = parse_table(kept(statement))
        known = connection.execute("PRAGMA table_xinfo(t)").fetchall()
        key = [row[1] for row in sorted(known, key=lambda row: row[5]) if row[5]]
        assert list(map(folded, table.key_names)) == list(map(folded, key))
        for column, (_, name, declared, not_null, default, place, hidden) in zip(
            table.columns, known, strict=True
        ):
            assert column.name == name
            assert affinity(column.declared_type) == affinity(declared)
            assert column.generated == (hidden in {2, 3})
            assert column.not_null or not not_null or place
            assert not_null or not column.not_null
            texts = [text for text in column.constraints if text.startswith("DEFAULT ")]
            wanted = [] if default is None else ["".join(default.split())]
            assert ["".join(bare(text[8:]).split()) for text in texts[-1:]] == wanted
        ((without_rowid, strict),) = connection.execute(
            "SELECT wr, strict FROM pragma_table_list WHERE name = 't' AND schema = 'main'"
        )
        assert (table.without_rowid, table.strict) == (bool(without_rowid), bool(strict))
        keys = {}
        for number, _, parent, own, theirs, *_ in connection.execute("PRAGMA foreign_key_list(t)"):
            keys.setdefault((number, parent), []).append((own, theirs))
        found = [
            (tuple(map(folded, key.columns)), key.parent, key.parent_columns)
            for key in table.foreign_keys
        ]
        assert sorted(found) == sorted(
            (
                tuple(folded(own) for own, _ in pairs),
                parent,
                () if pairs[0][1] is None else tuple(theirs for _, theirs in pairs),
            )
            for (_, parent), pairs in keys.items()
        )
    uniques = [tuple(map(first_name, terms)) for terms in table.uniques]
    assert uniques == [
        tuple(column.name for column in unique.columns) for unique in parse_uniques(statement)
    ]
    own = {
        text.removeprefix("CHECK ")
        for column in table.columns
        for text in column.constraints
        if text.startswith("CHECK")
    }
    assert set(map(bare, own | set(table.checks))) == {
        check.check.strip() for check in parse_checks(statement)
    }


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(statements())
def test_any_table_and_its_merged_form_are_one(statement):
    try:
        table = parse_table(kept(statement))
    except sqlite3.OperationalError:
        assume(False)
    assume(table.key)
    again = parse_table(table.create())
    assert again.merged
    assert (again.columns, again.key, again.uniques) == (table.columns, table.key, table.uniques)
    assert (again.checks, again.strict) == (table.checks, table.strict)
    assert again.create() == table.create()
    assert quoted(table.columns[0].name) in table.create()
