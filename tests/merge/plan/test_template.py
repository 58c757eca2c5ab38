"""Names and parameters of runs, made of the paths of their files."""

from __future__ import annotations

import pytest

from farm_merge.errors import FarmMergeError
from farm_merge.merge import merge_shards
from tests.merge.checks import ids
from tests.merge.eras import write_nameless


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
