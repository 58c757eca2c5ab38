"""What happens to every simulation, decided from values alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm_merge.errors import ConflictError, ShardError, for_command_line
from farm_merge.merge import Action
from farm_merge.merge.inputs.input import Contents
from farm_merge.merge.ledger import Recalled
from farm_merge.merge.options import Options
from farm_merge.merge.plan.plan import LeftOut, decide, unmergeable
from farm_merge.merge.plan.target import Target
from farm_merge.merge.tables.structure import today
from tests.merge.values import FOLDER, entry, output, run, shard, source

TARGET = Target(today(), today(), notes=("a note of the target",))


class Comparison:
    """Knows which contents are the same, and which have keys in common, and what was asked."""

    def __init__(self, same=(), clashing=()):
        self.asked = []
        self._same = set(same)
        self._clashing = set(clashing)

    def _names(self, source, rival):
        return source.path.name, rival.path.name if rival else "the output"

    def is_same(self, source, rival, simulation_id):
        self.asked.append((*self._names(source, rival), simulation_id))
        return self._names(source, rival) in self._same

    def clash(self, source, rival, simulation_id):
        return "agents, t" if self._names(source, rival) in self._clashing else ""


def decided(*sources, before=None, comparison=None, recalled=(), **options):
    return decide(
        sources,
        recalled,
        before or output(),
        TARGET,
        comparison or Comparison(),
        Options(**options),
    )


def actions(plan):
    return [(it.outcome.path.name, it.simulation_id, it.outcome.action) for it in plan.to_write]


def settled(plan):
    return [(it.path.name, it.simulation_id, it.action, it.reason) for it in plan.settled]


def test_what_is_new_is_merged_in_the_order_of_the_keys():
    plan = decided(shard("b.db"), shard("a.db", run("a"), run("c")))
    assert actions(plan) == [
        ("a.db", "a", Action.COPY),
        ("b.db", "b", Action.COPY),
        ("a.db", "c", Action.COPY),
    ]
    assert plan.settled == plan.left_out == ()
    assert plan.rows == 15
    assert [planned.outcome.reason for planned in plan.to_write] == ["new"] * 3


def test_nothing_is_compared_that_needs_not_be():
    comparison = Comparison()
    plan = decided(
        shard("a.db"),
        shard("known.db", fingerprint="f"),
        before=output("other", ledger=[entry("known", fingerprint="f")]),
        comparison=comparison,
    )
    assert comparison.asked == []
    assert settled(plan) == [
        ("known.db", "known", Action.ALREADY_MERGED, "the ledger has this very file")
    ]


def test_a_ledger_without_its_simulation_proves_nothing():
    before = output(ledger=[entry("gone", fingerprint="f")])
    before = before.__class__(before.path, before.structure, frozenset({"x"}), before.ledger)
    assert actions(decided(shard("gone.db", fingerprint="f"), before=before)) == [
        ("gone.db", "gone", Action.COPY)
    ]


def test_the_same_bytes_under_another_name_are_another_simulation():
    before = output(ledger=[entry("old", fingerprint="f")])
    assert actions(decided(shard("new.db", fingerprint="f"), before=before)) == [
        ("new.db", "new", Action.COPY)
    ]


def test_the_same_data_is_merged_once():
    comparison = Comparison(same=[("a.db", "the output"), ("copy.db", "b.db")])
    plan = decided(
        shard("a.db", fingerprint="1"),
        shard("b.db", run("b"), fingerprint="2"),
        shard("copy.db", run("b"), fingerprint="3"),
        before=output("a"),
        comparison=comparison,
    )
    assert actions(plan) == [("b.db", "b", Action.COPY)]
    assert settled(plan) == [
        ("a.db", "a", Action.ALREADY_MERGED, "the same data is in the output"),
        ("copy.db", "b", Action.ALREADY_MERGED, f"the same data is in {FOLDER}/b.db"),
    ]
    assert comparison.asked == [("a.db", "the output", "a"), ("copy.db", "b.db", "b")]


def test_the_same_bytes_need_no_comparison():
    comparison = Comparison()
    plan = decided(shard("a.db"), shard("copy.db", run("a")), comparison=comparison)
    assert comparison.asked == []
    assert [outcome.action for outcome in plan.settled] == [Action.ALREADY_MERGED]


def test_the_same_bytes_are_compared_where_a_file_holds_several():
    """Two simulations of one file could have got one name."""
    comparison = Comparison(same=[("ab.db", "ab.db")])
    plan = decided(
        shard("ab.db", run("a", simulation_id="x"), run("b", simulation_id="x")),
        comparison=comparison,
    )
    assert comparison.asked == [("ab.db", "ab.db", "x")]
    assert [outcome.action for outcome in plan.settled] == [Action.ALREADY_MERGED]


def test_what_was_read_briefly_has_no_bytes_to_compare():
    comparison = Comparison(same=[("copy.db", "a.db")])
    decided(shard("a.db", fingerprint=None), shard("copy.db", run("a")), comparison=comparison)
    assert comparison.asked == [("copy.db", "a.db", "a")]


def test_all_conflicts_are_named():
    with pytest.raises(ConflictError) as caught:
        decided(
            shard("a.db", fingerprint="1"),
            shard("b.db", fingerprint="2"),
            shard("b2.db", run("b"), fingerprint="3"),
            shard("c.db", fingerprint="4"),
            before=output("a"),
        )
    error = caught.value
    assert [(cause.path, cause.reason) for cause in error.causes] == [
        (FOLDER / "a.db", "simulation 'a' has other data here than in the output"),
        (FOLDER / "b2.db", f"simulation 'b' has other data here than in {FOLDER}/b.db"),
    ]
    assert str(error).startswith("2 simulations contradict what is there; nothing was written:\n")
    assert "--on-conflict replace takes the new" in error.message(for_command_line)


@pytest.mark.parametrize(("choice", "action"), [("skip", Action.SKIP), ("replace", Action.REPLACE)])
def test_a_user_can_choose_what_wins(choice, action):
    plan = decided(shard("a.db"), before=output("a"), on_conflict=choice)
    assert len(plan.to_write) == (choice == "replace")
    if choice == "replace":
        (planned,) = plan.to_write
        assert planned.replaces
        assert not planned.joins
        assert plan.left_out == ()
    else:
        assert [outcome.action for outcome in plan.settled] == [Action.SKIP]
        (left,) = plan.left_out
        assert (left.path, left.simulation_id) == (FOLDER / "a.db", "a")


def test_among_inputs_nothing_is_replaced():
    plan = decided(
        shard("a.db", fingerprint="1"),
        shard("b.db", run("a"), fingerprint="2"),
        on_conflict="replace",
    )
    assert actions(plan) == [("a.db", "a", Action.COPY)]
    assert [left.path.name for left in plan.left_out] == ["b.db"]


def test_what_replaces_is_the_rival_of_the_next():
    plan = decided(
        shard("new.db", run("a"), fingerprint="1"),
        shard("newer.db", run("a"), fingerprint="2"),
        before=output("a"),
        on_conflict="replace",
    )
    assert actions(plan) == [("new.db", "a", Action.REPLACE)]
    (left,) = plan.left_out
    assert left.reason == f"simulation 'a' has other data here than in {FOLDER}/new.db"


def test_files_of_one_name_are_joined_where_their_keys_differ():
    plan = decided(
        shard("a0.db", run("a"), fingerprint="1"),
        shard("a1.db", run("a"), fingerprint="2"),
        shard("a2.db", run("a"), fingerprint="3"),
        comparison=Comparison(clashing=[("a2.db", "a1.db")]),
        join=True,
        on_conflict="skip",
    )
    assert actions(plan) == [("a0.db", "a", Action.COPY), ("a1.db", "a", Action.JOIN)]
    assert [planned.joins for planned in plan.to_write] == [False, True]
    (left,) = plan.left_out
    assert left.reason == (
        f"simulation 'a' has rows of the same keys in {FOLDER}/a1.db, in agents, t"
    )


def test_what_is_joined_is_compared_with_the_output_too():
    comparison = Comparison(clashing=[("a1.db", "the output")])
    plan = decided(
        shard("a0.db", run("a"), fingerprint="1"),
        shard("a1.db", run("a"), fingerprint="2"),
        before=output("a"),
        comparison=comparison,
        join=True,
        on_conflict="skip",
    )
    assert actions(plan) == [("a0.db", "a", Action.JOIN)]
    assert [left.path.name for left in plan.left_out] == ["a1.db"]


def test_a_run_for_which_there_is_evidence_is_left_out():
    running = shard("a.db", run("a", "running", evidence="process 7 has it open"), run("b"))
    plan = decided(running)
    assert actions(plan) == [("a.db", "b", Action.COPY)]
    (left,) = plan.left_out
    assert left == LeftOut(
        FOLDER / "a.db",
        "its run has not ended: process 7 has it open",
        "a",
        "`include_running` takes what is committed",
    )
    assert len(decided(running, include_running=True).to_write) == 2


def test_the_word_running_is_no_evidence():
    assert actions(decided(shard("a.db", run("a", "running")))) == [("a.db", "a", Action.COPY)]


def test_what_is_written_carries_what_its_file_holds():
    plan = decided(
        source(
            "two.db",
            runs=[run("a", "failed"), run(None, "unattributed", simulation_id="two_unattributed")],
            contents=Contents("f", ({"t": 1}, {"t": 4, "u": 2})),
        )
    )
    assert [
        (it.simulation_id, it.simulation.own_id, it.outcome.status, it.outcome.rows)
        for it in plan.to_write
    ] == [("a", "a", "failed", 1), ("two_unattributed", None, "unattributed", 6)]
    assert str(plan.to_write[0].outcome) == f"merged: {FOLDER}/two.db [a] (new)"


def test_rows_are_counted_when_they_are():
    (planned,) = decided(shard("a.db", fingerprint=None)).to_write
    assert planned.outcome.row_counts is None
    assert planned.outcome.rows == 0
    counted = planned.with_contents(Contents("f", ({"agents": 7},)))
    assert counted.outcome.rows == 7
    assert counted.source.contents.fingerprint == "f"


def test_files_that_the_ledger_recalls_are_settled():
    entries = (entry("a", "ab.db"), entry("b", "ab.db"))
    plan = decided(recalled=[Recalled(FOLDER / "ab.db", entries)], before=output(ledger=entries))
    assert [(it.simulation_id, it.action, it.rows) for it in plan.settled] == [
        ("a", Action.ALREADY_MERGED, 1),
        ("b", Action.ALREADY_MERGED, 1),
    ]


def test_the_first_description_of_an_experiment_is_kept_and_others_are_noted():
    before = output("x")
    before = before.__class__(before.path, before.structure, before.simulation_ids,
                              experiments={"e": ("Old", None, None)})  # fmt: skip
    first = shard("a.db", experiments={"e": ("Old", None, None), "f": ("One", None, None)})
    second = shard("b.db", experiments={"e": ("New", None, None), "f": ("Two", None, None)})
    assert [note.partition(": ")[::2] for note in decided(first, second, before=before).notes] == [
        (
            str(FOLDER / "b.db"),
            f"describes experiment {name!r} differently; the description that was there first is kept",
        )
        for name in "ef"
    ]


def test_a_note_that_is_true_of_many_files_is_made_once():
    plan = decided(
        shard("a.db", notes=("is odd",)),
        shard("b.db", notes=("is odd", "is old")),
        shard("c.db", notes=("is odd",)),
    )
    assert plan.notes == (f"{FOLDER}/a.db and 2 others: is odd", f"{FOLDER}/b.db: is old")
    assert plan.details == ()


@pytest.mark.parametrize(
    ("path", "table", "reason"),
    [
        ("/runs/a.db", None, "is torn"),
        (None, None, "is torn"),
        ("/runs/a.db", "t", "table t: is torn"),
        ("/runs/a.db-wal", None, "/runs/a.db-wal: is torn"),
        ("/runs/a.db-wal", "t", "/runs/a.db-wal: table t: is torn"),
    ],
)
def test_an_error_becomes_what_is_left_out(path, table, reason):
    error = ShardError("is torn", path=path and Path(path), table=table, remedy="`join` them")
    left = LeftOut.because_of(Path("/runs/a.db"), error)
    assert (left.path, left.reason) == (Path("/runs/a.db"), reason)
    assert left.explained() == f"{reason}; join=True them"


def test_everything_that_cannot_be_merged_is_one_error():
    error = unmergeable(
        [LeftOut(Path("a.db"), "is torn", remedy="use `join`"), LeftOut(Path("b.db"), "is text")]
    )
    assert str(error).splitlines() == [
        "2 of the inputs cannot be merged, and nothing was written:",
        "  a.db: is torn; use join=True",
        "  b.db: is text",
        "put them right, or leave them out with on_bad_shard='skip'",
    ]


@pytest.mark.parametrize("join", [False, True])
def test_advice_about_a_conflict_leads_on(join):
    comparison = Comparison(clashing=[("b.db", "a.db")])
    sources = shard("a.db", fingerprint="1"), shard("b.db", run("a"), fingerprint="2")
    with pytest.raises(ConflictError) as caught:
        decided(*sources, comparison=comparison, join=join)
    remedy = caught.value.remedy
    assert "`on_conflict=skip`" in remedy
    assert ("`on_conflict=replace`" in remedy, "`join`" in remedy) == (not join, not join)
