"""One table that holds the rows of two, where files declare it differently."""

from __future__ import annotations

import pytest

from farm_merge.merge.plan.reconcile import is_stricter, plain_key, reconcile
from tests.merge.values import table

KEY = "k INT PRIMARY KEY"


def reconciled(have, new, *, options="", is_ours=False, is_there=False):
    have, new = table(have, options), table(new, options)
    return reconcile(have, new, "T", is_ours=is_ours, is_there=is_there)


def columns(found):
    return [str(column).replace('"', "") for column in found.table.columns]


@pytest.mark.parametrize(
    ("have", "new", "expected", "lost"),
    [
        ("v INT", "v INT", "v INT", ""),
        ("v INT NOT NULL", "v INT", "v INT", "NOT NULL of v"),
        ("v INT", "v INT NOT NULL", "v INT", "NOT NULL of v"),
        ("v INT NOT NULL", "v INT NOT NULL", "v INT NOT NULL", ""),
        ("v INT DEFAULT 5", "v INT DEFAULT 6", "v INT", ""),
        (
            "v INT CHECK (v > 0) DEFAULT 5",
            "v INT DEFAULT 5",
            "v INT DEFAULT 5",
            "CHECK (v > 0) of v",
        ),
        ("v COLLATE NOCASE", "v", "v COLLATE NOCASE", ""),  # the order of the rows that are there
        ("v", "v COLLATE NOCASE", "v", ""),
    ],
)
def test_a_column_keeps_what_both_ask_for(have, new, expected, lost):
    found = reconciled(f"{KEY}, {have}", f"{KEY}, {new}")
    assert columns(found)[1] == expected
    note = f"table t does not ask for {lost}, since not all files do"
    assert (found.refusal, found.notes) == ("", (note,) if lost else ())


def test_what_one_lacks_is_null():
    found = reconciled(f"{KEY}, v INT NOT NULL DEFAULT 5 CHECK (v <> 3)", KEY)
    assert columns(found) == ["k INT", "v INT CHECK (v <> 3)"]


def test_what_the_new_one_has_more_is_added_without_constraints():
    found = reconciled(KEY, f"a TEXT NOT NULL UNIQUE, {KEY}, b AS (a)")
    assert columns(found) == ["k INT", "a TEXT"]
    assert found.notes == (
        "computed column b of t is not carried",
        'table t does not ask for NOT NULL of a, UNIQUE ("a"), since not all files do',
    )


@pytest.mark.parametrize("is_there", [True, False])
def test_a_strict_table_gains_columns_of_another_and_stays_strict(is_there):
    have, new = table(KEY, "STRICT"), table(f"{KEY}, v ANY", "STRICT")
    found = reconcile(have, new, "T", is_ours=False, is_there=is_there)
    assert columns(found) == ["k INT", "v ANY"]
    assert found.table.strict
    assert not found.notes


@pytest.mark.parametrize(
    ("mine", "theirs", "clash"),
    [
        ("INT", "TEXT", True),
        ("TEXT", "INT", True),
        ("INT", "REAL", True),
        ("INT", "", True),
        ("", "TEXT", False),  # a column without a type changes nothing
        ("BLOB", "INT", False),
        ("INT", "BIGINT", False),
        ("INT", "DATETIME", False),
        ("TEXT", "VARCHAR(9)", False),
    ],
)
def test_types_clash_where_they_do_different_things_to_values(mine, theirs, clash):
    found = reconciled(f"{KEY}, v {mine}", f"{KEY}, v {theirs}")
    assert found.clashes == (("v",) if clash else ())
    assert found.table.column("v").declared_type == mine


@pytest.mark.parametrize(
    ("have", "new"),
    [
        ("a INT, b, PRIMARY KEY (a)", "a INT, b, PRIMARY KEY (b)"),
        ("a INT, b, PRIMARY KEY (a, b)", "a INT, b, PRIMARY KEY (b, a)"),
        ("a INT, b, PRIMARY KEY (a)", "a INT, b"),
        ("a INT, b, PRIMARY KEY (a COLLATE NOCASE)", "a INT, b, PRIMARY KEY (a)"),
    ],
)
@pytest.mark.parametrize(("is_there", "where"), [(True, "the output"), (False, "another input")])
def test_keys_that_differ_are_refused_with_both(have, new, is_there, where):
    found = reconciled(have, new, is_there=is_there)
    assert found.table == table(have)
    assert found.refusal.startswith("table T: its key is (")
    assert f"that of t in {where} is (" in found.refusal


def test_keys_that_differ_in_direction_and_case_are_the_same():
    assert reconciled("a, b, PRIMARY KEY (a DESC, b)", "A, B, PRIMARY KEY (A, B)").refusal == ""
    assert plain_key(['"A"  DESC', '"b" COLLATE NOCASE']) == ['"a"', '"b" collate nocase']


