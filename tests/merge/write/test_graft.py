"""Pages that are copied give what rows that are copied give, at every boundary of the format."""

from __future__ import annotations

import random
import shutil
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from farm_merge.errors import ShardError
from farm_merge.merge import merge_shards
from farm_merge.merge.pages.join import GrowingFile
from farm_merge.merge.write import load, write
from farm_merge.schema import create_schema
from farm_merge.sqlite import sqlite3
from tests.conftest import EXAMPLES, content, query, union, vacuumed
from tests.merge.eras import write as write_database
from tests.merge.eras import write_era

SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
        HealthCheck.function_scoped_fixture,  # it is the same for all examples
    ],
)


@pytest.fixture(params=["whole", "partial"], autouse=True)
def reading(request, monkeypatch):
    """Graft all shards twice: as small ones, which are read whole, and as large ones."""
    if request.param == "partial":
        monkeypatch.setattr(load, "_WHOLE_BYTES", 0)


LOG = """CREATE TABLE log (simulation_id VARCHAR(64) NOT NULL, "n" INTEGER, "text" TEXT COLLATE NOCASE,
    PRIMARY KEY (simulation_id, "n" DESC), UNIQUE (simulation_id, "text", "n")) WITHOUT ROWID"""
INDEXES = (
    'CREATE INDEX log_text ON log (simulation_id, "text" DESC)',
    "CREATE INDEX log_large ON log (simulation_id, length(text)) WHERE n % 2",
)


