"""What a file is, which simulations are in it, and whether it can be carried."""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import replace

import pytest
import xxhash

from farm_merge.errors import InvalidOptionError, ShardError, StillWrittenError
from farm_merge.merge import inspect_shard, merge_shards
from farm_merge.merge.inputs import inspect
from farm_merge.merge.inputs.file import look_at
from farm_merge.merge.inputs.inspect import inspect_briefly, inspect_file
from farm_merge.merge.inputs.snapshot import snapshot
from farm_merge.merge.options import Options
from farm_merge.sqlite import sqlite3
from tests.conftest import query
from tests.merge.checks import counts_of
from tests.merge.eras import write, write_era
from tests.merge.values import run, shard, source


def test_a_file_without_tables_holds_nothing_to_merge(tmp_path):
    with pytest.raises(ShardError, match="no table of data"):
        inspect_shard(write(tmp_path / "x.db", "CREATE VIEW v AS SELECT 1"))


def briefly(path):
    return inspect_briefly(look_at(path))


def wholly(path):
    return inspect_file(look_at(path), Options())


def test_a_brief_inspection_finds_all_but_the_contents(make_shard):
    path = make_shard("a", experiment=("e", "E"))
    query(path, "CREATE VIEW v AS SELECT 1")
    brief, whole = briefly(path), wholly(path)
    assert brief.contents is None
    assert replace(brief, contents=whole.contents) == whole
    assert brief.experiments == whole.experiments == {"e": ("E", None, None)}
    assert brief.notes == ("holds no data, so not carried: view v",)
    assert brief.is_shard


def test_whole_is_what_was_read_of_a_file(make_shard):
    path = make_shard("a", "b", steps=4)
    source = wholly(path)
    assert source.contents.fingerprint == xxhash.xxh3_128_hexdigest(path.read_bytes())
    assert [sum(counts.values()) for counts in source.contents.row_counts] == [
        sum(counts_of(path).values()) // 2
    ] * 2
    assert [it.own_id for it in source.simulations] == ["a", "b"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE agents SET simulation_id = 'b' WHERE agent_id = 'agent_1'",
        "UPDATE simulations SET simulation_id = 'b'",
        "UPDATE agents SET simulation_id = x'61'",
        "CREATE TABLE own (x)",
        "PRAGMA user_version = 0",
    ],
)
def test_only_a_shard_of_one_simulation_is_inspected_briefly(make_shard, change):
    path = make_shard("a")
    assert briefly(path)
    query(path, change)
    assert briefly(path) is None


def test_a_damaged_file_is_read_whole_to_find_out_why(make_shard):
    path = make_shard("a")
    file = look_at(path)
    data = bytearray(path.read_bytes())
    data[100:108] = b"\xff" * 8
    path.write_bytes(data)
    assert inspect_briefly(file) is None


def test_what_is_inspected_is_the_snapshot_and_not_what_came_later(tmp_path):
    path = write(tmp_path / "run.db", "CREATE TABLE t (k INTEGER PRIMARY KEY)",
                 "INSERT INTO t VALUES (1)")  # fmt: skip
    with closing(sqlite3.connect(str(path), isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = WAL")
        file = snapshot(path, tmp_path / "copy.db")
        writer.execute("INSERT INTO t VALUES (2)")
        source = inspect_file(file, Options())
    assert source.path == path
    assert source.contents.row_counts == ({"t": 1},)
    assert source.contents.fingerprint == xxhash.xxh3_128_hexdigest(
        (tmp_path / "copy.db").read_bytes()
    )


def test_a_file_that_changes_while_it_is_read_is_being_written(make_shard, monkeypatch):
    path = make_shard("a")
    honest = inspect.read_rows

    def meddle(*arguments):
        os.utime(path, ns=(1, 1))
        return honest(*arguments)

    monkeypatch.setattr(inspect, "read_rows", meddle)
    with pytest.raises(StillWrittenError, match="changed after it was inspected"):
        inspect_shard(path)


def test_what_is_not_carried_is_named(tmp_path, make_shard):
    path = make_shard("a")
    for statement in (
        "CREATE INDEX own ON agents (simulation_id, agent_type)",
        "CREATE TRIGGER t AFTER INSERT ON agents BEGIN SELECT 1; END",
        "CREATE VIRTUAL TABLE words USING fts5(text)",
    ):
        query(path, statement)
    loud, quiet = inspect_shard(path).notes
    assert loud.startswith("WARNING: virtual tables are not carried, with what they hold: words, ")
    assert quiet == "holds no data, so not carried: trigger t, index own"


def test_an_option_that_is_none_is_refused(make_shard):
    with pytest.raises(InvalidOptionError, match="on_duplicate_row is 'frist'"):
        inspect_shard(make_shard("a"), on_duplicate_row="frist")


def test_what_a_file_is_taken_for_can_be_chosen(tmp_path):
    path = write_era(tmp_path / "run.db", 8)
    assert inspect_shard(path, schema="foreign").kind == "foreign"


def test_a_ledger_with_entries_is_history(make_shard, tmp_path):
    path = make_shard("a")
    assert not inspect_shard(path).has_history
    merge_shards([path], tmp_path / "exp.db")
    assert inspect_shard(tmp_path / "exp.db").has_history


def test_a_name_for_the_output_changes_how_a_shard_is_carried():
    own = shard("a.db")
    assert own.named(["a"]).is_shard
    renamed = own.named(["b"])
    assert not renamed.is_shard
    assert renamed.traits.renamed
    assert renamed.bindings == {"simulation_id": "b", "unattributed": None}
    assert renamed.contents.row_counts == own.contents.row_counts
    several = source(runs=[run("a"), run(None, "unattributed")]).named(["a", "nobody"])
    assert several.bindings == {"simulation_id": None, "unattributed": "nobody"}
