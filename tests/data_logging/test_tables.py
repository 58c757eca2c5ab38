"""Tables of a model's own: made of the types of values, and merged as today's are."""

from __future__ import annotations

import enum

import numpy as np
import pytest

from farm_merge import ExperimentDatabase, InMemorySimulationDatabase, SimulationDatabase
from farm_merge.errors import InvalidRecordError, RefusedRowsError
from farm_merge.merge import audit, merge_shards
from tests.conftest import query
from tests.merge.checks import require_sound


class Mood(enum.StrEnum):
    CALM = "calm"


def columns(path, table):
    return {
        name: declared for _, name, declared, *_ in query(path, f'PRAGMA table_info("{table}")')
    }


def test_a_table_is_made_of_the_types_of_its_values(tmp_path):
    with SimulationDatabase(tmp_path / "run.db") as db:
        db.logger.log("trades", step=3, buyer=np.int64(1), price=None, is_fair=True)
        db.logger.log("trades", step=3, buyer=2, price=2.5, is_fair=False, mood=Mood.CALM)
        db.logger.log("trades", step=4, goods=["corn", "oil"], raw=b"\x00", price=float("nan"))
    assert columns(tmp_path / "run.db", "trades") == {
        "simulation_id": "VARCHAR(64)",
        "row_number": "INTEGER",
        "step": "INTEGER",
        "buyer": "INTEGER",
        "price": "REAL",
        "is_fair": "BOOLEAN",
        "mood": "TEXT",
        "goods": "TEXT",
        "raw": "BLOB",
    }
    assert query(tmp_path / "run.db", "SELECT * FROM trades") == [
        ("run", 1, 3, 1, None, 1, None, None, None),
        ("run", 2, 3, 2, 2.5, 0, "calm", None, None),
        ("run", 3, 4, None, None, None, None, '["corn", "oil"]', b"\x00"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "declared", "stored"),
    [
        (None, 1.5, "REAL", [None, 1.5]),
        (1, 1.5, "REAL", [1.0, 1.5]),
        (1, 2.0, "REAL", [1.0, 2.0]),
        (True, 3, "INTEGER", [1, 3]),
        (1, "007", "", [1, "007"]),
        (1.0, "x", "", [1.0, "x"]),
        ("007", 7, "", ["007", 7]),
        (2**53 + 1, 1.5, "", [2**53 + 1, 1.5]),
        (1.5, 2**53 + 1, "", [1.5, 2**53 + 1]),
        (b"x", "x", "", [b"x", "x"]),
    ],
)
@pytest.mark.parametrize("flushed", [False, True])
def test_no_value_is_changed_to_fit_the_first_rows(
    tmp_path, before, after, declared, stored, flushed
):
    with SimulationDatabase(tmp_path / "run.db") as db:
        db.logger.log("t", v=before)
        if flushed:
            db.flush_all_buffers()
        db.logger.log("t", v=after)
    found = [
        value for (value,) in query(tmp_path / "run.db", "SELECT v FROM t ORDER BY row_number")
    ]
    assert list(map(repr, found)) == list(map(repr, stored))
    assert columns(tmp_path / "run.db", "t")["v"] == declared


def test_a_table_that_is_stored_anew_keeps_its_rows_and_indexes(tmp_path):
    with SimulationDatabase(tmp_path / "run.db") as db:
        db.logger.log_many("t", [{"x": number, "v": number} for number in range(5)], key="x")
        db.flush_all_buffers()
        with db.Session() as session:
            session.connection().exec_driver_sql("CREATE INDEX by_v ON t (simulation_id, v)")
            session.commit()
        db.logger.log("t", x=5, v=0.5)
    assert query(tmp_path / "run.db", "SELECT x, v FROM t ORDER BY x") == [
        (0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 0.5),
    ]  # fmt: skip
    assert query(tmp_path / "run.db", "SELECT count(*) FROM sqlite_schema WHERE name = 'by_v'") == [
        (1,)
    ]
    require_sound(tmp_path / "run.db")


@pytest.mark.parametrize(
    ("table", "values", "message"),
    [
        ("agents", {"x": 1}, "one of the schema's own"),
        ("Simulations", {"x": 1}, "one of the schema's own"),
        ("sqlite_x", {"x": 1}, "cannot be the name of a table"),
        ("", {"x": 1}, "cannot be the name of a table"),
        ("t", {}, "has no values"),
        ("t", {"simulation_id": "other", "x": 1}, "of another simulation"),
        ("t", {"row_number": 1}, "cannot be a column"),
        ("t", {"": 1}, "cannot be a column"),
        ("t", {"X": 1}, "cannot be a column"),
        ("t", {"x": 2**70}, "more than 64 bits"),
        ("t", {"x": "\udc80"}, "no Unicode"),
        ("t", {"x": object()}, "cannot be stored"),
    ],
)
def test_what_does_not_fit_is_refused_and_counted(tmp_path, table, values, message):
    db = SimulationDatabase(tmp_path / "run.db")
    db.logger.log("t", x=1)
    with pytest.raises(InvalidRecordError, match=message):
        db.logger.log(table, **values)
    with pytest.raises(RefusedRowsError, match="1 rows were refused"):
        db.close()
    assert query(tmp_path / "run.db", "SELECT x FROM t") == [(1,)]


def test_every_row_of_a_refused_call_is_counted(tmp_path):
    db = SimulationDatabase(tmp_path / "run.db")
    with pytest.raises(InvalidRecordError):
        db.logger.log_many("t", [{"x": 1}, {"x": 2}, {"x": object()}])
    with pytest.raises(RefusedRowsError, match="3 rows were refused"):
        db.close()


