"""What a table is: names, types, keys and constraints, by SQLite's own rules."""

from __future__ import annotations

from contextlib import closing

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from farm_merge.merge.tables.definition import (
    IndexDefinition,
    affinity,
    folded,
    without_simulation,
)
from farm_merge.sqlite import quoted, sqlite3
from tests.merge.values import column, table

AFFINITIES = {
    ("text", "text"): "TEXT",
    ("text", "integer"): "BLOB",
    ("integer", "integer"): "NUMERIC",
    ("real", "real"): "REAL",
}
"""What becomes of the text 12 and of the number 12."""


@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                ["int", "CHAR", "clob", "TEXT", "blob", "REAL", "floa", "doub", "any", "POINT",
                 "JSON", "DATETIME", "BOOLEAN", "VARYING", "decimal(10,5)", "STRİNG", "intéger"]
            ),
            st.text("abcdefilnrtx", min_size=1, max_size=6),
        ),
        max_size=3,
    ).map(" ".join)
)  # fmt: skip
@example("FLOATING POINT")  # an integer
@example("ANY")
@example("")
def test_a_type_does_to_values_what_sqlite_does(declared_type):
    with closing(sqlite3.connect(":memory:")) as connection:
        name = f'"{declared_type}"' if declared_type else ""
        connection.execute(f"CREATE TABLE t (v {name})")
        connection.execute("INSERT INTO t VALUES ('12'), (12)")
        became = tuple(kind for (kind,) in connection.execute("SELECT typeof(v) FROM t"))
    found = AFFINITIES[became]
    if folded(declared_type) == "any":
        assert affinity(declared_type) == "BLOB"  # in STRICT tables, which alone know it
    else:
        assert affinity(declared_type) == found


NAMES = st.text(
    st.one_of(
        st.sampled_from("aAzZéÉßKki\u017f\u212a\u0130\u0131"),
        st.characters(exclude_categories=["Cs"]),
    ),
    min_size=1,
    max_size=3,
).filter(lambda name: "\0" not in name)


@given(NAMES, NAMES)
@example("É", "é")
@example("k", "\u212a")  # the sign for kelvin, whose lower case is k
@example("Ab", "aB")
def test_names_are_the_same_where_they_are_for_sqlite(one, other):
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute(f"CREATE TABLE t ({quoted(one)}, {quoted(other)})")
            are_same = False
        except sqlite3.OperationalError:
            are_same = True
    assert (folded(one) == folded(other)) == are_same


def test_an_index_is_unique_where_it_is_declared_so():
    index = IndexDefinition("i", "t", ('"a"', '"b" DESC'))
    assert index.create() == 'CREATE INDEX "i" ON "t" (simulation_id, "a", "b" DESC)'
    index = IndexDefinition("i", "t", ("lower(a)",), unique=True, where="a > 0")
    assert index.create() == (
        'CREATE UNIQUE INDEX "i" ON "t" (simulation_id, lower(a)) WHERE a > 0'
    )


@pytest.mark.parametrize(
    ("key", "is_numbered"),
    [
        ("row_number", True),
        ("row_number_", True),
        ("a", False),
        ("row_number, a", False),
        ("a, row_number", False),
        ("row_numbers", False),
    ],
)
def test_rows_are_numbered_where_the_number_is_the_whole_key(key, is_numbered):
    columns = "row_number INT, row_number_ INT, row_numbers, a"
    assert table(f"{columns}, PRIMARY KEY ({key})").is_numbered == is_numbered


def test_rows_without_a_key_are_not_numbered_yet():
    assert not table("row_number INT, a").is_numbered


@pytest.mark.parametrize(
    ("columns", "options"),
    [
        ("a INTEGER PRIMARY KEY, b", ""),
        ("a integer, b, PRIMARY KEY (a)", ""),
        ("a INTEGER, b, PRIMARY KEY (a DESC)", ""),
        ("a INTEGER PRIMARY KEY DESC, b", ""),
        ("a INT PRIMARY KEY, b", ""),
        ("a INTEGER PRIMARY KEY, b", "WITHOUT ROWID"),
        ("a INTEGER, b, PRIMARY KEY (a, b)", ""),
        ("a INTEGER, b", ""),
    ],
)
def test_a_key_is_the_rowid_where_it_is_for_sqlite(columns, options):
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"CREATE TABLE t ({columns}) {options}")
        connection.execute("INSERT INTO t VALUES (7, 'x')")
        try:
            (row,) = connection.execute("SELECT rowid = a FROM t").fetchone()
        except sqlite3.OperationalError:  # no rowid at all
            row = False
    assert table(columns, options).has_rowid_key == bool(row)


@pytest.mark.parametrize(
    ("columns", "options", "order"),
    [
        ("a", "", "t.rowid"),
        ("rowid", "", "t._rowid_"),
        ("RowID, _rowid_", "", "t.oid"),
        ("rowid, _rowid_, oid", "", ""),
        ('a, "b c", PRIMARY KEY ("b c", a)', "WITHOUT ROWID", 't."b c", t."a"'),
    ],
)
def test_rows_are_sorted_as_they_were_written(columns, options, order):
    assert table(columns, options).row_order == order


