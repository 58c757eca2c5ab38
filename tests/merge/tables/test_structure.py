"""What tables a database has, read once for every distinct schema."""

from __future__ import annotations

from contextlib import closing

from farm_merge.merge.tables.structure import is_ours, read_structure, registry, today
from farm_merge.schema import DATA_TABLES, METADATA_TABLES, OUR_TABLES
from farm_merge.sqlite import sqlite3
from tests.merge.values import structure, table


def test_equal_schemas_share_one_value():
    statements = ("CREATE TABLE T (a)", "CREATE INDEX i ON t (a)")
    assert structure(*statements) is structure(*statements)
    assert structure(*statements) is not structure("CREATE TABLE T (a, b)")


def test_tables_and_indexes_are_found_by_the_lower_case_name_of_the_table():
    found = structure(
        "CREATE TABLE Runs (a UNIQUE, b)",
        "CREATE INDEX One ON runs (b)",
        "CREATE UNIQUE INDEX two ON RUNS (a) WHERE b",
        "CREATE VIEW v AS SELECT 1",
        "CREATE TRIGGER g AFTER INSERT ON Runs BEGIN SELECT 1; END",
    )
    assert found.tables["runs"].name == "Runs"
    # Not the one that SQLite made for UNIQUE.
    assert [(index.name, index.unique, index.where) for index in found.indexes["runs"]] == [
        ("One", False, ""),
        ("two", True, "b"),
    ]
    assert found.views == ("trigger g", "view v")


def test_sqlites_own_tables_are_none():
    found = structure(
        "CREATE TABLE t (a INTEGER PRIMARY KEY AUTOINCREMENT)",
        "CREATE TABLE sqliteX (a)",
        "CREATE INDEX i ON t (a)",
        "ANALYZE",
    )
    assert found.tables.keys() == {"t", "sqlitex"}


def test_virtual_tables_are_not_tables_and_ordinary_ones_beside_them_are():
    found = structure(
        "CREATE VIRTUAL TABLE Words USING fts5(text)",
        "CREATE TABLE words_notes (x)",
        "CREATE TABLE other_data (x)",
    )
    assert found.tables.keys() == {"words_notes", "other_data"}
    assert found.virtual[0] == "Words"
    assert set(found.virtual[1:]) == {
        "Words_data", "Words_idx", "Words_content", "Words_docsize", "Words_config",
    }  # fmt: skip


def test_what_is_not_understood_is_carried_plain_and_named(monkeypatch):
    """No statement is known that SQLite takes and the parser does not; a newer one may have some."""

    def refuse(*_, **__):
        raise ValueError

    for parser in ("parse_table", "parse_index"):
        monkeypatch.setattr(f"farm_merge.merge.tables.structure.{parser}", refuse)
    found = structure(
        "CREATE TABLE strange (a INT CHECK (a > 0), b TEXT NOT NULL, c AS (a), PRIMARY KEY (b, a))",
        "CREATE INDEX i ON strange (a)",
    )
    assert found.not_understood == ("index i", "the constraints of table strange")
    assert found.indexes == {}
    plain = found.tables["strange"]
    assert [str(column) for column in plain.columns] == ['"a" INT', '"b" TEXT']
    assert plain.key == ('"b"', '"a"')


def test_a_definition_that_sqlite_reads_otherwise_is_not_believed(monkeypatch):
    wrong = table("a INT CHECK (a), c")
    monkeypatch.setattr("farm_merge.merge.tables.structure.parse_table", lambda *_, **__: wrong)
    found = structure("CREATE TABLE otherwise (a INT CHECK (a), b)")
    assert [column.name for column in found.tables["otherwise"].columns] == ["a", "b"]
    assert found.not_understood == ("the constraints of table otherwise",)


def test_a_key_may_be_written_in_another_case_than_its_column():
    found = structure("CREATE TABLE t (Id INT, v CHECK (v > 0), PRIMARY KEY (ID))")
    assert found.not_understood == ()


def test_functions_that_are_not_here_do_not_matter():
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.create_function("mine", 1, lambda value: value, deterministic=True)
        connection.execute("CREATE TABLE t (a CHECK (mine(a)), b AS (mine(a)))")
        found = read_structure(connection).tables["t"]
    assert [column.generated for column in found.columns] == [False, True]
    assert found.columns[0].constraints == ("CHECK (mine(a))",)


def test_content_is_what_simulations_are_made_of():
    found = structure(
        "CREATE TABLE simulations (a)", "CREATE TABLE Experiments (a)", "CREATE TABLE t (a)"
    )
    assert found.content.keys() == {"experiments", "t"}
    assert today().content.keys() == set(DATA_TABLES)
    assert registry().tables.keys() == METADATA_TABLES
    assert registry().content == {}


def test_a_table_is_ours_by_its_key_and_columns_and_not_by_its_name():
    assert all(is_ours(today(), table) for table in OUR_TABLES)
    (sql,) = (definition.create() for definition in [today().tables["agents"]])
    assert is_ours(structure(sql, merged_form=True), "agents")
    assert not is_ours(structure(sql), "agents")  # as its author's own key
    fewer = sql.replace('"genome_id" VARCHAR(64),', "")
    assert fewer != sql
    assert not is_ours(structure(fewer, merged_form=True), "agents")
    more = sql.replace('"genome_id"', '"mood" TEXT, "genome_id"')
    assert is_ours(structure(more, merged_form=True), "agents")
    assert not is_ours(structure("CREATE TABLE agents (agent_id)"), "agents")
    assert not is_ours(structure(), "agents")
