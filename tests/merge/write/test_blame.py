"""Who is to blame for what SQLite refuses."""

from __future__ import annotations

from contextlib import closing

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge.write.blame import blaming
from farm_merge.sqlite import sqlite3

ROWS = "INSERT INTO t VALUES (1), (1)"


@pytest.fixture
def connection():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (k INTEGER PRIMARY KEY)")
        yield connection


def test_a_row_that_is_refused_is_the_inputs(connection, tmp_path):
    with pytest.raises(ShardError) as caught, blaming(tmp_path / "a.db", "T"):
        connection.execute(ROWS)
    assert (caught.value.path, caught.value.table) == (tmp_path / "a.db", "T")
    assert caught.value.reason == "UNIQUE constraint failed: t.k"


def test_what_cannot_be_computed_is_the_inputs(connection, tmp_path):
    with pytest.raises(ShardError, match="SQLite cannot copy it"), blaming(tmp_path / "a.db"):
        connection.execute("SELECT json('no json')").fetchall()


def test_a_lock_is_the_machines(tmp_path):
    path = str(tmp_path / "out.db")
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as holder,
        closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other,
    ):
        holder.execute("CREATE TABLE t (k INTEGER PRIMARY KEY)")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"), blaming(tmp_path / "a.db"):
            other.execute(ROWS)


@pytest.mark.parametrize("is_sound", [True, False])
def test_damage_is_the_inputs_unless_it_was_checked(tmp_path, is_sound):
    path = tmp_path / "out.db"
    path.write_bytes(b"no database, but text" * 100)
    expected = sqlite3.DatabaseError if is_sound else ShardError
    with (
        closing(sqlite3.connect(str(path))) as connection,
        pytest.raises(expected),
        blaming(tmp_path / "a.db", is_sound=is_sound),
    ):
        connection.execute("SELECT * FROM sqlite_schema")


def test_nothing_else_is_touched(tmp_path):
    with pytest.raises(KeyError), blaming(tmp_path / "a.db"):
        raise KeyError
