"""Text in UTF-16 arrives as the same text in UTF-8."""

from __future__ import annotations

from contextlib import closing

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge import merge_shards
from farm_merge.merge.inputs.transcode import ExactText, insert_exactly, transcode
from farm_merge.sqlite import file_uri, sqlite3
from tests.conftest import query
from tests.merge.checks import merge_checked, typed
from tests.merge.eras import write


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_utf_16_files(tmp_path, encoding):
    source = write(
        tmp_path / "run.db",
        "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT, b BLOB, c AS (k + 1))",
        "CREATE TABLE log (v)",
        "CREATE INDEX i ON t (v)",
        "CREATE VIEW w AS SELECT 1",
        "CREATE VIRTUAL TABLE words USING fts5(text)",
        "INSERT INTO t VALUES (1, 'caf\u00e9 \u2603 \U0001f41c', x'ff00'), (2, NULL, 'text'), (3, 'a' || char(0) || 'b', 1.5)",
        "INSERT INTO log VALUES (1), (1), ('x')",
        encoding=encoding,
    )
    output = tmp_path / "exp.db"
    merge_checked(output, source)
    assert typed(output, "t", "k", "v", "b") == typed(source, "t", "k", "v", "b")
    assert query(output, "SELECT v FROM log") == [(1,), (1,), ("x",)]
    report = merge_shards([source], tmp_path / "again.db")
    assert any("view w" in note for note in report.notes)
    assert any("words" in note for note in report.notes)


