"""Names and parameters of runs, made of the paths of their files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from farm_merge.errors import FarmMergeError, InvalidOptionError, ShardError
from farm_merge.merge import merge_shards
from farm_merge.merge.plan.template import PathPattern, Template
from tests.merge.checks import ids
from tests.merge.eras import write_nameless
from tests.merge.values import run, source


def test_a_template_names_them(tmp_path):
    for name in ("run_1", "run_2"):
        write_nameless(tmp_path / name / "simulation.db", name)
    merge_shards(
        [tmp_path / "run_1", tmp_path / "run_2"],
        tmp_path / "exp.db",
        simulation_id="{parent}-{stem}",
    )
    assert ids(tmp_path / "exp.db") == ["run_1-simulation", "run_2-simulation"]


@pytest.mark.parametrize(
    ("template", "match"), [("{stem}", "2 runs"), ("{nope}", "may hold"), ("{", "Single")]
)
def test_a_template_that_names_nothing_apart_is_refused(tmp_path, template, match):
    for name in ("run_1", "run_2"):
        write_nameless(tmp_path / name / "simulation.db", name)
    with pytest.raises(FarmMergeError, match=match):
        merge_shards(
            [tmp_path / "run_1", tmp_path / "run_2"], tmp_path / "exp.db", simulation_id=template
        )


def name(template, path="/lab/lr0.1/run_7.db", own_id=None, pattern=None, **more):
    pattern = pattern and PathPattern(pattern)
    found = source(runs=[run(own_id)])
    file = found.file._replace(path=Path(path))
    return Template(template, pattern, joins=False).name(
        replace(found, file=file), run(own_id, **more)
    )


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{stem}", "run_7"),
        ("{name}", "run_7.db"),
        ("{grandparent}/{parent}", "lab/lr0.1"),
        ("{id}", "run_7"),  # of the file where the run has none
        ("a{{b}}", "a{b}"),
        ("fixed", "fixed"),
    ],
)
def test_fields_of_a_template(template, expected):
    assert name(template) == expected


def test_a_run_is_called_what_its_file_calls_it():
    assert name("{stem}-{id}", own_id="sim") == "run_7-sim"


def test_rows_of_nobody_are_distinguished_from_the_runs_of_their_file():
    nobody = {"own_id": None, "status": "unattributed"}
    assert name("{stem}", **nobody) == "run_7_unattributed"
    assert name("{stem}:{id}", **nobody) == "run_7:unattributed"


def test_groups_of_a_pattern_are_fields():
    pattern = r"lr(?P<lr>[0-9.]+)/run_(\d+)"
    assert name("{lr}_{2}", pattern=pattern) == "0.1_7"
    with pytest.raises(
        InvalidOptionError, match=r"knows no \{3\}; may hold .*\{lr\}, \{1\}, \{2\}"
    ):
        name("{3}", pattern=pattern)


def test_what_is_no_utf_8_is_escaped():
    assert name("{stem}", path=os.fsdecode(b"/lab/x\xff.db")) == "x\\xff"


@pytest.mark.parametrize("text", ["(", "no groups", "(?P<a-b>x)"])
def test_a_pattern_that_is_none_is_refused(text):
    with pytest.raises(InvalidOptionError, match="parameters_from_name"):
        PathPattern(text)


def test_a_pattern_finds_parameters_numbers_as_numbers():
    pattern = PathPattern(r"lr(?P<lr>[^_/]+)_n(?P<n>[^_/]*)_(?P<kind>[^_/]*)_(x)?(?P<none>y)?")
    assert pattern.parameters(Path("/lr0.5_n07_true_/run.db")) == {
        "lr": 0.5,
        "n": "07",
        "kind": True,
        "none": "",
    }
    assert pattern.fields == ["lr", "n", "kind", "none", "1", "2", "3", "4", "5"]


def test_a_path_that_does_not_match_is_refused_with_the_remedy():
    with pytest.raises(ShardError, match="does not match") as caught:
        PathPattern(r"lr(\d+)").groups(Path("/lab/run.db"))
    assert caught.value.path == Path("/lab/run.db")
    assert "`on_bad_shard=skip`" in caught.value.remedy
