"""What an output holds before a merge."""

from __future__ import annotations

from farm_merge.merge import merge_shards
from farm_merge.merge.plan.output import look_at_output
from tests.conftest import query
from tests.merge.values import FOLDER, entry, output


def test_an_output_that_is_not_there_is_new_and_holds_nothing(tmp_path):
    found = look_at_output(tmp_path / "exp.db")
    assert found.is_new
    assert (found.simulation_ids, found.ledger, found.experiments) == (frozenset(), (), {})
    assert found.remedy_for(tmp_path / "a.db") == ""


def test_an_output_is_read_with_its_ledger_and_its_experiments(make_shard, tmp_path):
    shards = [make_shard("a", experiment=("e", "An experiment")), make_shard("b")]
    merge_shards(shards, tmp_path / "exp.db")
    found = look_at_output(tmp_path / "exp.db")
    assert not found.is_new
    assert found.simulation_ids == {"a", "b"}
    assert [it.source_path for it in found.ledger] == list(map(str, shards))
    assert found.experiments["e"][0] == "An experiment"
    assert found.structure.tables["agents"].merged


def test_parameters_are_those_of_one_simulation_and_none_where_they_are_no_object(
    make_shard, tmp_path
):
    path = tmp_path / "exp.db"
    merge_shards([make_shard("a"), make_shard("b")], path)
    query(path, "UPDATE simulations SET parameters = 'no json' WHERE simulation_id = 'b'")
    found = look_at_output(path)
    assert found.parameters_of("a") == {"rate": 0.1}
    assert found.parameters_of("b") == {}
    assert found.parameters_of("nobody") == {}


def test_entries_are_those_of_simulations_that_are_there():
    known, gone = entry("a"), entry("gone")
    found = output("a", ledger=[known])
    assert found.entries() == {"a": [known]}
    assert (
        "gone"
        not in type(found)(found.path, found.structure, frozenset({"a"}), (known, gone)).entries()
    )


def test_what_an_output_cannot_take_gets_into_a_new_one():
    remedy = output("a").remedy_for(FOLDER / "b.db")
    assert remedy == f"make a new one of both: farm-merge {FOLDER}/exp.db {FOLDER}/b.db -o NEW.db"
