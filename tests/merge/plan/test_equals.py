"""Files of equal bytes: copies of one run, or runs that came out equal."""

from __future__ import annotations

import pytest

from farm_merge.merge.plan.equals import find_equals, is_packed_twin
from farm_merge.merge.plan.recognize import Run
from tests.merge.values import FOLDER, run, source


def runs(*names, fingerprint="f"):
    return [Run(source(name, fingerprint=fingerprint), 0) for name in names]


def test_by_default_they_are_separate_runs_and_noted():
    found = find_equals(runs(*(f"{name}.db" for name in "abcdefgh")), None)
    assert not found.copies
    assert not found.refused
    (note,) = found.notes
    assert note.startswith(f"{FOLDER}/a.db: has the same bytes as {FOLDER}/b.db, ")
    assert "and 2 others; they are separate runs (`equal_files=fold` makes them one)" in note


def test_they_can_be_one_run():
    first, second = runs("a.db", "b.db")
    found = find_equals([first, second], "fold")
    assert found.copies == {second.key: first}
    assert found.notes[0].endswith("; they are one run")


def test_they_can_be_an_error_that_names_the_other():
    found = find_equals(runs("a.db", "b.db", "c.db"), "error")
    assert {path.name: error.reason for path, error in found.refused.items()} == {
        "a.db": f"has the same bytes as {FOLDER}/b.db",
        "b.db": f"has the same bytes as {FOLDER}/a.db",
        "c.db": f"has the same bytes as {FOLDER}/a.db",
    }


@pytest.mark.parametrize("decision", [None, "separate", "fold", "error"])
def test_a_packed_copy_is_its_file_whatever_was_decided(decision):
    first, packed = runs("a.db", "a.db.gz")
    found = find_equals([first, packed], decision)
    assert found.copies == {packed.key: first}
    assert found.notes == [f"{FOLDER}/a.db.gz: is {FOLDER}/a.db again"]
    assert not found.refused


def test_files_that_differ_or_were_not_read_and_what_no_run_has_are_no_equals():
    several = source("d.db", runs=[run("x"), run("y"), run(None, "unattributed")])
    others = [*runs("a.db"), *runs("b.db", fingerprint="g"), *runs("c.db", fingerprint=None)]
    found = find_equals([*others, *(Run(several, number) for number in range(3))], "error")
    assert (found.copies, found.refused, found.notes) == ({}, {}, [])


@pytest.mark.parametrize(
    ("path", "other", "twins"),
    [
        ("/a/run.db", "/a/run.db.gz", True),
        ("/a/run.db.zst", "/a/run.db.gz", True),
        ("/a/run.db", "/a/run.db", False),
        ("/a/run.db", "/b/run.db.gz", False),
        ("/a/run.db", "/a/run.sqlite", False),
        ("/a/run", "/a/run.db", False),
    ],
)
def test_a_packed_twin_differs_in_its_last_ending(path, other, twins):
    assert is_packed_twin(path, other) is twins