def test_uniques_checks_and_references_stay_where_both_have_them():
    both = "UNIQUE (v), CHECK (v > 0), FOREIGN KEY (v) REFERENCES p (k)"
    have = f"{KEY}, v INT, {both}, UNIQUE (v, k), CHECK (v < 9), FOREIGN KEY (v) REFERENCES q (k)"
    found = reconciled(have, f"{KEY}, v INT, {both}")
    assert (found.table.uniques, found.table.checks) == ((('"v"',),), ("(v > 0)",))
    assert [key.parent for key in found.table.foreign_keys] == ["p"]
    lost = 'UNIQUE ("v", "k"), CHECK (v < 9), (v) REFERENCES q'
    assert found.notes == (f"table t does not ask for {lost}, since not all files do",)
    assert reconciled(have, have).table == table(have)


def test_what_is_unique_in_an_output_stays_unique():
    """It has an index, and its rows keep it; whether the new ones do is tried."""
    have, new = f"{KEY}, v INT, UNIQUE (v), CHECK (v > 0)", f"{KEY}, v INT"
    found = reconciled(have, new, is_there=True).table
    assert found.uniques == (('"v"',),)
    assert found.checks == ()
    assert is_stricter(found, table(new))


def test_a_table_is_strict_where_both_are():
    have, new = table(f"{KEY}, v INT", "STRICT"), table(f"{KEY}, v INT")
    other = table(f"{KEY}, v TEXT", "STRICT")
    for is_there in (True, False):
        assert reconcile(have, have, "T", is_ours=False, is_there=is_there).table.strict
        for loose in (new, other):
            found = reconcile(have, loose, "T", is_ours=False, is_there=is_there)
            assert not found.table.strict
            assert "table t is not STRICT" in found.notes[0]


def test_a_column_of_any_type_has_no_type_where_a_table_is_not_strict():
    """There, ANY is a name like others, and makes numbers of texts that look like some."""
    strict, loose = table(f"{KEY}, v ANY", "STRICT"), table(f"{KEY}, w")
    for have, new in ((strict, loose), (loose, strict)):
        found = reconcile(have, new, "T", is_ours=False, is_there=False)
        assert {"v", "w"} == {text.strip() for text in columns(found)[1:]}


def test_a_column_that_is_computed_here_and_stored_there_is_refused():
    for have, new in (("v AS (k)", "v INT"), ("v INT", "v AS (k)")):
        found = reconciled(f"{KEY}, {have}", f"{KEY}, {new}")
        assert "column v is computed here and stored in another input" in found.refusal
    assert reconciled(f"{KEY}, v AS (k)", f"{KEY}, v AS (k + 1)").refusal == ""
    assert reconciled(f"{KEY}, v AS (k)", KEY).refusal == ""


def test_todays_tables_only_gain_columns():
    have = f"{KEY}, v INT NOT NULL DEFAULT 5 CHECK (v > 0), w AS (v)"
    found = reconciled(have, f"{KEY}, v INT, x TEXT NOT NULL", is_ours=True, is_there=True)
    assert columns(found)[:3] == [str(column).replace('"', "") for column in table(have).columns]
    assert columns(found)[3:] == ["x TEXT"]
    assert found.table.checks == table(have).checks


def test_todays_tables_refuse_files_that_lack_what_they_ask_for():
    have = f"{KEY}, v INT NOT NULL, w INT NOT NULL, x INT, y INT NOT NULL AS (v)"
    found = reconciled(have, KEY, is_ours=True)
    assert found.refusal == "table T lacks the column v; table T lacks the column w"
    assert reconciled(have, KEY).refusal == ""


@pytest.mark.parametrize(("more", "fits"), [(1998, True), (1999, False)])
def test_no_table_gets_more_columns_than_sqlite_allows(more, fits):
    """2,000, with the simulation_id."""
    names = ", ".join(f"c{number}" for number in range(more - 1000))
    have = f"k, {', '.join(f'd{number}' for number in range(1000))}, PRIMARY KEY (k)"
    found = reconciled(have, f"k, {names}, PRIMARY KEY (k)")
    assert (found.refusal == "") == fits
    if fits:
        assert len(found.table.columns) == 1999
    else:
        assert "2,000 columns, and SQLite allows 1,999" in found.refusal


@pytest.mark.parametrize(
    ("have", "new", "stricter"),
    [
        (KEY, KEY, False),
        (f"{KEY}, v UNIQUE", f"{KEY}, v", True),
        (f"{KEY}, v", f"{KEY}, v UNIQUE", False),
        (f"{KEY}, v COLLATE NOCASE", f"{KEY}, v", True),
        (f"{KEY}, v COLLATE NOCASE", f"{KEY}, V COLLATE nocase", False),
        (f"{KEY}, v NOT NULL", f"{KEY}, v", False),  # it is loosened
    ],
)
def test_an_output_is_stricter_in_what_cannot_be_loosened(have, new, stricter):
    assert is_stricter(table(have), table(new)) == stricter
