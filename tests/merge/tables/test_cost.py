"""Only what is known to be cheap is computed, here and by whoever reads the output."""

from __future__ import annotations

import resource
import subprocess
import sys
from contextlib import closing

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge import merge_shards
from farm_merge.merge.tables.cost import affordable, costly_columns, is_affordable, is_cheap
from farm_merge.merge.tables.parser import parse_index, parse_table
from farm_merge.merge.tables.structure import today
from farm_merge.sqlite import sqlite3
from tests.conftest import query
from tests.merge.eras import write

BOMB = "hex(zeroblob(400000000))"


@pytest.mark.parametrize(
    "sql",
    [
        "GENERATED ALWAYS AS (a || ':' || b) VIRTUAL",
        "AS (coalesce(a, 0) + round(b * 1.5, 2)) STORED",
        "CHECK (a IN (1, 2) AND (b > 0 OR NOT (a = b)))",
        "DEFAULT 5", "DEFAULT 'hex(1)'", "DEFAULT (datetime('now'))", "NOT NULL",
        '"a" COLLATE NOCASE DESC', "a ->> '$.b'", "CAST(a AS VARCHAR(64))",
        "CASE WHEN (a > 1) THEN (1) ELSE (2) END",
    ],
)  # fmt: skip
def test_what_authors_write_is_cheap(sql):
    assert is_cheap(sql)


@pytest.mark.parametrize(
    "sql",
    [
        f"AS ({BOMB})", "zeroblob(9)", "HEX (a)", '"hex"(a)', "hex/* */(a)", "[hex](a)", "`hex`(a)",
        "randomblob(9)", "printf('%999999999d', a)", "replace(a, '', b)", "group_concat(a)",
        "a LIKE '%a%a%a%a%a%'", "a GLOB '*a*a*a*'", "a REGEXP b", "a MATCH b",
        "(SELECT count(*) FROM t, t)", "load_extension('x')", "of_the_program(a)",
        " + ".join(["a"] * 101),
    ],
)  # fmt: skip
def test_what_may_take_long_is_not(sql):
    assert not is_cheap(sql)


def test_computed_columns_do_not_build_upon_each_other():
    """Thirty of them, each twice the one before, would take a billion steps."""
    table = parse_table("CREATE TABLE t (k PRIMARY KEY, a AS (k + k), b AS (A + a), c AS (k + 1))")
    assert costly_columns(table) == {"b"}


def test_todays_tables_are_all_cheap():
    assert is_affordable(today())


def test_what_is_left_of_a_table_takes_all_its_stored_values():
    table = parse_table(
        f"CREATE TABLE t (k INTEGER PRIMARY KEY, s TEXT AS ({BOMB}) STORED, v AS ({BOMB}),"
        f" d INT NOT NULL DEFAULT ({BOMB}), c CHECK (c > 0), CHECK (length({BOMB}) > k), CHECK (k))"
    )
    indexes = tuple(
        map(
            parse_index,
            (
                "CREATE INDEX plain ON t (d)",
                f"CREATE INDEX costly ON t ({BOMB})",
                f"CREATE INDEX partial ON t (d) WHERE {BOMB} > d",
                "CREATE INDEX of_costly ON t (v)",
            ),
        )
    )
    found = affordable(table, indexes)
    assert [str(column) for column in found.table.columns] == [
        '"k" INTEGER', '"s" TEXT', '"d" INT NOT NULL', '"c" CHECK (c > 0)',
    ]  # fmt: skip
    assert found.table.checks == ("(k)",)
    assert [index.name for index in found.indexes] == ["plain"]
    assert found.lost == (
        "column v", "index costly", "index partial", "index of_costly",
        "how column s is computed", "a constraint of column d", "a CHECK",
    )  # fmt: skip


def test_what_loses_nothing_is_as_it_was():
    table = parse_table("CREATE TABLE t (k PRIMARY KEY, c AS (k || 'x'))")
    indexes = (parse_index("CREATE INDEX i ON t (c)"),)
    found = affordable(table, indexes)
    assert found.table is table
    assert found.indexes is indexes


# Files


def edited(path, edit, *statements):
    """Make a database, and then change the text of its schema: nothing was computed."""
    write(path, *statements)
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(f"UPDATE sqlite_schema SET {edit}")
        connection.execute("PRAGMA schema_version = 99")
    return path


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (900 << 20, 900 << 20))
from farm_merge.cli import main
main(sys.argv[1:])
"""

INDEXED = ("CREATE TABLE t (id INTEGER PRIMARY KEY, x INT)", "INSERT INTO t VALUES (1, 10)",
           "CREATE INDEX i ON t (x)")  # fmt: skip

HOSTILE = {
    "stored": (
        f"sql = replace(sql, 'hex(x)', '{BOMB}')",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, x INT, g TEXT AS (hex(x)) STORED)",
        "INSERT INTO t (id, x) VALUES (1, 10)",
    ),
    "virtual": (
        f"sql = replace(sql, 'hex(x)', '{BOMB}')",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, x INT, g TEXT AS (hex(x)))",
        "INSERT INTO t (id, x) VALUES (1, 10)",
    ),
    "index": (f"sql = 'CREATE INDEX i ON t ({BOMB})' WHERE name = 'i'", *INDEXED),
    "partial index": (
        f"sql = 'CREATE INDEX i ON t (x) WHERE length({BOMB}) > x' WHERE name = 'i'",
        *INDEXED,
    ),
}


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux")
@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("engine", ["attach", "graft"])
def test_an_expression_of_a_file_neither_runs_nor_lives_on(tmp_path, name, engine):
    source = edited(tmp_path / "run.db", *HOSTILE[name])
    output = tmp_path / "exp.db"
    command = [sys.executable, "-c", LIMITED, source, "-o", output, "--engine", engine, "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "not carried, since its cost is not known" in done.stdout
    assert query(output, "SELECT id, x FROM t") == [(1, 10)]
    assert query(output, "SELECT count(*) FROM sqlite_schema WHERE sql LIKE '%zeroblob%'") == [(0,)]
    if name == "stored":
        assert query(output, "SELECT g FROM t") == [("3130",)]  # as it was stored
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > 0


def test_a_table_whose_order_cannot_be_checked_is_refused_by_name(tmp_path):
    source = edited(
        tmp_path / "run.db",
        f"sql = replace(sql, 'hex(x)', '{BOMB}')",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, x INT, g AS (hex(x))) WITHOUT ROWID",
        "INSERT INTO t (id, x) VALUES (1, 10)",
    )
    with pytest.raises(ShardError, match=r"run\.db: table t: its order cannot be checked"):
        merge_shards([source], tmp_path / "exp.db")
