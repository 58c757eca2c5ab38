"""A database may come from anybody: what it computes does not run at any cost when it is read, or written."""

from __future__ import annotations

from contextlib import closing

import pytest

from farm_merge.describe import describe_simulations
from farm_merge.errors import FarmMergeError
from farm_merge.housekeeping import remove_simulations, split_database, vacuum_database
from farm_merge.merge import audit, merge_shards, plan_merge
from farm_merge.read.compare import compare_simulations
from farm_merge.read.export import export_tables
from farm_merge.read.listing import describe_database, list_simulations
from farm_merge.sqlite import sqlite3

BOMB = "length(hex(zeroblob(400000000)))"
FOR_EVER = (
    "(WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT count(*) FROM c)"
)

HOSTILE = {
    "a computed column": (
        "CREATE TABLE own (simulation_id, k, PRIMARY KEY (simulation_id, k)) WITHOUT ROWID",
        f"UPDATE sqlite_schema SET sql = replace(sql, 'k,', 'k, g AS ({BOMB}),') WHERE name = 'own'",
    ),
    "a column of ours": (
        "UPDATE sqlite_schema SET sql = replace(sql, '''-''', 'hex(zeroblob(400000000))')"
        " WHERE name = 'agent_states'",
    ),
    "an index": (
        "CREATE INDEX i ON agents (simulation_id, birth_time)",
        f"UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON agents (simulation_id, {BOMB})'"
        " WHERE name = 'i'",
    ),
    "a partial index": (
        "CREATE INDEX i ON agents (simulation_id, birth_time)",
        "UPDATE sqlite_schema SET sql = 'CREATE INDEX i ON agents (simulation_id, birth_time)"
        f" WHERE {BOMB} > 1' WHERE name = 'i'",
    ),
    "a view in the place of a table": (
        "ALTER TABLE simulations RENAME TO real",
        f"CREATE VIEW simulations AS SELECT *, {FOR_EVER} AS zz FROM real",
    ),
}
READERS = {
    "list": list_simulations,
    "info": describe_database,
    "compare": compare_simulations,
    "verify": audit,
    "export": lambda path: export_tables([path], path.with_name("csv"), "csv"),
    "vacuum": vacuum_database,
    "split": lambda path: split_database(path, path.with_name("parts")),
}
WRITERS = {
    "describe": lambda path: describe_simulations(path, {"a": {"x": 1}}),
    "remove": lambda path: remove_simulations(path, ["a"]),
    "merge into": lambda path: merge_shards([path.with_name("more")], path),
    "merge into, planned": lambda path: plan_merge([path.with_name("more")], path),
}
A_TRIGGER = f"""CREATE TRIGGER t BEFORE %s ON agents
BEGIN DELETE FROM simulations WHERE simulation_id = 'b'; SELECT {FOR_EVER}; END"""


@pytest.fixture
def hostile(make_shard, tmp_path):
    def make(how, *statements):
        merge_shards([make_shard("a"), make_shard("b")], tmp_path / "exp.db")
        with closing(sqlite3.connect(str(tmp_path / "exp.db"), isolation_level=None)) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            for statement in HOSTILE.get(how, statements):
                connection.execute(statement)
        return tmp_path / "exp.db"

    return make


@pytest.mark.parametrize("how", HOSTILE)
@pytest.mark.parametrize("user", READERS | WRITERS)
def test_it_is_refused_in_words(hostile, make_shard, how, user):
    path = hostile(how)
    make_shard("c", folder="more")
    with pytest.raises(FarmMergeError, match=r"very long|not an? (experiment )?database of today"):
        (READERS | WRITERS)[user](path)


def test_a_default_that_costs_much_is_not_computed_for_what_is_merged(hostile, make_shard):
    path = hostile(
        "a default",
        "ALTER TABLE agents ADD COLUMN mine",
        f"UPDATE sqlite_schema SET sql = replace(sql, 'mine', 'mine DEFAULT ({BOMB})')"
        " WHERE name = 'agents'",
    )
    make_shard("c", folder="more")
    with pytest.raises(FarmMergeError, match="very long to write"):
        WRITERS["merge into"](path)


@pytest.mark.parametrize("writer", WRITERS)
def test_triggers_do_not_run_and_a_merge_takes_them_out(make_shard, tmp_path, writer):
    path = tmp_path / "exp.db"
    merge_shards([make_shard("a"), make_shard("b")], path)
    make_shard("c", folder="more")
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        connection.execute(A_TRIGGER % ("DELETE" if writer == "remove" else "INSERT"))
    before = path.read_bytes()
    with pytest.raises(FarmMergeError, match=r"trigger \(t\)"):
        WRITERS[writer](path)
    assert path.read_bytes() == before
    merge_shards([path], tmp_path / "new.db")
    path.unlink()
    (tmp_path / "new.db").rename(path)
    WRITERS[writer](path)


def test_what_is_cheap_is_read(make_shard, tmp_path):
    merge_shards([make_shard("a")], tmp_path / "exp.db")
    with closing(sqlite3.connect(str(tmp_path / "exp.db"), isolation_level=None)) as connection:
        connection.execute("CREATE INDEX i ON agents (simulation_id, lower(agent_type))")
        connection.execute("CREATE VIEW mine AS SELECT * FROM agents")
    assert [it["simulation_id"] for it in list_simulations(tmp_path / "exp.db")] == ["a"]
    assert audit(tmp_path / "exp.db").problems == ()
