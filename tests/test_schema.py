"""Today's schema: its marks, its tables, and what a database lacks of it."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone

import pytest

from farm_merge.schema import (
    DATA_TABLES,
    EXPERIMENT_MARK,
    METADATA_TABLES,
    OUR_TABLES,
    create_schema,
    ddl,
    ddl_of,
    is_current,
    is_experiment,
    lacking,
    mark_as_experiment,
    registry_ddl,
    stored_time,
)
from farm_merge.sqlite import connect, table_names
from tests.conftest import write_simulation


@pytest.fixture
def connection():
    with closing(connect()) as connection:
        yield connection


def register(connection, *names):
    for name in names:
        connection.execute(
            "INSERT INTO simulations (simulation_id, parameters, simulation_db_path)"
            " VALUES (?, '{}', '')",
            (name,),
        )


def test_a_new_database_is_a_shard_until_it_is_marked(connection):
    assert not is_current(connection)
    create_schema(connection)
    assert is_current(connection)
    assert not is_experiment(connection)
    mark_as_experiment(connection)
    assert is_current(connection)
    assert is_experiment(connection)


def test_an_experiment_can_be_made_as_one(connection):
    create_schema(connection, mark=EXPERIMENT_MARK, registry_only=True)
    assert is_experiment(connection)
    assert set(table_names(connection)) == METADATA_TABLES


def test_a_database_of_several_simulations_is_an_experiment_without_a_mark(connection):
    create_schema(connection)
    register(connection, "a")
    assert not is_experiment(connection)
    register(connection, "b")
    assert is_experiment(connection)


@pytest.mark.parametrize(("pragma", "value"), [("user_version", 2), ("application_id", 7)])
def test_other_marks_are_not_todays(connection, pragma, value):
    create_schema(connection)
    connection.execute(f"PRAGMA {pragma} = {value}")
    assert not is_current(connection)


def test_the_statements_make_our_tables_and_their_rows_have_a_place(connection):
    create_schema(connection)
    assert set(table_names(connection)) == OUR_TABLES
    register(connection, "a")
    write_simulation(connection, "a", steps=2, agents=1, shift=0)
    assert all(ddl_of(table) in ddl() for table in OUR_TABLES)
    assert {statement.split()[2] for statement in registry_ddl()} == METADATA_TABLES


def test_what_lacks_can_be_made(connection):
    create_schema(connection, registry_only=True)
    found = lacking(connection)
    assert {it.split()[2] for it in found if it.startswith("CREATE TABLE")} == set(DATA_TABLES)
    for statement in found:
        connection.execute(statement)
    assert lacking(connection) == []
    connection.execute("DROP TABLE agents")
    assert lacking(connection)[0] == ddl_of("agents")


def test_times_are_stored_in_utc_as_sqlalchemy_stores_them():
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=5)))
    assert stored_time(moment) == "2026-01-01 22:04:05.000006"
    assert stored_time(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02 00:00:00.000000"
