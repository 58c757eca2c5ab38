"""The schema keeps the one key rule, and what is generated from it is current."""

from pathlib import Path

import pytest

from farm_merge import models, schema
from farm_merge.sqlite import sqlite3

ROOT = Path(__file__).parent.parent


@pytest.fixture
def database():
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.create_schema(connection)
    yield connection
    connection.close()


def test_the_packaged_ddl_is_the_one_of_the_models():
    assert Path(models.__file__).with_name("schema.sql").read_text("utf-8") == models.schema_sql()


def test_the_documented_schema_is_current():
    assert (ROOT / "docs" / "schema.md").read_text("utf-8") == models.schema_markdown()


@pytest.mark.parametrize("table", [*schema.DATA_TABLES, schema.LEDGER])
def test_every_key_and_index_leads_with_simulation_id(database, table):
    keys = {row[1]: row[5] for row in database.execute(f"PRAGMA table_info({table})")}
    assert keys["simulation_id"] == 1
    for index in database.execute(f"PRAGMA index_list({table})"):
        assert database.execute(f"PRAGMA index_info({index[1]})").fetchone()[2] == "simulation_id"


def test_every_table_is_without_rowid(database):
    kinds = {
        row[1]: row[4]
        for row in database.execute("PRAGMA table_list")
        if row[0] == "main" and not row[1].startswith("sqlite_")
    }
    assert set(kinds) == {*schema.DATA_TABLES, *schema.REGISTRY_TABLES, schema.LEDGER}
    assert set(kinds.values()) == {1}


def test_types_do_not_depend_on_the_version_of_sqlalchemy(database):
    types = {
        row[2].split("(")[0]
        for table in [*schema.DATA_TABLES, *schema.REGISTRY_TABLES, schema.LEDGER]
        for row in database.execute(f"PRAGMA table_info({table})")
    }
    assert types == {"VARCHAR", "INTEGER", "FLOAT", "BOOLEAN", "JSON", "DATETIME"}


def test_the_state_id_has_agentfarms_form_and_costs_no_space(database):
    database.execute(
        "INSERT INTO agent_states (simulation_id, step_number, agent_id) VALUES ('s', 7, 'a')"
    )
    assert database.execute("SELECT id FROM agent_states").fetchone() == ("s:a-7",)
    assert "VIRTUAL" in models.schema_sql()


def test_a_database_is_marked_as_ours(database):
    assert schema.is_current(database)
    database.execute("PRAGMA user_version = 99")
    assert not schema.is_current(database)
