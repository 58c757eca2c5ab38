"""Files of schemas that nobody here has seen before."""

from __future__ import annotations

from contextlib import closing

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge import Action, audit, merge_shards, plan_merge
from farm_merge.sqlite import sqlite3
from tests.conftest import content, query
from tests.merge.checks import merge_checked, typed
from tests.merge.damage import swap_pointers
from tests.merge.eras import write
from tests.merge.pages.raw import Raw


def columns(path, table):
    return [name for _, name, *_ in query(path, f'PRAGMA table_xinfo("{table}")')]


@pytest.fixture
def merge(tmp_path):
    """Merge files, verified by content, into an output whose health is checked."""

    def merge_(*sources, **options):
        output = tmp_path / "out" / "exp.db"
        merge_shards(sources, output, **{"verify": "content", **options})
        assert query(output, "PRAGMA integrity_check") == [("ok",)]
        assert audit(output, sources).problems == ()
        return output

    return merge_


def test_a_primary_key_gets_the_simulation_in_front(tmp_path, merge):
    for number in (1, 2):
        write(
            tmp_path / f"run_{number}.db",
            "CREATE TABLE t (a INTEGER PRIMARY KEY AUTOINCREMENT, b TEXT)",
            f"INSERT INTO t VALUES (1, 'x{number}'), (2, 'y')",
        )
    output = merge(tmp_path / "run_1.db", tmp_path / "run_2.db")
    assert query(output, "SELECT * FROM t WHERE simulation_id = 'run_2'") == [
        ("run_2", 1, "x2"),
        ("run_2", 2, "y"),
    ]
    found = query(output, "SELECT name FROM pragma_table_info('t') WHERE pk ORDER BY pk")
    assert found == [("simulation_id",), ("a",)]


def test_a_table_without_a_key_keeps_its_duplicates(tmp_path, merge):
    source = write(
        tmp_path / "run.db",
        "CREATE TABLE log (message, n)",
        "INSERT INTO log VALUES ('x', 1), ('x', 1), (NULL, NULL), (NULL, NULL), ('x', 1)",
    )
    output = merge(source)
    assert typed(output, "log", "message", "n") == typed(source, "log", "message", "n")
    assert query(output, "SELECT row_number FROM log") == [(n,) for n in range(1, 6)]


def test_a_key_with_nulls_keeps_all_its_rows(tmp_path, merge):
    source = write(
        tmp_path / "run.db",
        "CREATE TABLE t (k TEXT PRIMARY KEY, v)",
        "INSERT INTO t VALUES (NULL, 1), (NULL, 1), ('a', 2)",
    )
    assert typed(merge(source), "t", "k", "v") == typed(source, "t", "k", "v")


def test_awkward_values_arrive_bit_for_bit(tmp_path, merge):
    source = write(tmp_path / "run.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v, w BLOB)")
    values = [None, 2**63 - 1, -(2**63), 9007199254740993, 1e999, -1e999, 5e-324, -0.0, b"", b"\0",
              "", "a\0b", "'; --", "☃", 0.1]  # fmt: skip
    with closing(sqlite3.connect(str(source))) as connection:
        connection.executemany("INSERT INTO t (v, w) VALUES (?, ?)", [(v, v) for v in values])
        connection.execute("INSERT INTO t (v) VALUES (CAST(x'ff00fe' AS TEXT))")
        connection.commit()
    output = merge(source)
    sql = "SELECT k, typeof(v), hex(v), v, typeof(w), hex(w) FROM t WHERE k < 16"
    assert query(output, sql) == query(source, sql)
    sql = "SELECT typeof(v), hex(v) FROM t WHERE k = 16"
    assert query(output, sql) == [("text", "FF00FE")]


