"""Which b-trees of a shard hold rows exactly as the output's tables store them."""

from __future__ import annotations

import pytest

from farm_merge.merge.tables.match import matching_trees
from farm_merge.merge.tables.structure import today
from tests.merge.values import structure, table

BASE = "a INT, b TEXT, PRIMARY KEY (a)"


def made(columns=BASE, *indexes, options=""):
    """Return a structure with one merged table."""
    return structure(table(columns, options).create(), *indexes, merged_form=True)


def index(terms, name="i", *, unique="", where=""):
    return f"CREATE {unique} INDEX {name} ON t (simulation_id, {terms}) {where}"


def test_todays_trees_match_their_own():
    pairs = matching_trees(today(), today())
    assert all(mine == theirs for mine, theirs in pairs.items())
    assert {"agents", "agent_states"} <= pairs.keys()


def test_a_table_that_the_shard_lacks_has_no_tree():
    output = structure(
        table("a INT PRIMARY KEY, b UNIQUE").create(),
        index("b"),
        table("k INT PRIMARY KEY", name="u").create(),
        merged_form=True,
    )
    shard = structure(table("k INT PRIMARY KEY", name="U").create(), merged_form=True)
    assert matching_trees(output, shard) == {"u": "U"}


def test_a_table_that_the_output_lacks_matches_nothing():
    assert matching_trees(today(), made()) is None


def test_indexes_are_paired_by_what_they_are_and_not_by_their_names():
    output = made(BASE, index("b", "mine"), index("b", "some", where="WHERE a > 0"))
    shard = made(BASE, index("b", "x", where="WHERE a > 0"), index("b", "y"))
    assert matching_trees(output, shard) == {"t": "t", "mine": "y", "some": "x"}
    assert matching_trees(output, made(BASE, index("b", "y"))) is None
    # One that only the shard has is left behind.
    assert matching_trees(made(), shard) == {"t": "t"}


def test_uniques_are_paired_by_their_number():
    columns = f"{BASE}, UNIQUE (b), UNIQUE (b, a)"
    assert matching_trees(made(columns), made(columns)) == {
        "t": "t",
        "sqlite_autoindex_t_2": "sqlite_autoindex_t_2",
        "sqlite_autoindex_t_3": "sqlite_autoindex_t_3",
    }


@pytest.mark.parametrize(
    "shard",
    [
        "a INT, b TEXT NOT NULL CHECK (b > ''), PRIMARY KEY (a)",  # asks more of the same rows
        "a BIGINT, B VARCHAR(9), PRIMARY KEY (a)",  # the same to what is stored
        "a INT, PRIMARY KEY (a)",  # shorter rows, whose last columns are NULL
    ],
)
def test_rows_that_are_stored_alike_match(shard):
    assert matching_trees(made(), made(shard)) == {"t": "t"}


@pytest.mark.parametrize(
    ("output", "shard"),
    [
        (BASE, "b TEXT, a INT, PRIMARY KEY (a)"),
        (BASE, "a INT, b INT, PRIMARY KEY (a)"),
        (BASE, "a INT, b TEXT COLLATE NOCASE, PRIMARY KEY (a)"),
        (BASE, "a INT, b TEXT, PRIMARY KEY (a DESC)"),
        (BASE, "a INT, b TEXT, PRIMARY KEY (b)"),
        (BASE, "a INT, b TEXT, PRIMARY KEY (a, b)"),
        (BASE, "a INT, b TEXT, PRIMARY KEY (a), UNIQUE (b)"),
        (f"{BASE}, UNIQUE (b)", BASE),
        (BASE, "a INT, c TEXT, PRIMARY KEY (a)"),
        (BASE, "a INT, b TEXT DEFAULT 'x', PRIMARY KEY (a)"),
        (BASE, "a INT, b TEXT AS (a) STORED, PRIMARY KEY (a)"),
        ("a INT, b TEXT NOT NULL, PRIMARY KEY (a)", "a INT, PRIMARY KEY (a)"),
        ("a INT, b TEXT DEFAULT 5, PRIMARY KEY (a)", "a INT, PRIMARY KEY (a)"),
        ("a INT, b TEXT AS (a) STORED, PRIMARY KEY (a)", "a INT, PRIMARY KEY (a)"),
    ],
)
def test_rows_that_are_stored_otherwise_do_not_match(output, shard):
    assert matching_trees(made(output), made(shard)) is None


def test_columns_that_are_not_stored_do_not_matter():
    output = made("a INT, c AS (a + 1), b TEXT, PRIMARY KEY (a)")
    assert matching_trees(output, made()) == {"t": "t"}


def test_a_table_of_the_authors_own_key_does_not_match():
    own = structure("CREATE TABLE t (simulation_id, a INT, b TEXT, PRIMARY KEY (simulation_id, a))")
    assert matching_trees(made(), own) is None