def test_a_key_that_is_there_costs_only_its_row(tmp_path):
    db = SimulationDatabase(tmp_path / "run.db")
    db.logger.log_many("t", [(1, 2, "a"), (1, 3, "b")], key=("x", "y"), columns=("x", "y", "v"))
    db.flush_all_buffers()
    db.logger.log_many("t", [(1, 2, "again"), (2, 2, "c")], columns=("x", "y", "v"))
    with pytest.raises(InvalidRecordError, match="lacks its key, y"):
        db.logger.log("t", x=1)
    with pytest.raises(InvalidRecordError, match="its key is x, y, not x"):
        db.logger.log("t", key="x", x=1, y=2)
    with pytest.raises(InvalidRecordError, match="a row has not 3 values"):
        db.logger.log_many("t", [(1, 2)], columns=("x", "y", "v"))
    with pytest.raises(RefusedRowsError, match=r"4 rows were refused .*the first: table t"):
        db.close()
    assert query(tmp_path / "run.db", "SELECT x, y, v FROM t") == [
        (1, 2, "a"), (1, 3, "b"), (2, 2, "c"),
    ]  # fmt: skip
    assert query(
        tmp_path / "run.db", "SELECT results_summary ->> '$.refused_rows.log' FROM simulations"
    ) == [(3,)]


def test_what_cannot_be_written_is_still_held(tmp_path):
    with SimulationDatabase(tmp_path / "run.db") as db:
        db.logger.log("t", x=1)
        query(tmp_path / "run.db", "CREATE TABLE t (x)")
        with pytest.raises(Exception, match="1 rows could not be written and are still held"):
            db.flush_all_buffers()
        query(tmp_path / "run.db", "DROP TABLE t")
    assert query(tmp_path / "run.db", "SELECT row_number, x FROM t") == [(1, 1)]


def test_a_resumed_simulation_goes_on_with_its_tables(tmp_path):
    for resume in (False, True):
        with SimulationDatabase(tmp_path / "run.db", resume=resume) as db:
            db.logger.log("t", x=1)
            db.logger.log("k", key="step", step=int(resume), gini=0.5)
    assert query(tmp_path / "run.db", "SELECT row_number, x FROM t") == [(1, 1), (2, 1)]
    assert query(tmp_path / "run.db", "SELECT step FROM k") == [(0,), (1,)]


def test_contexts_of_one_experiment_share_a_table(tmp_path):
    with ExperimentDatabase(tmp_path / "exp.db", "e") as experiment:
        one, two = map(experiment.create_simulation_context, ("one", "two"))
        one.logger.log("t", x=1)
        two.logger.log("t", x=2, y="later")
        two.flush_all_buffers()
        one.logger.log("t", x=0.5)
        experiment.flush_all_buffers()
        two.logger.log("t", x=3)
    assert query(tmp_path / "exp.db", "SELECT * FROM t ORDER BY 1, 2") == [
        ("one", 1, 1.0, None), ("one", 2, 0.5, None), ("two", 1, 2.0, "later"), ("two", 2, 3.0, None),
    ]  # fmt: skip


def test_a_database_in_memory_is_persisted_with_them(tmp_path):
    with InMemorySimulationDatabase(simulation_id="run") as db:
        db.logger.log("t", x=1)
        assert db.persist_to_disk(tmp_path / "run.db", show_progress=False)["rows"]["t"] == 1
    assert query(tmp_path / "run.db", "SELECT x FROM t") == [(1,)]


def test_rows_may_come_by_column(tmp_path):
    db = SimulationDatabase(tmp_path / "run.db")
    db.logger.log_columns("t", {"step": np.arange(3), "x": [0.5, None, 2]}, key="step")
    db.logger.log_columns("t", {"step": (), "x": ()})
    with pytest.raises(InvalidRecordError, match="not equally long"):
        db.logger.log_columns("t", {"step": [3, 4], "x": [1]})
    with pytest.raises(InvalidRecordError, match="cannot be stored"):
        db.logger.log_columns("t", {"step": [3, 4, 5], "x": [1, 2, object()]})
    with pytest.raises(RefusedRowsError, match="log_columns 4"):
        db.close()
    assert query(tmp_path / "run.db", "SELECT step, x FROM t ORDER BY step") == [
        (0, 0.5), (1, None), (2, 2.0),
    ]  # fmt: skip


@pytest.mark.parametrize("engine", ["graft", "attach"])
def test_such_shards_are_merged_as_today_s_are(tmp_path, engine):
    shards = [tmp_path / f"run_{number}.db" for number in range(4)]
    for number, path in enumerate(shards):
        with SimulationDatabase(path, parameters={"n": number}) as db:
            for step in range(200):
                db.logger.log("model", key="step", step=step, gini=number + step / 7)
                db.logger.log_many("trades", [{"step": step, "price": 2.5}] * number)
            if number == 2:
                db.logger.log("model", step=200, note="only here")
    report = merge_shards(shards, tmp_path / "exp.db", engine=engine, verify="content")
    assert report.details == ()
    found = audit(tmp_path / "exp.db", shards)
    assert (found.problems, found.compared) == ((), 4)
    assert query(tmp_path / "exp.db", "SELECT simulation_id, count(*) FROM trades GROUP BY 1") == [
        ("run_1", 200), ("run_2", 400), ("run_3", 600),
    ]  # fmt: skip
