"""What a merge did: every file and every simulation is counted once."""

from __future__ import annotations

import json
from dataclasses import replace

from farm_merge.merge import Action, describe_report, merge_shards
from farm_merge.merge.plan.plan import LeftOut, Outcome
from farm_merge.merge.write.report import MergeReport
from tests.merge.values import FOLDER


def outcome(name, action, simulation_id="s", rows=1, status="completed"):
    counts = {"t": rows}
    return Outcome(simulation_id, FOLDER / name, "foreign", action, "so", counts, status)


def report(*simulations, left_out=()):
    left = tuple(LeftOut(FOLDER / name, "so", which) for name, which in left_out)
    return MergeReport(FOLDER / "exp.db", simulations, left, (), (), archived=(), seconds=0.0)


def test_every_file_is_counted_once():
    found = report(
        outcome("new.db", Action.COPY, "a"),
        outcome("new.db", Action.COPY, "b"),
        outcome("part.db", Action.COPY, "c"),
        outcome("part.db", Action.SKIP, "d"),
        outcome("again.db", Action.ALREADY_MERGED, "e"),
        outcome("joined.db", Action.JOIN, "f"),
        outcome("newer.db", Action.REPLACE, "g"),
        outcome("conflict.db", Action.SKIP, "h"),
        left_out=[("part.db", "d"), ("conflict.db", "h"), ("bad.db", None)],
    )
    assert found.files == {"merged": 4, "already there": 1, "left out": 2}
    assert [path.name for path in found.in_output] == [
        "new.db",
        "again.db",
        "joined.db",
        "newer.db",
    ]
    assert found.counts == {
        Action.COPY: 3,
        Action.SKIP: 2,
        Action.ALREADY_MERGED: 1,
        Action.JOIN: 1,
        Action.REPLACE: 1,
    }


def test_rows_are_those_that_were_written():
    found = report(
        outcome("a", Action.COPY, rows=3),
        outcome("b", Action.REPLACE, rows=4),
        outcome("c", Action.JOIN, rows=5),
        outcome("d", Action.ALREADY_MERGED, rows=100),
        outcome("e", Action.SKIP, rows=100),
    )
    assert found.rows == 12
    assert found.rows_per_second == 0.0
    assert replace(found, seconds=2.0).rows_per_second == 6.0


def test_runs_that_are_still_called_running_are_counted_where_they_were_merged():
    found = report(
        outcome("a", Action.COPY, status="running"),
        outcome("b", Action.ALREADY_MERGED, status="running"),
        outcome("c", Action.COPY),
        outcome("d", Action.COPY, status=None),
    )
    assert found.unfinished == 1


def test_a_report_is_plain_data(make_shard, tmp_path):
    good, bad = make_shard("a", status="running"), tmp_path / "bad.db"
    bad.write_text("nothing")
    merged = merge_shards(
        [good, bad], tmp_path / "exp.db", on_bad_shard="skip", settle=0, archive=tmp_path / "done"
    )
    described = describe_report(merged)
    assert json.loads(json.dumps(described)) == described
    assert described["output"] == str(tmp_path / "exp.db")
    assert described["files"] == {"merged": 1, "already there": 0, "left out": 1}
    assert described["unfinished"] == 1
    assert described["archived"] == [[str(good), str(tmp_path / "done" / "a.db")]]
    assert described["seconds"] > 0
    (simulation,) = described["simulations"]
    assert (simulation["simulation_id"], simulation["action"]) == ("a", "merged")
    assert simulation["rows"] == sum(simulation["tables"].values()) == merged.rows
    (left,) = described["left_out"]
    assert left["path"] == str(bad)
    assert left["reason"].startswith("not a SQLite database")