def test_a_shard_in_utf_16(make_shard, tmp_path):
    shard = make_shard("a")
    statements = query(shard, "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
    other = write(tmp_path / "wide.db", *(sql for (sql,) in statements), encoding="UTF-16le")
    for mark in ("application_id", "user_version"):
        ((value,),) = query(shard, f"PRAGMA {mark}")
        query(other, f"PRAGMA {mark} = {value}")
    query(other, "INSERT INTO simulations (simulation_id, parameters, simulation_db_path)"
          " VALUES ('a', '{}', '')")  # fmt: skip
    query(
        other,
        "INSERT INTO agents (simulation_id, agent_id, agent_type) VALUES ('a', '\u2603', 'x')",
    )
    merge_shards([other], tmp_path / "exp.db")
    assert query(tmp_path / "exp.db", "SELECT agent_id FROM agents") == [("\u2603",)]


def test_a_twin_has_all_of_a_file_but_its_encoding(tmp_path):
    path = write(
        tmp_path / "wide.db",
        "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT NOT NULL, c AS (k + 1) STORED)",
        "CREATE TABLE log (rowid TEXT, x)",
        "CREATE TABLE plain (a PRIMARY KEY, b) WITHOUT ROWID",
        "CREATE UNIQUE INDEX i ON t (v) WHERE k > 0",
        "INSERT INTO t (k, v) VALUES (5, 'caf\u00e9'), (2, char(0))",
        "INSERT INTO log VALUES ('z', 1), ('a', 2), ('m', x'00')",
        "INSERT INTO plain VALUES ('b', 1), ('a', 2)",
        "PRAGMA user_version = 7",
        "PRAGMA application_id = 9",
        encoding="UTF-16be",
    )
    transcode(file_uri(path), tmp_path / "twin.db")
    twin = tmp_path / "twin.db"
    assert query(twin, "PRAGMA encoding") == [("UTF-8",)]
    assert query(twin, "PRAGMA user_version") == [(7,)]
    assert query(twin, "PRAGMA application_id") == [(9,)]
    schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2"
    assert query(twin, schema) == query(path, schema)
    for table, order in (("t", "k"), ("log", "_rowid_"), ("plain", "a")):
        rows = f"SELECT * FROM {table} ORDER BY {order}"
        assert query(twin, rows) == query(path, rows)
    assert query(twin, "PRAGMA integrity_check") == [("ok",)]


def test_rows_that_break_their_own_checks_come_along(tmp_path):
    path = write(tmp_path / "wide.db", "CREATE TABLE t (k CHECK (k > 0))", encoding="UTF-16le")
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("INSERT INTO t VALUES (-1)")
    transcode(file_uri(path), tmp_path / "twin.db")
    assert query(tmp_path / "twin.db", "SELECT k FROM t") == [(-1,)]


def test_nothing_of_a_file_runs_while_it_is_copied(tmp_path):
    path = write(
        tmp_path / "wide.db",
        "CREATE TABLE t (k INTEGER PRIMARY KEY)",
        "INSERT INTO t VALUES (1)",
        "CREATE TRIGGER boom AFTER INSERT ON t BEGIN DELETE FROM t; END",
        "CREATE VIEW v AS SELECT nowhere(k) FROM missing",
        encoding="UTF-16le",
    )
    transcode(file_uri(path), tmp_path / "twin.db")
    with closing(sqlite3.connect(str(tmp_path / "twin.db"))) as connection:
        assert connection.execute("SELECT k FROM t").fetchall() == [(1,)]
        kinds = "SELECT type FROM sqlite_schema WHERE type IN ('trigger', 'view') ORDER BY 1"
        assert connection.execute(kinds).fetchall() == [("trigger",), ("view",)]


def test_a_damaged_file_is_no_twins(tmp_path):
    path = write(tmp_path / "wide.db", "CREATE TABLE t (k)", "INSERT INTO t VALUES (1)",
                 encoding="UTF-16le")  # fmt: skip
    data = bytearray(path.read_bytes())
    data[4096:8192] = b"\xee" * 4096
    path.write_bytes(data)
    with pytest.raises(sqlite3.DatabaseError):
        transcode(file_uri(path), tmp_path / "twin.db")
    with pytest.raises(ShardError, match="SQLite cannot read it") as caught:
        merge_shards([path], tmp_path / "exp.db")
    assert f"{path}: " in str(caught.value)


def test_text_that_is_no_utf_8_is_inserted_byte_for_byte():
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (a, b, c)")
        rows = [
            (ExactText(b"good"), 1, None),
            (ExactText(b"\xff\xfe"), b"\xff", 0.5),
            (b"blob", ExactText("\u2603".encode()), ExactText(b"")),
        ]
        insert_exactly(connection, "t", ["a", "b", "c"], rows)
        insert_exactly(connection, "t", ["a", "c"], [(ExactText(b"a"), 1)])
        found = connection.execute(
            "SELECT typeof(a), hex(a), typeof(b), hex(b), typeof(c), c IS NULL FROM t"
        ).fetchall()
    assert found == [
        ("text", "676F6F64", "integer", "31", "null", 1),
        ("text", "FFFE", "blob", "FF", "real", 0),
        ("blob", "626C6F62", "text", "E29883", "text", 0),
        ("text", "61", "null", "", "integer", 0),
    ]


@pytest.mark.parametrize("engine", ["graft", "attach"])
@pytest.mark.parametrize("column", ["host", "parameters"])
def test_metadata_that_is_no_utf_8_arrives(make_shard, tmp_path, engine, column):
    """Where pages are copied, it is read and written again."""
    path = make_shard("a")
    query(path, f"UPDATE simulations SET {column} = CAST(x'ff61' AS TEXT)")
    merge_shards([path], tmp_path / "exp.db", engine=engine)
    found = query(tmp_path / "exp.db", f"SELECT typeof({column}), hex({column}) FROM simulations")
    assert found == [("text", "FF61")]


def edited(path, *changes, encoding="UTF-16le"):
    """Make a database whose schema says what SQLite would not have written."""
    write(path, "CREATE TABLE t (x)", "CREATE TABLE v (x)", "INSERT INTO t VALUES ('ä')",
          encoding=encoding)  # fmt: skip
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema=ON")
        for change in changes:
            connection.execute(f"UPDATE sqlite_schema SET {change}")
        connection.execute("PRAGMA schema_version = 99")
    return path


@pytest.mark.parametrize("root", [0, 3])
def test_a_module_does_not_run_however_its_statement_is_written(tmp_path, root):
    source = edited(
        tmp_path / "run.db",
        f"sql = 'CREATE  VIRTUAL TABLE v USING fts5(x)', rootpage = {root} WHERE name = 'v'",
    )
    twin = tmp_path / "twin.db"
    try:
        merge_shards([source], tmp_path / "exp.db")
        transcode(file_uri(source, mode="ro"), twin)
    except (ShardError, sqlite3.DatabaseError):
        return  # it may be refused, too
    assert query(tmp_path / "exp.db", "SELECT x FROM t") == [("ä",)]
    made = query(twin, "SELECT name FROM sqlite_schema WHERE name LIKE 'v%'")
    assert made == [("v",)]  # and none of the tables that the module makes


def test_two_statements_in_one_are_refused_by_name(tmp_path):
    source = edited(tmp_path / "run.db", "sql = 'CREATE TABLE t(x); DROP TABLE t' WHERE name = 't'")
    with pytest.raises(ShardError, match=r"run\.db: SQLite cannot read it"):
        merge_shards([source], tmp_path / "exp.db")


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le"])
def test_a_name_with_a_nul_is_refused_by_name(tmp_path, encoding):
    nul = "cast(x'740074' AS TEXT)" if encoding == "UTF-8" else "cast(x'740000007400' AS TEXT)"
    source = edited(
        tmp_path / "run.db", f"name = {nul}, tbl_name = {nul} WHERE name = 't'", encoding=encoding
    )
    with pytest.raises(ShardError, match=r"run\.db: "):
        merge_shards([source], tmp_path / "exp.db")