def test_a_relaxed_table_takes_any_row_in_the_same_order():
    strict = table(
        "a TEXT COLLATE NOCASE NOT NULL, b INT CHECK (b > 0) DEFAULT 5, c AS (b + 1),"
        " PRIMARY KEY (a), UNIQUE (b), FOREIGN KEY (b) REFERENCES t (b)",
        "STRICT",
    )
    relaxed = strict.relaxed()
    assert [str(it) for it in relaxed.columns] == ['"a" TEXT COLLATE "NOCASE"', '"b" INT']
    assert (relaxed.key, relaxed.uniques, relaxed.foreign_keys) == (strict.key, (), ())
    assert not relaxed.strict


def test_a_table_extends_another_by_columns_at_its_end():
    first = table("a INT PRIMARY KEY, b")
    assert table("a INT PRIMARY KEY, b, c").extends(first)
    assert first.extends(first)
    for other in ("a INT PRIMARY KEY, c, b", "a TEXT PRIMARY KEY, b, c", "a INT, b, c"):
        assert not table(other).extends(first)
    assert not first.extends(table("a INT PRIMARY KEY, b, c"))


def test_a_table_is_like_another_of_the_same_names_and_key():
    first = table("a INT PRIMARY KEY, b")
    assert first.is_like(table("a TEXT PRIMARY KEY, b NOT NULL"))
    for other in ("b, a INT PRIMARY KEY", "a INT, b PRIMARY KEY", "a PRIMARY KEY, b, c"):
        assert not first.is_like(table(other))


def test_columns_are_found_in_any_case_that_sqlite_knows():
    found = table('Name, "É"')
    assert found.column("nAME") is found.columns[0]
    assert found.column("É")
    assert found.column("é") is None


def test_collations_are_named_and_can_be_left_out():
    found = table(
        "a TEXT COLLATE mine, b COLLATE NOCASE, c, PRIMARY KEY (a COLLATE other DESC),"
        " UNIQUE (b COLLATE mine, c)"
    )
    assert found.unknown_collations == {"mine", "other"}
    plain = found.without_collations({"mine", "other"})
    assert [str(it) for it in plain.columns] == ['"a" TEXT', '"b" COLLATE "NOCASE"', '"c"']
    assert plain.key == ('"a" DESC',)
    assert plain.uniques == (('"b"', '"c"'),)
    index = IndexDefinition("i", "t", ('"a" COLLATE mine', "b COLLATE mine COLLATE NOCASE"))
    assert index.unknown_collations == {"mine"}
    assert index.without_collations({"mine"}).terms == ('"a"', "b COLLATE NOCASE")


def test_a_simulation_id_is_taken_out_of_every_key():
    found = without_simulation(
        table(
            "simulation_ID TEXT, a, b, PRIMARY KEY (simulation_id, a), UNIQUE (simulation_id),"
            " UNIQUE (b, simulation_id), FOREIGN KEY (simulation_id) REFERENCES s,"
            " FOREIGN KEY (simulation_id, b) REFERENCES p (simulation_id, k)"
        )
    )
    assert [it.name for it in found.columns] == ["a", "b"]
    assert found.key_names == ("a",)
    assert found.uniques == (('"b"',),)
    (key,) = found.foreign_keys
    assert (key.columns, key.parent, key.parent_columns) == (("b",), "p", ("k",))


def test_a_column_writes_itself():
    assert str(column('"a ""b" VARCHAR(4) NOT NULL DEFAULT 1')) == (
        '"a ""b" VARCHAR(4) NOT NULL DEFAULT 1'
    )
    assert not column("a NULL").not_null
    assert column("a NOT NULL").not_null


@pytest.mark.parametrize(("options", "id_type"), [("", "VARCHAR(64)"), ("STRICT", "TEXT")])
def test_a_table_is_made_led_by_the_simulation(options, id_type):
    made = table("a INT NOT NULL, b TEXT, PRIMARY KEY (a DESC), UNIQUE (b)", options).create()
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE simulations (simulation_id TEXT PRIMARY KEY)")
        connection.execute(made)
        columns = connection.execute("PRAGMA table_info(t)").fetchall()
        assert columns[0][1:3] == ("simulation_id", id_type)
        places = sorted((row[5], row[1]) for row in columns if row[5])
        assert places == [(1, "simulation_id"), (2, "a")]
        lists = connection.execute("PRAGMA index_list(t)").fetchall()
        unique = next(name for _, name, _, origin, _ in lists if origin == "u")
        found = [name for _, _, name in connection.execute(f"PRAGMA index_info({unique})")]
        assert found == ["simulation_id", "b"]
        with pytest.raises(sqlite3.OperationalError, match="rowid"):
            connection.execute("SELECT rowid FROM t")
