"""What came from where, and what follows for a file that is met again."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from farm_merge.errors import ConflictError
from farm_merge.merge import Action, merge_shards
from farm_merge.merge.inputs import survey
from farm_merge.merge.inputs.file import identify
from farm_merge.merge.ledger import (
    expected_rows,
    path_text,
    read_ledger,
    recall,
    summarize_ledger,
)
from farm_merge.publish import read_output
from tests.conftest import content, query
from tests.merge.checks import actions, counts_of
from tests.merge.eras import write_era
from tests.merge.values import entry


def test_a_file_that_the_ledger_knows_is_not_read_again(make_shard, tmp_path, monkeypatch):
    shards = [make_shard("a"), make_shard("b", "c"), write_era(tmp_path / "shards" / "old.db", 3)]
    output = tmp_path / "exp.db"
    merge_shards(shards, output)

    def read(*_, **__):
        raise AssertionError

    with monkeypatch.context() as forbidden:
        forbidden.setattr(survey, "inspect_file", read)
        forbidden.setattr(survey, "inspect_briefly", read)
        report = merge_shards(shards, output)
    assert set(actions(report).values()) == {Action.ALREADY_MERGED}
    assert len(report.simulations) == 4
    assert report.simulations[0].rows == 35
    query(shards[0], "UPDATE agents SET genome_id = 'changed'")
    with pytest.raises(ConflictError, match="'a' has other data"):
        merge_shards(shards, output)


def test_a_file_of_which_not_all_was_merged_is_read_again(make_shard, tmp_path):
    shard = make_shard("a", "b")
    query(shard, "UPDATE simulations SET status = 'running' WHERE simulation_id = 'b'")
    output = tmp_path / "exp.db"
    merge_shards([shard], output)
    report = merge_shards([shard], output)
    assert [left_out.simulation_id for left_out in report.left_out] == ["b"]
    merge_shards([shard], output, include_running=True)
    assert content(output) == content(shard)


def test_the_ledger_records_what_came_from_where(make_shard, tmp_path):
    shard = make_shard("a")
    merge_shards([shard], tmp_path / "half.db")
    merge_shards([tmp_path / "half.db"], tmp_path / "exp.db")
    ledger = query(
        tmp_path / "exp.db",
        "SELECT source_path, json_extract(row_counts, '$.agent_states'), size_bytes"
        " FROM merged_shards WHERE simulation_id = 'a' ORDER BY source_path DESC",
    )
    history, newest = sorted(ledger, key=lambda row: row[0] != str(shard))
    assert history == (str(shard), 15, shard.stat().st_size)
    assert newest[0] == str(tmp_path / "half.db")


# The parts of it


def test_the_rows_of_a_simulation_are_those_of_its_newest_file_or_of_all_that_were_joined():
    entries = [
        replace(entry("a"), row_counts={"T": 5, "u": 1}),
        replace(entry("b"), row_counts={"t": 2}),
        replace(entry("a"), row_counts={"t": 3}),
        replace(entry("b", joined=True), row_counts={"t": 4, "T": 1}),
    ]
    assert expected_rows(entries) == {"a": {"t": 3}, "b": {"t": 7}}


@pytest.mark.parametrize(
    ("choices", "in_file", "own_id", "origin"),
    [
        ({}, 1, "a", ("f", None)),
        ({"own_id": None}, 1, None, ("f", None)),
        ({"own_id": "x", "simulations_in_file": 2}, 2, "x", ("f", "x")),
        ({"own_id": None, "simulations_in_file": 2}, 2, None, ("f", None)),
        ({"simulations_in_file": 2}, 2, "a", ("f", "a")),
    ],
)
def test_an_entry_knows_what_a_simulation_came_from(choices, in_file, own_id, origin):
    found = entry("a", fingerprint="f", **choices)
    assert (found.in_file, found.own_id, found.origin) == (in_file, own_id, origin)


@pytest.fixture
def files(tmp_path):
    """Files and what a ledger records about them, if all of them was merged as they are."""
    made = {}
    for name in ("a", "b"):
        path = tmp_path / f"{name}.db"
        path.write_text(name)
        made[path] = replace(
            entry(name, fingerprint=name), source_path=path_text(path), identity=identify(path)
        )
    return made


def recalled(files, ledger, ids="ab"):
    return [(path.name, len(it.entries)) for path, it in recall(files, ledger, set(ids)).items()]


def test_files_are_recalled_that_rest_where_they_were(files):
    assert recalled(files, files.values()) == [("a.db", 1), ("b.db", 1)]
    assert recalled(files, files.values(), "b") == [("b.db", 1)]  # the other was removed
    assert recalled(files, []) == []


@pytest.mark.parametrize("change", ["touched", "wal", "gone", "other"])
def test_a_file_that_is_not_as_it_was_is_not_recalled(files, change):
    path = next(iter(files))
    if change == "touched":
        os.utime(path, ns=(1, 1))
    elif change == "wal":
        path.with_name("a.db-wal").write_text("frames")
    elif change == "gone":
        path.unlink()
    else:
        path.write_text("another text")
    assert recalled(files, files.values()) == [("b.db", 1)]


def test_all_simulations_of_a_file_have_to_be_there(files):
    (path, first), *_ = files.items()
    both = [
        replace(first, simulation_id=name, choices={"simulations_in_file": 2})
        for name in ("x", "y")
    ]
    assert recalled([path], both, "xy") == [("a.db", 2)]
    assert recalled([path], both, "x") == []
    assert recalled([path], both[:1], "xy") == []


def test_of_several_files_that_were_at_a_path_the_last_counts(files):
    """First this one, then another, and this one again with a third run in it."""
    (path, first), *_ = files.items()
    other = replace(first, fingerprint="other")
    third = replace(first, fingerprint="third")
    assert recalled([path], [other, first]) == [("a.db", 1)]
    assert recalled([path], [first, other, third], "a") == [("a.db", 1)]
    # What was there in between was removed since, and must not hide that it was.
    removed = replace(other, simulation_id="removed")
    assert recalled([path], [first, removed]) == []
    two = [replace(third, choices={"simulations_in_file": 2}, simulation_id=name) for name in "ab"]
    assert recalled([path], [first, other, *two]) == [("a.db", 2)]
    assert recalled([path], [*two, first]) == [("a.db", 1)]


def test_what_was_merged_from_a_path_in_turn_is_recalled_by_the_last(make_shard, tmp_path):
    path, output = tmp_path / "run.db", tmp_path / "exp.db"
    for name in ("one", "two", "three"):
        shutil.copy(make_shard(name), path)
        merge_shards([path], output)
    (outcome,) = merge_shards([path], output).simulations
    assert (outcome.simulation_id, outcome.action) == ("three", Action.ALREADY_MERGED)
    assert outcome.reason == "the ledger has this very file"


def test_an_entry_comes_back_as_it_was_written(make_shard, tmp_path):
    path = make_shard("a", "b")
    merge_shards([path], tmp_path / "exp.db", simulation_id="{stem}-{id}")
    with read_output(tmp_path / "exp.db") as connection:
        entries = read_ledger(connection)
        summary = summarize_ledger(connection)
    assert [(it.simulation_id, it.own_id, it.in_file) for it in entries] == [
        ("a-a", "a", 2),
        ("a-b", "b", 2),
    ]
    for found in entries:
        assert found.source_path == str(path)
        assert found.identity == identify(path)
        assert sum(found.row_counts.values()) == sum(counts_of(path).values()) // 2
    assert summary["files"] == 1
    assert summary["schemas"] == {"farm-merge 1": 2}
    assert summary["choices"] == {}  # nobody chose anything
    assert sum(summary["versions"].values()) == 2
    assert summary["first_merged"] <= summary["last_merged"]


def test_what_was_chosen_is_counted(tmp_path):
    path = write_era(tmp_path / "run.db", 2)
    query(path, "INSERT INTO AgentStates VALUES (0, 0, 77.5, 1, 1, 1)")
    merge_shards([path], tmp_path / "exp.db", on_duplicate_row="first")
    with read_output(tmp_path / "exp.db") as connection:
        assert summarize_ledger(connection)["choices"] == {"duplicate_rows": 1}


def test_history_comes_along_once(make_shard, tmp_path):
    merge_shards([make_shard("a")], tmp_path / "one.db")
    for name in ("two.db", "three.db"):
        merge_shards([tmp_path / "one.db"], tmp_path / name)
    merge_shards([tmp_path / "two.db", tmp_path / "three.db"], tmp_path / "whole.db")
    paths = query(tmp_path / "whole.db", "SELECT source_path FROM merged_shards ORDER BY merged_at")
    assert sorted(Path(path).name for (path,) in paths) == ["a.db", "one.db", "two.db"]


def test_paths_of_any_bytes_are_text():
    assert path_text(Path("/a/ü.db")) == "/a/ü.db"
    assert path_text(Path(os.fsdecode(b"/a/\xff.db"))) == "/a/\\xff.db"


def test_a_path_is_absolute_where_there_is_no_working_directory(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    assert path_text(Path("a.db")) == f"{gone}/a.db"
    gone.rmdir()
    assert path_text(Path("/a.db")) == "/a.db"
