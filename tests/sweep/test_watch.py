"""Watching merges what has settled, goes on where it was, and ends as a merge afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from farm_merge.errors import ConflictError, InvalidOptionError
from farm_merge.sweep.watch import watch_shards
from tests.conftest import content, query, union
from tests.sweep.small import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from farm_merge.merge import MergeReport

    MakeShard = Callable[..., Path]


def watched(tmp_path: Path, **options: Any) -> Iterator[MergeReport]:
    """Watch the folder of the shards without delay."""
    quick: dict[str, Any] = {"settle": 0.0, "interval": 0.01}
    return watch_shards([tmp_path / "shards"], tmp_path / "exp.db", **(quick | options))


def test_shards_are_merged_as_they_come(tmp_path: Path, make_shard: MakeShard) -> None:
    (tmp_path / "shards").mkdir()
    shards = []
    for number in range(1, 4):
        reports = watched(tmp_path, until=number)
        shards.append(make_shard(f"s{number}"))
        assert [len(report.simulations) for report in reports][-1] >= 1
        assert query(tmp_path / "exp.db", "SELECT count(*) FROM simulations") == [(number,)]
    assert content(tmp_path / "exp.db") == union(*shards)


def test_what_has_not_settled_waits(tmp_path: Path, make_shard: MakeShard) -> None:
    make_shard("a")
    stop = threading.Event()
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    assert list(watched(tmp_path, settle=3600.0, stop=stop)) == []
    timer.join()
    assert not (tmp_path / "exp.db").exists()


def test_a_file_that_is_bad_is_reported_once_and_taken_when_it_is_right(
    tmp_path: Path, make_shard: MakeShard
) -> None:
    good, bad = make_shard("a"), tmp_path / "shards" / "b.db"
    bad.write_bytes(good.read_bytes()[:5000])
    reports = watched(tmp_path, until=2)
    first = next(reports)
    assert [left.path for left in first.left_out] == [bad]
    bad.unlink()
    make_shard("b")
    assert [str(outcome.action) for outcome in next(reports).simulations] == ["merged"]
    assert list(reports) == []


def test_a_conflict_ends_the_watch(tmp_path: Path, make_shard: MakeShard) -> None:
    make_shard("a")
    list(watched(tmp_path, until=1))
    make_shard("a", file="other.db", shift=1.0)
    with pytest.raises(ConflictError):
        next(watched(tmp_path))


@pytest.mark.parametrize("wrong", [{"interval": 0.0}, {"settle": -1.0}])
def test_numbers_that_cannot_be_meant_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError):
        next(watched(tmp_path, **wrong))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_watch_that_is_ended_goes_on_where_it_was(
    tmp_path: Path, make_shard: MakeShard, interruptible: None, number: signal.Signals
) -> None:
    shards, output = [make_shard("a")], tmp_path / "exp.db"
    words = [sys.executable, "-m", "farm_merge", "watch", tmp_path / "shards", "-o", output]
    words += ["--settle", "0", "--interval", "0.01"]
    with subprocess.Popen(list(map(str, words)), start_new_session=True) as process:
        wait_until(output.exists)
        process.send_signal(number)
        assert process.wait() == (-number if number is signal.SIGKILL else 0)
    shards.append(make_shard("b"))
    subprocess.run([*map(str, words), "--until", "2"], check=True, timeout=60)
    assert content(output) == union(*shards)
