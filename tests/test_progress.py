"""Bars: one at a time, described, and none before its rate is known."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from farm_merge import progress
from farm_merge.digest import digest_simulations
from farm_merge.housekeeping import remove_simulations, split_database
from farm_merge.merge import audit, merge_shards, plan_merge
from farm_merge.progress import Bar, counting, phases, show_event, show_runs
from farm_merge.read.export import export_tables


@pytest.fixture
def drawn(monkeypatch, capsys):
    """Return what was drawn since the last look, of bars that are seen at once."""
    monkeypatch.setattr(progress, "_DELAY_SECONDS", 1e-9)
    monkeypatch.setattr("tqdm.std.tqdm.__init__", _eager())
    return lambda: capsys.readouterr().err


def _eager():
    """Make bars that draw every update, however soon it comes after the one before."""
    from tqdm import std

    make = std.tqdm.__init__

    def made(self, *args, **options):
        make(self, *args, **{**options, "mininterval": 0, "miniters": 1, "ncols": 100})

    return made


def test_a_bar_says_what_is_done_how_fast_and_how_long_it_takes(drawn):
    with counting(True, "archive", "files") as report:
        report(1, 4)
        assert drawn() == ""  # no rate is known yet
        report(2, 4)
        report(3, 4)
    bar = drawn()
    assert "archive:  75%" in bar
    assert re.search(r"3/4 \[[\d:]+<[\d:]+, [\d.]+ files/s\]", bar)
    assert "?" not in bar


def test_work_that_ends_at_once_draws_nothing(monkeypatch, drawn):
    monkeypatch.setattr(progress, "_DELAY_SECONDS", 60)
    with counting(True, "archive", "files") as report:
        for number in range(1, 100):
            report(number, 100)
    assert drawn() == ""


def test_one_bar_takes_the_place_of_the_other(drawn):
    def event(phase, done, total):
        return SimpleNamespace(phase=phase, done=done, total=total, message="")

    with Bar() as bar:
        for number in range(1, 5):
            show_runs(bar, number, 1, 9)
        for number in range(1, 5):
            show_event(bar, event("inspect", number, 9))
        show_event(bar, event("plan", 0, 0))
        for number in range(1, 5):
            show_event(bar, event("copy", 2000 * number, 8000))
        show_event(bar, event("verify", 8000, 8000))
    bars = drawn()
    assert "\n" not in bars
    order = [bars.index(f"{what}: ") for what in ("simulate", "inspect", "copy", "verify")]
    assert order == sorted(order)
    assert "1 failed" in bars
    assert bars.rindex("simulate:") < bars.index("inspect:")
    assert "verify: 100%" in bars


@pytest.mark.parametrize("value", [None, False])
def test_nothing_is_drawn_unasked(drawn, value):
    with counting(value, "x", "files") as report, phases(value) as follow:
        report(1, 2)
        follow(SimpleNamespace(phase="copy", done=1, total=2, message=""))
    assert drawn() == ""


def test_true_is_a_bar_in_every_function_that_takes_long(drawn, make_shard, tmp_path):
    shards = [make_shard(name) for name in "abcdef"]
    database, seen = tmp_path / "exp.db", {}
    merge_shards(shards, database, engine="attach", jobs=1, progress=True)
    seen["copy"] = drawn()
    plan_merge(shards, tmp_path / "new.db", jobs=1, progress=True)
    seen["inspect"] = drawn()
    audit(database, shards, progress=True)
    seen["verify"] = drawn()
    digest_simulations(database, progress=True)
    seen["digest"] = drawn()
    split_database(database, tmp_path / "parts", progress=True)
    seen["split"] = drawn()
    export_tables([database], tmp_path / "csv", "csv", progress=True)
    seen["export"] = drawn()
    remove_simulations(database, ["a", "b", "c"], progress=True)
    seen["remove"] = drawn()
    for what, bar in seen.items():
        assert f"{what}: " in bar
        assert "\n" not in bar


def test_a_notebook_gets_its_own_bars():
    """Where a kernel runs; what the bar becomes there is decided by tqdm.auto."""
    code = (
        "import sys, types\n"
        "sys.modules['ipykernel'] = types.ModuleType('ipykernel')\n"
        "from farm_merge import progress\n"
        "assert progress.is_watched()\n"
        "import tqdm.auto\n"
        "assert issubclass(progress._tqdm(), tqdm.auto.tqdm)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
