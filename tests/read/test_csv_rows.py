"""CSV is what `csv.writer` makes of the same rows, whatever they hold."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_merge.read.csv_rows import NullWordError, write_csv

# What has a meaning in JSON or in CSV, and numbers near to where one is written in another way.
TEXTS = st.sampled_from(
    ["", "a", ",", '"', "\\", "[", "]", "],[", ",null", "null", "Infinity", "1e5", "e-7]", "\n",
     "\r\n", "\0", "\x1f", "\x7f", "\u2028", "ä€😀", "0.00001", " ", "\\N", "ff"]
) | st.text(st.characters(codec="utf-8"), max_size=5)  # fmt: skip
NUMBERS = (
    st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)  # in SQLite it is NULL
    | st.sampled_from(
        [1e16, 9999999999999998.0, 1e-4, 1e-5, 9.99e-5, -1e-6, 5e-324, -0.0, 10.00001]
    )
)
VALUES = st.none() | TEXTS | NUMBERS | st.binary(max_size=3)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.lists(st.tuples(*[VALUES] * width), min_size=1, max_size=6), min_size=1, max_size=3
    )
)


def expected(names, batches, null):
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(names)
    for row in (row for batch in batches for row in batch):
        if null and null in row:
            raise NullWordError(names[row.index(null)])
        writer.writerow(
            [(null or None) if v is None else v.hex() if isinstance(v, bytes) else v for v in row]
        )
    return file.getvalue()


def written(names, batches, null):
    file = io.StringIO()
    assert write_csv(file, names, batches, null) == sum(map(len, batches))
    return file.getvalue()


@given(TABLES, st.sampled_from(["", "NULL", "\\N", "null", "a", ",", '"', "x\ny"]))
def test_the_bytes_are_those_of_the_csv_module(batches, null):
    names = [f"c,{place}" for place in range(len(batches[0][0]))]
    assert outcome(written, names, batches, null) == outcome(expected, names, batches, null)


def outcome(write, names, batches, null):
    try:
        return write(names, batches, null)
    except NullWordError as exc:
        return NullWordError, exc.column


@pytest.mark.parametrize("value", ["a,b", 'a"b', "a\\b", "],[", 1e-5, 1e300, float("inf"), b"x"])
def test_a_row_of_another_kind_stays_in_its_place(value):
    rows = [("k", number, value if number in {0, 3, 9} else "plain", None) for number in range(10)]
    assert written(list("abcd"), [rows], "") == expected(list("abcd"), [rows], "")


def test_a_batch_without_rows_is_nothing():
    assert written(["a", "b"], [[], [(1, 2)]], "") == "a,b\r\n1,2\r\n"
