"""A run that was merged before, under whatever name, or that another input brings too."""

from __future__ import annotations

from dataclasses import replace

from farm_merge.merge import Action, inspect_shard, merge_shards
from farm_merge.merge.plan.output import Output, look_at_output
from farm_merge.merge.plan.recognize import KnownRuns, needed_whole, origins_of
from tests.merge.checks import ids
from tests.merge.eras import write_nameless
from tests.merge.values import FOLDER, entry, run, shard, source


def test_runs_are_known_by_the_bytes_of_their_files():
    known = KnownRuns()
    known.add([entry("a", fingerprint="1"), entry("a", "copy.db", fingerprint="2")], "A", "here")
    known.add([entry("b", "two.db", fingerprint="1")], "B", "there")
    assert [(it.simulation_id, it.path, it.where) for it in known.of([("1", None)])] == [
        ("A", str(FOLDER / "run.db"), "here"),
        ("B", str(FOLDER / "two.db"), "there"),
    ]
    assert [it.simulation_id for it in known.of([("2", None), ("3", None)])] == ["A"]
    assert list(known.of([("1", "a")])) == []


def test_simulations_of_one_file_are_distinguished_by_their_ids():
    known = KnownRuns()
    entries = [
        entry(name, "two.db", simulations_in_file=2, own_id=name.lower()) for name in ("A", "B")
    ]
    for found in entries:
        known.add([found], found.simulation_id, "here")
    two = source("two.db", runs=[run("a"), run("b")])
    assert [[it.simulation_id for it in known.of(origins_of(two, it))] for it in two.simulations] == [
        ["A"],
        ["B"],
    ]  # fmt: skip
    assert known.name_of_path(two, two.simulations[1]) == "B"
    assert known.name_of_path(two, run("c")) is None
    assert known.name_of_path(source("other.db"), run("b")) is None


def test_what_was_not_read_has_no_origin():
    assert list(origins_of(shard("a.db", fingerprint=None), run("a"))) == []
    assert list(origins_of(shard("a.db", fingerprint="f"), run("a"))) == [("f", None)]


def test_files_that_name_one_simulation_are_read_whole():
    sources = [shard("a.db", fingerprint=None), shard("b.db", run("a"), fingerprint=None)]
    new = Output(FOLDER / "exp.db")
    assert needed_whole([*sources, shard("c.db", fingerprint=None)], new) == {
        FOLDER / "a.db",
        FOLDER / "b.db",
    }
    assert needed_whole([shard("c.db", fingerprint=None)], new) == set()


def test_files_that_name_a_simulation_of_the_output_or_may_be_in_its_ledger_are_read_whole(
    make_shard, tmp_path
):
    held, other = make_shard("a"), make_shard("b")
    merge_shards([held], tmp_path / "exp.db", simulation_id="renamed")
    merge_shards([other], tmp_path / "exp.db")
    output = look_at_output(tmp_path / "exp.db")
    briefly = [
        replace(inspect_shard(path), contents=None)
        for path in (held, make_shard("b", shift=1.0, folder="new"), make_shard("c"))
    ]
    assert held.stat().st_size == briefly[2].path.stat().st_size
    assert needed_whole(briefly, output) == {held, briefly[1].path}


def test_an_older_output_and_its_runs_make_no_run_twice(make_shard, tmp_path):
    """Under whatever names: what its ledger records is known."""
    runs = [write_nameless(tmp_path / f"{name}.db", name) for name in "ab"]
    shard_ = make_shard("s")
    half = tmp_path / "half.db"
    merge_shards([*runs, shard_], half, simulation_id="first_{stem}")
    whole = tmp_path / "whole.db"
    report = merge_shards([*runs, shard_, half], whole)
    assert ids(whole) == ["first_a", "first_b", "first_s"]
    assert [it.action for it in report.simulations].count(Action.ALREADY_MERGED) == 3
    assert not merge_shards([half], whole).rows


def test_an_output_is_made_of_a_shard_whose_pages_were_copied(make_shard, tmp_path):
    """A file that is only read when its pages are copied is read before where a ledger has its size."""
    large = make_shard("s", steps=3000)
    half, whole = tmp_path / "half.db", tmp_path / "whole.db"
    merge_shards([large], half, simulation_id="renamed")
    merge_shards([large, half], whole)
    assert ids(whole) == ["renamed"]
