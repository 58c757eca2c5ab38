"""What runs are called: by their ledger, by themselves, by their paths, or by a template."""

from __future__ import annotations

import shutil
from pathlib import Path

from farm_merge.merge import Action, merge_shards
from tests.conftest import query
from tests.merge.checks import ids, merge_checked
from tests.merge.eras import write_nameless


def test_runs_are_called_by_their_stem_and_as_many_folders_as_needed(tmp_path):
    for name in ("x/run_1/simulation", "x/run_2/simulation", "y/run_2/simulation", "alone"):
        write_nameless(tmp_path / "in" / f"{name}.db", name)
    merge_checked(tmp_path / "exp.db", tmp_path / "in")
    assert ids(tmp_path / "exp.db") == [
        "alone",
        "run_1_simulation",
        "x_run_2_simulation",
        "y_run_2_simulation",
    ]


def test_a_run_that_comes_later_gets_a_name_of_its_own_and_keeps_it(tmp_path):
    first = write_nameless(tmp_path / "run_1" / "simulation.db", 1)
    second = write_nameless(tmp_path / "run_2" / "simulation.db", 2)
    output = tmp_path / "exp.db"
    merge_checked(output, first)
    merge_checked(output, second)
    assert ids(output) == ["run_2_simulation", "simulation"]
    report = merge_checked(output, first, second)
    assert {each.action for each in report.simulations} == {Action.ALREADY_MERGED}


def test_a_run_that_changed_since_is_a_conflict_and_not_a_new_one(tmp_path):
    source = write_nameless(tmp_path / "run.db", 1)
    merge_shards([source], tmp_path / "exp.db")
    query(source, "UPDATE t SET v = 2")
    report = merge_shards([source], tmp_path / "exp.db", on_conflict="replace")
    assert [each.action for each in report.simulations] == [Action.REPLACE]
    assert query(tmp_path / "exp.db", "SELECT * FROM t") == [("run", 1, 2)]


def test_a_file_that_was_copied_or_moved_is_known(tmp_path):
    source = write_nameless(tmp_path / "a" / "run.db", 1)
    merge_checked(tmp_path / "exp.db", source)
    (tmp_path / "b").mkdir()
    moved = Path(shutil.move(source, tmp_path / "b" / "other.db"))
    report = merge_shards([moved], tmp_path / "exp.db")
    assert [(it.simulation_id, it.action) for it in report.simulations] == [
        ("run", Action.ALREADY_MERGED)
    ]
    vacuumed = tmp_path / "c" / "run.db"
    vacuumed.parent.mkdir()
    query(moved, "VACUUM INTO ?", str(vacuumed))
    query(vacuumed, "PRAGMA user_version = 7")
    report = merge_shards([vacuumed], tmp_path / "exp.db")
    assert [each.action for each in report.simulations] == [Action.ALREADY_MERGED]


def test_a_name_that_a_shard_has_is_not_given_away(make_shard, tmp_path):
    shard = make_shard("run")
    source = write_nameless(tmp_path / "old" / "run.db", 1)
    merge_checked(tmp_path / "exp.db", source, shard)
    assert ids(tmp_path / "exp.db") == ["old_run", "run"]