def test_constraints_come_along(tmp_path, merge):
    source = write(
        tmp_path / "run.db",
        "CREATE TABLE parent (x TEXT COLLATE NOCASE, y INT, PRIMARY KEY (x, y DESC)) WITHOUT ROWID",
        """CREATE TABLE "the child" (
               id INTEGER PRIMARY KEY, [odd name] TEXT NOT NULL DEFAULT 'a, b)', -- a comment, here
               n REAL CHECK (n > 0 AND n <> 7), twice AS (n * 2), thrice REAL AS (n * 3) STORED,
               px TEXT, py INT, UNIQUE (n, "odd name") ON CONFLICT REPLACE,
               FOREIGN KEY (px, py) REFERENCES parent ON DELETE CASCADE, CHECK (id <> 99))""",
        "CREATE TABLE exact (a INT PRIMARY KEY, b ANY) STRICT",
        "INSERT INTO parent VALUES ('a', 1), ('b', 2)",
        "INSERT INTO \"the child\" (id, \"odd name\", n, px, py) VALUES (1, 'o', 2.5, 'a', 1)",
        "INSERT INTO exact VALUES (1, '007')",
    )
    output = merge(source)
    ((made,),) = query(output, "SELECT sql FROM sqlite_schema WHERE name = 'the child'")
    for part in (
        "DEFAULT 'a, b)'",
        "CHECK (n > 0 AND n <> 7)",
        "GENERATED ALWAYS AS (n * 2) VIRTUAL",
        "GENERATED ALWAYS AS (n * 3) STORED",
        'UNIQUE (simulation_id, "n", "odd name")',
        'FOREIGN KEY (simulation_id, "px", "py") REFERENCES "parent" (simulation_id, "x", "y")'
        " ON DELETE CASCADE",
        "CHECK (id <> 99)",
    ):
        assert part in made
    assert "CONFLICT" not in made
    assert query(output, 'SELECT twice, thrice FROM "the child"') == [(5.0, 7.5)]
    assert query(output, "PRAGMA foreign_key_check") == []
    assert typed(output, "exact", "b") == [("'007'", "text")]
    with closing(sqlite3.connect(str(output))) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        for broken in (
            "INSERT INTO \"the child\" (simulation_id, id, n) VALUES ('run', 5, -1)",
            "INSERT INTO \"the child\" (simulation_id, id, n) VALUES ('run', 99, 1)",
            "INSERT INTO \"the child\" (simulation_id, id, px, py) VALUES ('run', 5, 'no', 1)",
            "INSERT INTO exact VALUES ('run', 'text', 1)",
            "INSERT INTO parent VALUES ('run', 'A', 1)",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                connection.execute(broken)


def test_rows_that_break_their_own_checks_arrive(tmp_path, merge):
    source = write(tmp_path / "run.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, n CHECK (n > 0))")
    query(source, "PRAGMA ignore_check_constraints = ON")
    with closing(sqlite3.connect(str(source), isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        connection.execute("INSERT INTO t VALUES (1, -5)")
    output = tmp_path / "exp.db"
    merge_shards([source], output)
    assert query(output, "SELECT n FROM t") == [(-5,)]


def test_keys_that_only_a_collation_calls_equal(tmp_path, merge):
    source = write(
        tmp_path / "run.db",
        "CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY) WITHOUT ROWID",
        "INSERT INTO t VALUES ('a')",
    )
    other = write(
        tmp_path / "other" / "run.db",
        "CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY) WITHOUT ROWID",
        "INSERT INTO t VALUES ('A')",
    )
    output = merge(source)
    # The same run by its path, but not the same data: it gets a name of its own.
    report = merge_shards([other], output)
    assert [outcome.action for outcome in report.simulations] == [Action.COPY]
    assert query(output, "SELECT k FROM t ORDER BY simulation_id") == [("A",), ("a",)]


def test_indexes_come_along_led_by_the_simulation(tmp_path, merge):
    source = write(
        tmp_path / "run.db",
        "CREATE TABLE t (k INTEGER PRIMARY KEY, v, w)",
        "CREATE UNIQUE INDEX i ON t (lower(v), w DESC) WHERE w > 0",
        "INSERT INTO t VALUES (1, 'A', 1), (2, 'a', 0)",
    )
    made = {
        sql for (sql,) in query(merge(source), "SELECT sql FROM sqlite_schema WHERE type = 'index'")
    }
    assert 'CREATE UNIQUE INDEX "i" ON "t" (simulation_id, lower(v), "w" DESC) WHERE w > 0' in made


def test_a_name_that_is_taken_gets_a_suffix_that_the_plan_shows(make_shard, tmp_path, merge):
    source = write(
        tmp_path / "run.db",
        "CREATE TABLE Agents (id INTEGER PRIMARY KEY, mood TEXT)",
        "CREATE TABLE agents_foreign (id INTEGER PRIMARY KEY)",
        "CREATE TABLE likes (a INT REFERENCES Agents(id), b INT REFERENCES Agents)",
        "INSERT INTO Agents VALUES (1, 'good')",
        "INSERT INTO agents_foreign VALUES (7)",
        "INSERT INTO likes VALUES (1, 1)",
    )
    shard = make_shard("shard")
    plan = plan_merge([source, shard], tmp_path / "plan.db")
    assert any("table Agents becomes Agents_foreign" in detail for detail in plan.details)
    output = merge(source, shard)
    assert query(output, "SELECT mood FROM Agents_foreign") == [("good",)]
    assert query(output, "SELECT id FROM agents_foreign_foreign") == [(7,)]
    assert query(output, "SELECT count(*) FROM agents") == [(3,)]
    assert query(output, "PRAGMA foreign_key_check") == []


def test_among_foreign_runs_a_table_keeps_its_name(make_shard, tmp_path, merge):
    source = write(
        tmp_path / "run.db",
        "CREATE TABLE agents (id INTEGER PRIMARY KEY, mood TEXT)",
        "INSERT INTO agents VALUES (1, 'good')",
    )
    output = merge(source)
    assert query(output, "SELECT * FROM agents") == [("run", 1, "good")]
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name"
    expected = [("agents",), ("experiments",), ("merged_shards",), ("simulations",)]
    assert query(output, tables) == expected
    assert audit(output, [source]).problems == ()
    shard, whole = make_shard("shard"), tmp_path / "whole.db"
    with pytest.raises(ShardError, match="has a table agents of another model"):
        merge_shards([shard], output)
    merge_shards([output, shard], whole)
    assert query(whole, "SELECT * FROM agents_foreign") == [("run", 1, "good")]
    assert query(whole, "SELECT count(*) FROM agents") == [(3,)]


def test_an_output_of_foreign_runs_can_gain_shards(make_shard, tmp_path, merge):
    source = write(
        tmp_path / "run.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)"
    )
    output, shard = merge(source), make_shard("shard")
    merge_shards([shard], output, verify="content")
    assert content(output) == content(shard)
    assert query(output, "SELECT * FROM t") == [("run", 1)]


def test_a_simulation_id_of_the_file_is_used_where_it_names_simulations(tmp_path, merge):
    source = write(
        tmp_path / "run.db",
        "CREATE TABLE steps (simulation_id TEXT, step INT, n, PRIMARY KEY (simulation_id, step))",
        "CREATE TABLE events (step INT, simulation_id TEXT NOT NULL)",
        "INSERT INTO steps VALUES ('a', 0, 1), ('b', 0, 2)",
        "INSERT INTO events VALUES (0, 'a'), (0, 'a'), (0, 'b')",
    )
    output = merge(source)
    assert query(output, "SELECT * FROM steps") == [("a", 0, 1), ("b", 0, 2)]
    assert query(output, "SELECT * FROM events") == [("a", 1, 0), ("a", 2, 0), ("b", 3, 0)]


@pytest.mark.parametrize("value", ["1", "NULL"])
def test_a_simulation_id_that_names_nothing_is_renamed(tmp_path, merge, value):
    source = write(
        tmp_path / "run.db",
        "CREATE TABLE steps (simulation_id, step INTEGER PRIMARY KEY)",
        "CREATE TABLE other (x)",
        f"INSERT INTO steps (simulation_id) VALUES ({value})",
        "INSERT INTO other VALUES (1)",
    )
    output = merge(source)
    assert query(output, "SELECT DISTINCT simulation_id FROM steps") == [("run",)]
    assert "original_simulation_id" in columns(output, "steps")


def test_views_and_virtual_tables_are_not_carried_and_reported(tmp_path):
    source = write(
        tmp_path / "run.db",
        "CREATE TABLE t (x)",
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE VIRTUAL TABLE words USING fts5(text)",
        "CREATE VIRTUAL TABLE boxes USING rtree(id, a, b)",
        "INSERT INTO words VALUES ('hello')",
        "INSERT INTO t VALUES (1)",
    )
    report = merge_shards([source], tmp_path / "exp.db")
    assert any(note.endswith("not carried: view v") for note in report.notes)
    (loud,) = [note for note in report.notes if "WARNING" in note]
    assert "words" in loud
    assert "boxes" in loud
    assert [name for (name,) in query(tmp_path / "exp.db", "SELECT name FROM sqlite_schema"
            " WHERE name GLOB '*words*' OR name GLOB '*boxes*' OR name = 'v'")] == []  # fmt: skip


def test_a_shard_with_a_table_of_its_owner(make_shard, tmp_path):
    shard = make_shard("a")
    query(shard, "CREATE TABLE notes (id INTEGER PRIMARY KEY, text)")
    query(shard, "INSERT INTO notes VALUES (1, 'hello')")
    merge_shards([shard, make_shard("b")], tmp_path / "exp.db", verify="content")
    assert query(tmp_path / "exp.db", "SELECT * FROM notes") == [("a", 1, "hello")]
    merge_shards([tmp_path / "exp.db"], tmp_path / "again.db", verify="content")
    assert query(tmp_path / "again.db", "SELECT * FROM notes") == [("a", 1, "hello")]


def test_a_table_of_nobody_in_a_file_of_several_is_carried_apart(make_shard, tmp_path):
    shard, output = make_shard("a", "b"), tmp_path / "exp.db"
    query(shard, "CREATE TABLE notes (text)")
    query(shard, "INSERT INTO notes VALUES ('hello')")
    with pytest.raises(ShardError, match="notes: 1 rows belong to none of the 2 simulations"):
        merge_shards([shard], output, on_orphan_rows="error")
    report = merge_shards([shard], output, verify="content")
    assert query(output, "SELECT * FROM notes") == [("a_unattributed", 1, "hello")]
    status = "SELECT status FROM simulations WHERE simulation_id = 'a_unattributed'"
    assert query(output, status) == [("unattributed",)]
    assert any("notes 1" in note for note in report.notes)
    assert audit(output, [shard]).problems == ()
    assert not merge_shards([shard], output).rows
    skipped = tmp_path / "skipped.db"
    merge_shards([shard], skipped, on_orphan_rows="skip")
    assert query(skipped, "SELECT count(*) FROM simulations") == [(2,)]
    assert content(skipped) == content(shard)


def test_functions_that_are_not_there_cost_constraints_but_no_row(tmp_path):
    source = tmp_path / "run.db"
    with closing(sqlite3.connect(str(source), isolation_level=None)) as connection:
        connection.create_function("mine", 1, lambda value: value, deterministic=True)
        connection.execute(
            "CREATE TABLE t (k INTEGER PRIMARY KEY, v CHECK (mine(v)), w AS (mine(v)))"
        )
        connection.execute("INSERT INTO t (k, v) VALUES (1, 5)")
    report = merge_shards([source], tmp_path / "exp.db")
    assert query(tmp_path / "exp.db", "SELECT * FROM t") == [("run", 1, 5)]
    assert any("not carried, since its cost is not known: column w" in it for it in report.details)


def test_what_a_hostile_file_brings_never_runs(tmp_path):
    source = write(
        tmp_path / "run.db",
        "CREATE TABLE t (k INTEGER PRIMARY KEY, v)",
        "CREATE TRIGGER boom AFTER INSERT ON t BEGIN DELETE FROM t; END",
        "INSERT INTO t VALUES (1, 'x')",
        "DELETE FROM t",
        'CREATE TABLE "x""; DROP TABLE agents; --" ("a""b" TEXT)',
        'INSERT INTO "x""; DROP TABLE agents; --" VALUES (\'safe\')',
    )
    query(source, "DROP TRIGGER boom")
    query(source, "INSERT INTO t VALUES (2, 'y')")
    query(source, "CREATE TRIGGER boom AFTER INSERT ON t BEGIN DELETE FROM t; END")
    report = merge_shards([source], tmp_path / "exp.db", verify="content")
    assert query(tmp_path / "exp.db", "SELECT v FROM t") == [("y",)]
    assert any("trigger boom" in note for note in report.notes)


def test_rows_out_of_order_are_damage(tmp_path):
    """Rows of a table WITHOUT ROWID are searched by their key."""
    source = write(
        tmp_path / "run.db",
        "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT) WITHOUT ROWID",
        "WITH RECURSIVE c (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < 900)"
        " INSERT INTO t SELECT n, 'b' || n FROM c",
    )
    raw = Raw(source)
    swap_pointers(raw, "t")
    raw.save()
    with pytest.raises(
        ShardError, match=r"run\.db: damaged; SQLite's integrity_check reports: row"
    ):
        merge_shards([source], tmp_path / "exp.db")


def test_an_index_out_of_order_costs_no_row_of_a_table_with_rowids(tmp_path, merge):
    """Such rows are read from first to last, and the index is made anew."""
    source = write(
        tmp_path / "run.db",
        "CREATE TABLE t (a INTEGER PRIMARY KEY, b TEXT)",
        "CREATE INDEX by_b ON t (b)",
        "WITH RECURSIVE c (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < 900)"
        " INSERT INTO t SELECT n, 'b' || n FROM c",
    )
    raw = Raw(source)
    swap_pointers(raw, "by_b")
    raw.save()
    output = merge(source)
    assert query(output, "SELECT count(*), count(DISTINCT b) FROM t") == [(900, 900)]


def test_a_table_that_is_too_wide_is_refused_by_name(tmp_path):
    """SQLite allows 2,000 columns, and a merge adds simulation_id and row_number."""
    for columns, fits in ((1998, True), (1999, False)):
        path = tmp_path / f"{columns}.db"
        names = ", ".join(f"c{number}" for number in range(columns))
        write(path, f"CREATE TABLE wide ({names})", "INSERT INTO wide (c0) VALUES (1)")
        if fits:
            merge_checked(tmp_path / "exp.db", path)
            copy = tmp_path / "copies" / path.name  # compared with what is there
            copy.parent.mkdir()
            query(path, "VACUUM INTO ?", str(copy))
            for value, action in ((None, Action.ALREADY_MERGED), (5, Action.SKIP)):
                query(copy, "UPDATE wide SET c1997 = ?", value)
                report = merge_shards([copy], tmp_path / "exp.db", on_conflict="skip",
                                      simulation_id="1998")  # fmt: skip
                assert [it.action for it in report.simulations] == [action]
            continue
        with pytest.raises(ShardError, match=r"1999\.db: table wide: .*too many columns"):
            merge_shards([path], tmp_path / "exp.db")


def test_a_file_of_virtual_tables_alone_is_refused_with_a_way_on(tmp_path):
    path = write(
        tmp_path / "search.db",
        "CREATE VIRTUAL TABLE notes USING fts5 (line)",
        "INSERT INTO notes VALUES ('one line')",
    )
    with pytest.raises(ShardError, match=r"no table of data but virtual ones.*: notes, ") as caught:
        merge_shards([path], tmp_path / "exp.db")
    assert "CREATE TABLE … AS SELECT" in str(caught.value)
    query(path, "CREATE TABLE kept AS SELECT rowid AS number, * FROM notes")
    merge_checked(tmp_path / "exp.db", path)
    assert query(tmp_path / "exp.db", "SELECT number, line FROM kept") == [(1, "one line")]
