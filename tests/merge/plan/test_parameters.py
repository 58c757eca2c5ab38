"""What lies beside a run, or in its name, about what it was given."""

from __future__ import annotations

import json

from farm_merge.merge import merge_shards
from farm_merge.merge.options import Options
from farm_merge.merge.plan.parameters import with_parameters
from farm_merge.merge.plan.rules import Rules
from tests.conftest import query
from tests.merge.eras import write_nameless
from tests.merge.values import FOLDER, run, shard, source


def found(*sources, **options):
    inputs, refused = with_parameters(sources, Rules(Options(**options)))
    return [it.parameters for it in inputs], refused


def test_a_path_gives_parameters():
    runs = [source("lr0.1_s3.db"), source("lr2_s4.db")]
    pattern = r"lr(?P<lr>[0-9.]+)_s(?P<seed>\d+)"
    assert found(*runs, parameters_from_name=pattern) == (
        [{"lr": 0.1, "seed": 3}, {"lr": 2, "seed": 4}],
        {},
    )
    assert found(*runs) == ([None, None], {})


def test_a_path_that_does_not_match_is_refused():
    parameters, refused = found(source("a.db"), source("x.db"), parameters_from_name="(?P<a>/x)")
    assert parameters == [{"a": "/x"}]
    assert refused.keys() == {FOLDER / "a.db"}


def test_what_lies_beside_a_run_counts_more_than_its_name(tmp_path):
    path = write_nameless(tmp_path / "in" / "lr5.db", 1)
    path.with_name("lr5.json").write_text('{"lr": 0.5}')
    output = tmp_path / "exp.db"
    merge_shards([path], output, parameters_from_name=r"l(?P<letter>.)(?P<lr>\d)")
    ((parameters,),) = query(output, "SELECT parameters FROM simulations")
    assert json.loads(parameters) == {"letter": "r", "lr": 0.5}


def test_a_run_that_has_parameters_is_not_asked_for_more(tmp_path, make_shard):
    path = make_shard("a")
    path.with_name("a.json").write_text("not read at all")
    report = merge_shards([path], tmp_path / "exp.db")
    assert report.notes == ()
    without = make_shard("b")
    query(without, "UPDATE simulations SET parameters = '{}'")
    without.with_name("b.json").write_text('{"seed": 3}')
    merge_shards([without], tmp_path / "exp.db")
    rows = query(tmp_path / "exp.db", "SELECT parameters FROM simulations ORDER BY simulation_id")
    assert [json.loads(text) for (text,) in rows] == [{"rate": 0.1}, {"seed": 3}]


def test_rows_of_nobody_need_none():
    runs = [run("a", has_parameters=True), run(None, "unattributed")]
    parameters, _ = found(shard("ab.db", *runs))
    assert parameters == [None]
