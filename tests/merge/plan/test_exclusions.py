"""Every file that was found and is not merged is named, with the reason."""

from __future__ import annotations

import pytest

from farm_merge.errors import ShardError, StillWrittenError
from farm_merge.merge.inputs.file import NotADatabaseError
from farm_merge.merge.inputs.find import Found
from farm_merge.merge.inputs.formats import format_of
from farm_merge.merge.plan.exclusions import Exclusions
from farm_merge.merge.plan.plan import LeftOut, Plan
from farm_merge.merge.plan.target import Target
from farm_merge.merge.tables.structure import today
from tests.merge.values import FOLDER, output, source

A, B, C, D = (FOLDER / f"{name}.db" for name in "abcd")
PLAN = Plan((), (), (LeftOut(D, "later", "d"),), output(), Target(today(), today()), ("x",), ("y",))


def test_nothing_found_is_an_error():
    with pytest.raises(ShardError, match="no database found"):
        Exclusions(Found())
    Exclusions(Found(files=(A,)))
    Exclusions(Found(others={A: ShardError("is hidden", path=A)}))


def test_what_cannot_be_merged_stops_unless_it_may_be_left_out():
    excluded = Exclusions(Found(files=(A, B, C)))
    excluded.require_no_bad("stop")
    excluded.add({A: ShardError("is torn", path=A)}, {B: StillWrittenError("is written", path=B)})
    sources = excluded.without([source("c.db"), source("d.db")], {C: ShardError("is odd", path=C)})
    assert [it.path for it in sources] == [D]
    excluded.require_no_bad("skip")
    with pytest.raises(ShardError) as caught:
        excluded.require_no_bad("stop")
    assert [cause.path for cause in caught.value.causes] == [A, C]
    plan = excluded.complete(PLAN, ("a note",))
    assert [(left.path, left.reason) for left in plan.left_out] == [
        (A, "is torn"),
        (C, "is odd"),
        (B, "is written"),
        (D, "later"),
    ]
    assert plan.notes == ("y", "a note")


def test_what_is_strange_in_a_folder_is_nobodys_mistake():
    text = format_of(b"nothing known")
    for searched, stops in ((frozenset({A}), False), (frozenset(), True)):
        excluded = Exclusions(Found(files=(A,), searched=searched))
        excluded.add({A: NotADatabaseError(A, text)}, {})
        if stops:
            with pytest.raises(ShardError, match="not a SQLite database"):
                excluded.require_no_bad("stop")
        else:
            excluded.require_no_bad("stop")
        assert [left.path for left in excluded.complete(PLAN, ()).left_out] == [A, D]


def test_a_damaged_database_in_a_folder_is_somebodys():
    excluded = Exclusions(Found(files=(A,), searched=frozenset({A})))
    excluded.add({A: ShardError("is torn", path=A)}, {})
    with pytest.raises(ShardError, match="is torn"):
        excluded.require_no_bad("stop")


def test_other_names_of_inputs_are_details():
    excluded = Exclusions(
        Found(files=(A,), links={B: A}, others={C: ShardError("is hidden", path=C)})
    )
    plan = excluded.complete(PLAN, ())
    assert plan.details == ("x", f"{B}: is another name of {A}")
    assert [left.path for left in plan.left_out] == [C, D]
