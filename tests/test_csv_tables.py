"""CSV files become tables in which every value is what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from farm_merge.csv_tables import database_of_csv
from farm_merge.errors import FarmMergeError
from tests.conftest import query

if TYPE_CHECKING:
    from pathlib import Path


def load(tmp_path: Path, text: str) -> Path:
    """Return the database that is made of a CSV file."""
    (tmp_path / "t.csv").write_bytes(text.encode())
    database_of_csv([tmp_path / "t.csv"], tmp_path / "t.db")
    return tmp_path / "t.db"


@pytest.mark.parametrize(
    ("values", "stored"),
    [
        (["1", "-2"], [1, -2]),
        (["1", "2.5"], [1.0, 2.5]),
        (["1e-3", "2"], [0.001, 2.0]),
        (["007", "8"], ["007", "8"]),
        (["1", "x"], ["1", "x"]),
        (["1", "", "3"], [1, None, 3]),
        (["9007199254740993", "1.5"], ["9007199254740993", "1.5"]),
        (["9223372036854775808"], ["9223372036854775808"]),
        (["nan", "1"], ["nan", "1"]),
        (["1_000"], ["1_000"]),
        ([" 1"], [" 1"]),
        (["00.5"], ["00.5"]),
    ],
)
def test_a_value_is_what_was_written(tmp_path: Path, values: list[str], stored: list[Any]) -> None:
    path = load(tmp_path, "k,v\r\n" + "".join(f"a,{value}\r\n" for value in values))
    found = [value for (value,) in query(path, "SELECT v FROM t ORDER BY rowid")]
    assert found == stored
    assert list(map(type, found)) == list(map(type, stored))


def test_names_and_fields_may_hold_anything(tmp_path: Path) -> None:
    path = load(tmp_path, '\ufeff"a ""b""","c,d"\n"line\nbreak",1\n')
    assert query(path, 'SELECT "a ""b""", "c,d" FROM t') == [("line\nbreak", 1)]


def test_a_line_of_another_width_is_named(tmp_path: Path) -> None:
    with pytest.raises(FarmMergeError, match=r"t\.csv: line 3 has 1 fields, not 2"):
        load(tmp_path, "a,b\n1,2\n3\n")


def test_an_empty_file_makes_no_table(tmp_path: Path) -> None:
    assert query(load(tmp_path, ""), "SELECT count(*) FROM sqlite_schema") == [(0,)]
