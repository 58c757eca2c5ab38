"""Where files differ in the form of a table, all are read in a form that they share."""

from __future__ import annotations

from farm_merge.merge.inputs.mapping import Traits
from farm_merge.merge.plan.harmonize import harmonized
from farm_merge.merge.tables.structure import today
from tests.merge.values import shard, source, structure, table

KEYED = "CREATE TABLE T (k INTEGER PRIMARY KEY, v)"
KEYLESS = "CREATE TABLE t (k, v)"


def tables(*sources, have=None):
    """Return the definitions of the tables called t, and whether today's stay away."""
    found, alone = harmonized(list(sources), have)
    return [
        next(it.definition for it in made.mapping.tables if it.source.lower() == "t")
        for made in found
    ], alone


def keys(*sources, have=None):
    return [it.key_names for it in tables(*sources, have=have)[0]]


def merged(columns, *more):
    return structure(table(columns).create(), *more, merged_form=True)


def test_files_that_are_alike_stay_as_they_are():
    one, other = source("a.db", KEYED), source("b.db", KEYED)
    (first, second), alone = harmonized([one, other], None)
    assert alone
    assert first.mapping is second.mapping
    assert [it.definition.key_names for it in first.mapping.tables] == [("k",)]
    (again, _), _ = harmonized([first, second], None)
    assert again is first


def test_a_key_that_not_all_have_is_nobodys():
    assert keys(source("a.db", KEYED), source("b.db", KEYLESS)) == [("row_number",)] * 2
    other = source("b.db", "CREATE TABLE t (k, v PRIMARY KEY)")
    assert keys(source("a.db", KEYED), other) == [("row_number",)] * 2


def test_a_key_that_has_null_in_one_file_is_nobodys():
    holed = source("b.db", KEYED, traits=Traits("none", numbered=frozenset({"t"})))
    assert keys(source("a.db", KEYED), holed) == [("row_number",)] * 2


def test_keys_that_differ_in_direction_and_case_are_one():
    other = source("b.db", "CREATE TABLE t (K INT, v, PRIMARY KEY (K DESC))")
    assert keys(source("a.db", KEYED), other) == [("k",), ("K",)]


def test_the_key_of_a_table_that_is_there_stays():
    have = merged("k INTEGER PRIMARY KEY, v")
    assert keys(source("a.db", KEYED), source("b.db", KEYLESS), have=have) == [
        ("k",),
        ("row_number",),
    ]
    have = merged("row_number INTEGER PRIMARY KEY, k, v")
    assert keys(source("a.db", KEYED), have=have) == [("row_number",)]


def test_a_column_that_is_computed_in_one_file_is_stored_in_all():
    computed = source("a.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v AS (k + 1))")
    stored = source("b.db", KEYED)
    (first, second), _ = tables(computed, stored)
    assert not first.column("v").generated
    assert not second.column("v").generated
    (alone,), _ = tables(computed)
    assert alone.column("v").generated
    (late,), _ = tables(computed, have=merged("k INTEGER PRIMARY KEY, v"))
    assert not late.column("v").generated


def test_todays_tables_stay_away_where_no_file_has_them():
    agents = source("a.db", "CREATE TABLE Agents (id INTEGER PRIMARY KEY)")
    (found,), alone = harmonized([agents], None)
    assert alone
    assert [it.target for it in found.mapping.tables] == ["Agents"]
    for others, have in (([shard("s.db")], None), ([], today())):
        (found, *_), alone = harmonized([agents, *others], have)
        assert not alone
        assert [it.target for it in found.mapping.tables] == ["Agents_foreign"]
