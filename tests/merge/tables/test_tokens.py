"""SQL in pieces, as SQLite's own tokenizer cuts it."""

from __future__ import annotations

from contextlib import closing

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from farm_merge.merge.tables.tokens import first_name, tokens
from farm_merge.sqlite import sqlite3


def kinds(sql):
    return [(token.kind, token.text) for token in tokens(sql)]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("a  b", [("word", "a"), ("word", "b")]),
        ("a--b\nc", [("word", "a"), ("word", "c")]),
        ("a/* ' */b/* no end", [("word", "a"), ("word", "b")]),
        ("x'ff' X'00'", [("literal", "x'ff'"), ("literal", "X'00'")]),
        ("'it''s' x", [("literal", "'it''s'"), ("word", "x")]),
        ('"a""b"[c d]`e``f`', [("quoted", '"a""b"'), ("quoted", "[c d]"), ("quoted", "`e``f`")]),
        ("1.5e-3 .5 0x1F", [("number", "1.5e-3"), ("number", ".5"), ("number", "0x1F")]),
        ("a-1", [("word", "a"), ("sign", "-"), ("number", "1")]),
        ("a$1 _b", [("word", "a$1"), ("word", "_b")]),
        ("(a,b)", [("sign", "("), ("word", "a"), ("sign", ","), ("word", "b"), ("sign", ")")]),
    ],
)
def test_pieces(sql, expected):
    assert kinds(sql) == expected


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ('"a""b"', 'a"b'),
        ("`a``b`", "a`b"),
        ("[a]", "a"),
        ("'it''s'", "it's"),
        ("a COLLATE NOCASE DESC", "a"),
        ("x'00'", "x'00'"),
        ("", ""),
    ],
)
def test_a_name_without_its_quotes(sql, name):
    assert first_name(sql) == name


def test_only_words_and_signs_are_keywords():
    assert [token.keyword for token in tokens("check \"check\" 'check' (1")] == [
        "CHECK", "", "", "(", "",
    ]  # fmt: skip
    # The long s in capitals is an S, but SQLite knows only A to Z.
    assert [token.keyword for token in tokens("un\u0131que \u017ftored")] == ["", ""]


@given(st.text(max_size=40))
@example("a\u00a0b")
def test_nothing_is_lost_but_blanks_and_comments(sql):
    end = 0
    for token in tokens(sql):
        gap = sql[end : token.start]
        assert not gap.strip(" \t\n\f\r") or gap.lstrip(" \t\n\f\r").startswith(("--", "/*"))
        assert sql[token.start : token.end] == token.text
        end = token.end


@settings(max_examples=300)
@given(
    st.text(
        st.one_of(
            st.sampled_from("abz_$09\u00a0\u0085\u017f\u0130é"),
            st.characters(exclude_categories=["Cs", "Cc"]),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_name_without_quotes_ends_where_sqlite_ends_it(text):
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            (row,) = connection.execute(f"SELECT 1 AS {text}x").description
        except (sqlite3.Error, sqlite3.Warning):
            assume(False)
        words = [token.text for token in tokens(f"{text}x")]
        assume(not text.startswith(("'", '"', "`", "[")))
        assert words == [row[0]]