def write_shard(path, simulation_id, sizes, *, page_size=4096):
    """Write a shard whose rows have these sizes, in tables and in indexes of every kind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {page_size}")
        connection.execute("BEGIN")
        create_schema(connection)
        for statement in (LOG, *INDEXES):
            connection.execute(statement)
        connection.execute(
            "INSERT INTO simulations (simulation_id, status, parameters, simulation_db_path)"
            " VALUES (?, 'completed', ?, '')",
            (simulation_id, '{"x": "' + "p" * 3000 + '"}'),
        )
        connection.executemany(
            "INSERT INTO agent_actions (simulation_id, action_id, step_number, agent_id,"
            " action_type, details) VALUES (?, ?, 0, 'a', 'move', ?)",
            [(simulation_id, number, "d" * size) for number, size in enumerate(sizes)],
        )
        connection.executemany(
            "INSERT INTO agent_states (simulation_id, step_number, agent_id) VALUES (?, ?, ?)",
            [(simulation_id, number, "a" * (size % 2000)) for number, size in enumerate(sizes)],
        )
        connection.executemany(
            "INSERT INTO log VALUES (?, ?, ?)",
            [
                (simulation_id, number, chr(97 + number % 26) * size)
                for number, size in enumerate(sizes)
            ],
        )
        connection.execute("COMMIT")
    return path


def require_sound(path):
    """Let SQLite check a file, change it a thousand times, and check it again."""
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        choose = random.Random(1)
        keys = connection.execute("SELECT simulation_id, action_id FROM agent_actions").fetchall()
        connection.execute("BEGIN")
        for _ in range(1000):
            key = choose.choice(keys) if keys else ("s0", 0)
            size = choose.choice([0, 10, 500, 1000, 5000])
            connection.execute(
                *choose.choice(
                    [
                        (
                            "UPDATE agent_actions SET details = ? WHERE simulation_id = ?"
                            " AND action_id = ?",
                            ("u" * size, *key),
                        ),
                        (
                            "DELETE FROM agent_actions WHERE simulation_id = ? AND action_id = ?",
                            key,
                        ),
                        (
                            "INSERT OR REPLACE INTO agent_actions (simulation_id, action_id,"
                            " step_number, agent_id, action_type, details) VALUES (?, ?, 1, 'b',"
                            " 'x', ?)",
                            (key[0], choose.randrange(10**6), "i" * size),
                        ),
                        (
                            "DELETE FROM agent_states WHERE simulation_id = ? AND step_number = ?",
                            key,
                        ),
                    ]
                )
            )
        connection.execute("COMMIT")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def require_equal_to_attach(sources, folder, **options):
    """Merge with both engines, compare all rows and the registry, and check the grafted file."""
    one, other = folder / "out" / "exp.db", folder / "out2" / "exp.db"
    merge_shards(sources, one, engine="graft", verify="content", **options)
    merge_shards(sources, other, engine="attach", **options)
    assert content(one) == content(other)
    for table in ("simulations", "experiments"):
        found = query(one, f"SELECT * FROM {table}")
        assert [row[:4] for row in found] == [
            row[:4] for row in query(other, f"SELECT * FROM {table}")
        ]
    ledger = "SELECT simulation_id, fingerprint, source_path, source_schema, size_bytes, row_counts, json_remove(choices, '$.digest') FROM merged_shards"
    assert query(one, ledger) == query(other, ledger)
    if query(one, "SELECT 1 FROM sqlite_schema WHERE name = 'log' AND type = 'table'"):
        for order in ("1, 2", "text COLLATE NOCASE DESC, 1, 2"):
            rows = f"SELECT * FROM log ORDER BY {order}"
            assert query(one, rows) == query(other, rows)
    tables = "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY 1, 2"
    assert query(one, tables) == query(other, tables)
    require_sound(one)
    return one


sizes = st.one_of(
    st.just([]),
    st.lists(
        st.sampled_from([0, 1, 100, 480, 489, 900, 960, 970, 980, 990, 1000, 1100, 4000, 4100]),
        max_size=60,
    ),
    st.lists(st.integers(0, 20_000), max_size=15),
    st.integers(1, 3000).map(lambda count: [30] * count),
)


@SETTINGS
@given(st.lists(sizes, min_size=1, max_size=5), st.sampled_from([512, 1024, 4096, 8192, 65536]))
@example([[30] * 3, [], [30] * 2000, [30], [30] * 500], 512)
@example([[1000], [1000], [1000]], 4096)
@example([[3000] * 400], 512)
@example([[15_000] * 40, [0], [15_000] * 40], 65536)
def test_pages_give_what_rows_give(drawn, page_size):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = [
            write_shard(folder / f"s{number}.db", f"s{number}", rows, page_size=page_size)
            for number, rows in enumerate(drawn)
        ]
        require_equal_to_attach(sources, folder)


def test_shards_are_grafted_and_not_copied(make_shard, tmp_path, grafted):
    shards = [make_shard("a"), make_shard("b", steps=400), make_shard("c", agents=1)]
    require_equal_to_attach(shards, tmp_path)
    assert len(grafted) == 3


def test_four_levels_of_a_tree(tmp_path, grafted):
    sources = [
        write_shard(tmp_path / f"s{number}.db", f"s{number}", [60] * 4000, page_size=512)
        for number in range(3)
    ]
    require_equal_to_attach(sources, tmp_path)
    assert len(grafted) == 3


def test_the_order_of_ids_is_that_of_their_bytes(make_shard, tmp_path, grafted):
    names = ["a", "B", "é", "z", "\U0001f41c", "~", "_"]
    require_equal_to_attach([make_shard(name, steps=200) for name in names], tmp_path)
    assert len(grafted) == len(names)


@pytest.mark.parametrize("era", [1, 2, 5, 8])
def test_files_that_are_rewritten_are_grafted_too(era, tmp_path, grafted):
    sources = [
        write_era(tmp_path / f"run_{number}.db", era, f"sim_{number}") for number in range(3)
    ]
    for number, source in enumerate(sources):
        table = "AgentStates" if era < 3 else "agent_states"
        query(source, f"UPDATE {table} SET position_x = ?", number)
    require_equal_to_attach(sources, tmp_path)
    assert len(grafted) == 3


def test_shards_and_others_in_one_merge(make_shard, tmp_path, grafted):
    odd = vacuumed(make_shard("odd", steps=100), "PRAGMA page_size = 8192")
    tidy = vacuumed(make_shard("tidy", steps=100), "PRAGMA auto_vacuum = FULL")
    assert query(odd, "PRAGMA page_size") == [(8192,)]
    assert query(tidy, "PRAGMA auto_vacuum") == [(1,)]
    sources = [
        make_shard("a", steps=100),
        odd,
        tidy,
        make_shard("q", "r", steps=50),
        make_shard("m", "z", steps=50),
        write_era(tmp_path / "old.db", 3),
    ]
    require_equal_to_attach(sources, tmp_path)
    # Those of another page size, with auto-vacuum, or that interleave are copied.
    assert len(grafted) == 3


def test_simulations_that_interleave_are_copied(make_shard, tmp_path, grafted):
    sources = [make_shard("a", "c", steps=50), make_shard("b", "d", steps=50)]
    require_equal_to_attach(sources, tmp_path)
    assert grafted == []


def test_free_pages_do_not_come_along(make_shard, tmp_path, grafted):
    shard = make_shard("a", steps=2000)
    query(shard, "DELETE FROM agent_states WHERE step_number % 3 <> 0")
    query(shard, "DELETE FROM resource_states")
    assert query(shard, "PRAGMA freelist_count") > [(0,)]
    require_equal_to_attach([shard, make_shard("b", steps=300)], tmp_path)
    assert len(grafted) == 2


def test_a_shard_that_was_analysed_is_merged(make_shard, tmp_path):
    shard = make_shard("a", steps=200)
    query(shard, "ANALYZE")
    require_equal_to_attach([shard, make_shard("b", steps=200)], tmp_path)


@pytest.mark.parametrize(("place", "value"), [(36, 7), (32, 3), (28, 2)])
def test_a_header_that_lies_is_not_believed(make_shard, tmp_path, place, value):
    """A freelist that is not there would hide overflow chains, a short file its last pages."""
    shard = write_shard(tmp_path / "a.db", "a", [5000] * 20)
    data = bytearray(shard.read_bytes())
    data[place : place + 4] = value.to_bytes(4, "big")
    shard.write_bytes(data)
    merge_shards([shard, make_shard("z")], tmp_path / "exp.db", on_bad_shard="skip", engine="graft")
    found = query(tmp_path / "exp.db", "SELECT length(details) FROM agent_actions"
                  " WHERE simulation_id = 'a'")  # fmt: skip
    assert found in ([], [(5000,)] * 20)


def test_shorter_rows_are_rows_of_a_table_that_grew(make_shard, tmp_path, grafted):
    """A column that a shard gained is NULL for the others, whose pages stay as they are."""
    grown = make_shard("a", steps=200)
    query(grown, "ALTER TABLE agents ADD COLUMN mood TEXT")
    query(grown, "UPDATE agents SET mood = 'good'")
    output = require_equal_to_attach([make_shard("b", steps=200), grown], tmp_path)
    assert len(grafted) == 2
    assert query(output, "SELECT DISTINCT simulation_id, mood FROM agents") == [
        ("a", "good"),
        ("b", None),
    ]


def test_a_column_with_a_default_is_copied(make_shard, tmp_path, grafted):
    """Rows that are shorter than their table read as its defaults, which the output may not have."""
    shard = make_shard("a", steps=200)
    query(shard, "ALTER TABLE agents ADD COLUMN mood TEXT DEFAULT 'fine'")
    output = require_equal_to_attach([make_shard("b", steps=200), shard], tmp_path)
    assert len(grafted) == 1
    found = query(output, "SELECT DISTINCT simulation_id, mood FROM agents")
    assert found == [("a", "fine"), ("b", None)]


def test_the_page_of_the_lock_byte_stays_unused(make_shard, tmp_path, monkeypatch):
    """A file that crosses one gigabyte, without writing one: its pages start just below."""
    sources = [make_shard(name, steps=3000, agents=10) for name in "abc"]
    honest = GrowingFile.__init__

    def far(self, *arguments):
        honest(self, *arguments)
        self.allocator.take(2**30 // 4096 - 100 - self.allocator.total)

    monkeypatch.setattr(GrowingFile, "__init__", far)
    monkeypatch.setattr(write, "check_new_output", lambda *_: None)
    merge_shards(sources, tmp_path / "exp.db", engine="graft")
    assert (tmp_path / "exp.db").stat().st_size > 2**30
    found = query(tmp_path / "exp.db", "PRAGMA integrity_check(100000)")
    assert all("never used" in text for (text,) in found)  # the hole that this test made
    used = {text.split()[1].rstrip(":") for (text,) in found}
    assert str(2**30 // 4096 + 1) not in used
    assert content(tmp_path / "exp.db") == union(*sources)


def test_a_torn_page_is_found_and_its_shard_named(make_shard, tmp_path):
    good, bad = make_shard("a", steps=500), make_shard("b", steps=500)
    data = bytearray(bad.read_bytes())
    for page in range(6, len(data) // 4096, 3):
        data[page * 4096 : page * 4096 + 2000] = random.Random(page).randbytes(2000)
    bad.write_bytes(data)
    with pytest.raises(ShardError, match=r"b\.db: "):
        merge_shards([good, bad], tmp_path / "exp.db", engine="graft")
    assert not (tmp_path / "exp.db").exists()
    report = merge_shards([good, bad], tmp_path / "exp.db", on_bad_shard="skip", engine="graft")
    assert [left_out.path for left_out in report.left_out] == [bad]
    assert content(tmp_path / "exp.db") == content(good)


def test_equal_shards_under_one_id_are_merged_once(make_shard, tmp_path):
    shard = make_shard("a", steps=100)
    copy = tmp_path / "copy.db"
    shutil.copy(shard, copy)
    report = merge_shards([shard, copy], tmp_path / "exp.db", engine="graft")
    assert [outcome.action.value for outcome in report.simulations] == ["merged", "already merged"]
    assert report.rows == sum(map(len, content(shard).values()))


def test_small_shards_are_packed_and_large_ones_grafted(make_shard, tmp_path, grafted):
    shards = [make_shard("a"), make_shard("b"), make_shard("c", steps=3000), make_shard("d")]
    merge_shards(shards, tmp_path / "exp.db")
    assert len(grafted) == 3  # a with b, c, and d
    assert content(tmp_path / "exp.db") == union(*shards)


@pytest.mark.parametrize("verify", ["none", "content"])
def test_files_that_are_joined_are_copied(tmp_path, grafted, verify):
    """Their keys interleave inside one simulation, and pages would keep each file's order."""
    runs = [
        write_database(
            tmp_path / "in" / f"run_{run}" / f"rank_{rank}.db",
            "CREATE TABLE t (k INTEGER PRIMARY KEY)",
            "CREATE TABLE log (line)",
            f"INSERT INTO t VALUES ({rank}), ({rank + 2}), ({rank + 4})",
            f"INSERT INTO log VALUES ('{run}.{rank} begins'), ('{run}.{rank} ends')",
        )
        for run in "ab"
        for rank in ((1, 2) if run == "a" else (1,))
    ]
    output = tmp_path / "exp.db"
    options = {"simulation_id": "{parent}", "join": True, "engine": "graft", "verify": verify}
    merge_shards(runs, output, **options)
    assert len(grafted) == 1
    assert query(output, "PRAGMA integrity_check") == [("ok",)]
    rows = "SELECT simulation_id, count(*), count(DISTINCT row_number) FROM log GROUP BY 1"
    assert query(output, rows) == [("run_a", 4, 4), ("run_b", 2, 2)]
    assert query(output, "SELECT k FROM t WHERE simulation_id = 'run_a'") == [
        (k,) for k in range(1, 7)
    ]
