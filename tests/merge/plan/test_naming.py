"""What runs are called: by their ledger, by themselves, by their paths, or by a template."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from farm_merge.errors import ConflictError
from farm_merge.merge import Action, merge_shards
from farm_merge.merge.options import Options
from farm_merge.merge.plan.naming import with_names
from farm_merge.merge.plan.template import Template
from tests.conftest import query
from tests.merge.checks import ids, merge_checked
from tests.merge.eras import write_nameless
from tests.merge.values import FOLDER, entry, output, run, shard, source


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
    assert {outcome.action for outcome in report.simulations} == {Action.ALREADY_MERGED}


def test_a_run_that_changed_since_is_a_conflict_and_not_a_new_one(tmp_path):
    source = write_nameless(tmp_path / "run.db", 1)
    merge_shards([source], tmp_path / "exp.db")
    query(source, "UPDATE t SET v = 2")
    report = merge_shards([source], tmp_path / "exp.db", on_conflict="replace")
    assert [outcome.action for outcome in report.simulations] == [Action.REPLACE]
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
    assert [outcome.action for outcome in report.simulations] == [Action.ALREADY_MERGED]


def test_a_name_that_a_shard_has_is_not_given_away(make_shard, tmp_path):
    shard = make_shard("run")
    source = write_nameless(tmp_path / "old" / "run.db", 1)
    merge_checked(tmp_path / "exp.db", source, shard)
    assert ids(tmp_path / "exp.db") == ["old_run", "run"]


# With values alone


def named(*sources, others=(), before=None, same=False, template=None, **options):
    """Name runs; `same` is whether a simulation of the output has the same data."""
    chosen = Options(**options)
    if template is not None:
        template = Template(template, None, joins=chosen.join)
    found = with_names(
        sources,
        [FOLDER / other for other in others],
        before or output(),
        lambda *_: same,
        template,
        chosen,
    )
    names = {
        str(it.path.relative_to(FOLDER)): [
            simulation.simulation_id for simulation in it.simulations
        ]
        for it in found.sources
    }
    return names, found


def nameless(*names, **more):
    return [source(name, fingerprint=f"bytes of {name}", **more) for name in names]


def names_of(*sources, **options):
    return {path: name for path, (name,) in named(*sources, **options)[0].items()}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a.db"], ["a"]),
        (["beta_0.1"], ["beta_0.1"]),
        (["x/a.db", "y/a.db"], ["x_a", "y_a"]),
        (["x/r/a.db", "y/r/a.db", "y/s/a.db"], ["x_r_a", "y_r_a", "s_a"]),
        (["a.db", "a.sqlite"], ["a.db", "a.sqlite"]),  # an ending that distinguishes them
        (["a.sca", "a.vec"], ["a.sca", "a.vec"]),
        (["x/a.db", "y/b_a.db", "b/a.db"], ["x_a", "b_a", "runs_b_a"]),
        (["ü.db", "%41.db"], ["ü", "%41"]),
    ],
)
def test_a_path_names_a_run_as_shortly_as_it_can(paths, expected):
    assert names_of(*nameless(*paths)) == dict(zip(paths, expected, strict=True))


def test_a_name_that_is_no_utf_8_is_escaped():
    name = os.fsdecode(b"r\xff.db")
    assert names_of(*nameless(name)) == {name: "r\\xff"}


def test_a_path_that_distinguishes_a_run_from_no_other_is_refused():
    taken = [source(f"{name}0.db", runs=[run(name)]) for name in ("a", "runs_a")]
    names, found = named(*nameless("a.db"), *taken)
    assert names == {"a0.db": ["a"], "runs_a0.db": ["runs_a"]}
    (error,) = found.refused.values()
    assert (error.path, error.remedy) == (
        FOLDER / "a.db",
        "name its simulation with `simulation_id=`",
    )


def test_a_run_that_names_itself_is_called_so():
    sources = [shard("x.db", run("own")), *nameless("own.db")]
    assert names_of(*sources) == {"x.db": "own", "own.db": "runs_own"}


def test_rows_of_nobody_are_called_by_the_file():
    mixed = source("ab.db", runs=[run("a"), run("b"), run(None, "unattributed")])
    assert named(mixed)[0] == {"ab.db": ["a", "b", "ab_unattributed"]}
    assert named(mixed, template="{stem}-{id}")[0] == {"ab.db": ["ab-a", "ab-b", "ab-unattributed"]}
    assert named(mixed, template="{id}_{stem}")[0]["ab.db"][2] == "unattributed_ab"


def test_a_name_of_the_output_is_free_where_the_data_is_the_same():
    before = output("a")
    assert names_of(*nameless("a.db"), before=before, same=True) == {"a.db": "a"}
    assert names_of(*nameless("a.db"), before=before, same=False) == {"a.db": "runs_a"}


def test_a_file_that_was_merged_keeps_its_name_whatever_is_in_it_now():
    before = output(ledger=[entry("first", "a.db", fingerprint="old", own_id=None)])
    assert names_of(*nameless("a.db"), before=before) == {"a.db": "first"}


def test_a_file_that_was_moved_keeps_its_name():
    before = output(ledger=[entry("first", "old/a.db", fingerprint="f", own_id=None)])
    moved = source("new/b.db", fingerprint="f")
    assert names_of(moved, before=before) == {"new/b.db": "first"}
    # With the old one at its place it is another run, unless the user takes it for a copy.
    assert names_of(moved, others=["old/a.db"], before=before) == {"new/b.db": "b"}
    assert names_of(moved, others=["old/a.db"], before=before, equal_files="fold") == {
        "new/b.db": "first"
    }
    assert names_of(moved, before=before, equal_files="separate") == {"new/b.db": "b"}


def test_a_shard_with_the_bytes_of_a_known_one_is_that_run():
    before = output(ledger=[entry("renamed", "old.db", fingerprint="f", own_id="a")])
    assert names_of(shard("a.db", fingerprint="f"), before=before) == {"a.db": "renamed"}


def test_files_with_equal_bytes_have_names_of_their_own_unless_they_are_one_run():
    twins = [source(f"{name}.db", fingerprint="f") for name in "ab"]
    names, found = named(*twins)
    assert names == {"a.db": ["a"], "b.db": ["b"]}
    assert "they are separate runs" in found.notes[0]
    assert named(*twins, equal_files="fold")[0] == {"a.db": ["a"], "b.db": ["a"]}
    names, found = named(*twins, equal_files="error")
    assert names == {}
    assert {path.name for path in found.refused} == {"a.db", "b.db"}


def test_a_packed_copy_beside_its_file_is_that_file():
    pair = [source(name, fingerprint="f") for name in ("a.db", "a.db.gz")]
    assert names_of(*pair) == {"a.db": "a", "a.db.gz": "a"}
    before = output(ledger=[entry("first", "a.db.gz", fingerprint="f", own_id=None)])
    for equal_files in (None, "separate"):
        names = names_of(pair[0], others=["a.db.gz"], before=before, equal_files=equal_files)
        assert names == {"a.db": "first"}


def test_a_run_whose_equal_is_here_does_not_take_its_name():
    before = output("run", ledger=[entry("run", "a/run.db", fingerprint="f", own_id=None)])
    twin = source("b/run.db", fingerprint="f")
    assert names_of(twin, others=["a/run.db"], before=before) == {"b/run.db": "b_run"}
    assert names_of(twin, before=before) == {"b/run.db": "run"}  # it was moved


def test_a_template_renames_runs_that_name_themselves():
    sources = [shard("x/a.db", run("default")), shard("y/b.db", run("default"), fingerprint="2")]
    assert names_of(*sources, template="{parent}-{stem}-{id}") == {
        "x/a.db": "x-a-default",
        "y/b.db": "y-b-default",
    }


def test_a_template_that_gives_two_runs_one_name_is_refused():
    sources = nameless(*(f"{folder}/a.db" for folder in "uvwxyz"))
    with pytest.raises(ConflictError, match=r"would call 6 runs 'a': .*y/a\.db …") as caught:
        named(*sources, template="{stem}")
    assert "`join` makes them one" in caught.value.remedy
    assert set(names_of(*sources, template="{stem}", join=True).values()) == {"a"}


def test_versions_of_one_run_may_share_the_name_of_a_template():
    """Whether they are copies or contradict each other, their contents decide."""
    sources = [shard("x/a.db", run("one")), shard("y/a.db", run("one"), fingerprint="2")]
    assert set(names_of(*sources, template="{stem}").values()) == {"a"}


def test_runs_that_a_template_would_rename_keep_their_names_and_are_noted(tmp_path):
    files = [write_nameless(tmp_path / f"{name}.db", name) for name in "abc"]
    output = tmp_path / "exp.db"
    merge_checked(output, *files)
    query(files[2], "PRAGMA user_version = 7")  # the first two are known without reading them
    report = merge_shards(files, output, simulation_id="run_{stem}")
    assert ids(output) == ["a", "b", "c"]
    (note,) = (note for note in report.notes if "another name" in note)
    assert note == f"{files[2]} and 2 others: known already, under another name, which is kept"
    assert not any("another name" in note for note in merge_shards(files, output).notes)
