"""SQLite makes the tables of an output once in memory, and shows what it refuses."""

from __future__ import annotations

import pytest

from farm_merge.merge.tables.definition import IndexDefinition
from farm_merge.merge.tables.trial import Candidate, accepted
from tests.merge.values import table


def tried(*candidates, alone=True):
    return accepted(candidates, alone=alone)


def test_what_sqlite_takes_stays_as_it_is():
    index = IndexDefinition("i", "t", ('"b"',))
    candidate = Candidate(table("a INT PRIMARY KEY, b CHECK (b > 0), c AS (b + 1)"), (index,))
    assert tried(candidate) == [candidate]


def test_constraints_that_sqlite_refuses_are_left_out_with_a_note():
    found = table("a INT PRIMARY KEY, b CHECK (mine(b)), c AS (mine(b)), d TEXT NOT NULL")
    (made,) = tried(Candidate(found, (IndexDefinition("i", "t", ('"b"',)),), ("before",)))
    assert [str(column) for column in made.definition.columns] == ['"a" INT', '"b"', '"d" TEXT']
    assert made.definition.key == found.key
    assert made.indexes == ()
    first, note = made.notes
    assert first == "before"
    assert "table t: its constraints are not carried (no such function: mine)" in note
    assert "computed columns not carried: c" in note


@pytest.mark.parametrize("terms", [("nowhere",), ("mine(b)",), ("random()",)])
def test_an_index_that_sqlite_refuses_costs_only_itself(terms):
    good = IndexDefinition("good", "t", ('"b"',))
    candidate = Candidate(table("a INT PRIMARY KEY, b"), (IndexDefinition("bad", "t", terms), good))
    (made,) = tried(candidate)
    assert made.definition == candidate.definition
    assert made.indexes == (good,)
    (note,) = made.notes
    assert note.startswith("index bad is not carried (")


def test_a_name_that_two_indexes_have_is_taken_once():
    index = IndexDefinition("i", "t", ('"b"',))
    made = tried(
        Candidate(table("a INT PRIMARY KEY, b"), (index,)),
        Candidate(table("a INT PRIMARY KEY, b", name="u"), (IndexDefinition("I", "u", ('"b"',)),)),
    )
    assert [len(candidate.indexes) for candidate in made] == [1, 0]


def test_references_to_what_is_not_unique_are_not_declared():
    parent = table("k INT PRIMARY KEY, name", name="p")
    good = table("a INT PRIMARY KEY, b REFERENCES p (k)", name="good")
    bad = table("a INT PRIMARY KEY, b REFERENCES p (name), c REFERENCES p (k)", name="bad")
    made = tried(Candidate(good), Candidate(bad), Candidate(parent))
    assert [len(candidate.definition.foreign_keys) for candidate in made] == [1, 0, 0]
    assert made[0].notes == ()
    (note,) = made[1].notes
    assert note.startswith("table bad: its references are not declared (foreign key mismatch")


def test_todays_tables_can_be_referred_to_where_they_are():
    candidate = Candidate(table("a INT PRIMARY KEY, b REFERENCES agents (agent_id)"))
    (made,) = tried(candidate, alone=False)
    assert made == candidate
