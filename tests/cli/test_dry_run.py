"""A dry run writes nothing, speaks of the future, and fails where the command itself would."""

from __future__ import annotations

import pytest

from farm_merge.cli import main
from tests.cli.test_vocabulary import READS

SWEEP = 'experiment_id = "s"\nsteps = 2\n[grid]\npopulation = [4, 6]\n'

COMMANDS = {
    "merge": ["merge", "shards", "-o", "new.db"],
    "sweep": ["sweep", "s.toml", "-o", "new.db", "--shards", "runs"],
    "watch": ["watch", "shards", "-o", "new.db", "--settle", "0"],
    "digest": ["digest", "exp.db", "--store"],
    "report": ["report", "exp.db", "-o", "r.html"],
    "export": ["export", "exp.db", "-o", "out", "--table", "agents"],
    "describe": ["describe", "exp.db", "--from", "runs.csv"],
    "remove": ["remove", "exp.db", "--simulation", "a"],
    "split": ["split", "exp.db", "-o", "parts"],
    "vacuum": ["vacuum", "exp.db"],
    "archive": ["archive", "exp.db"],
    "publish": ["publish", "exp.db", "-o", "crate", "--about", "about.toml"],
    "restore": ["restore", "a.zst", "-o", "back.db"],
}
IN_THE_WAY = {"export": "out/x", "split": "parts/x", "archive": "exp.db.zst", "restore": "back.db"}
"""What a command does not write over."""


@pytest.fixture
def place(run, make_shard, tmp_path):
    pytest.importorskip("zstandard")
    pytest.importorskip("rocrate")
    run(make_shard("a"), make_shard("b"), "-o", "exp.db")
    run("archive", "exp.db", "-o", "a.zst")
    (tmp_path / "s.toml").write_text(SWEEP)
    (tmp_path / "about.toml").write_text('license = "CC0-1.0"\nauthors = [{ name = "Ada" }]\n')
    (tmp_path / "runs.csv").write_text("simulation_id,n\na,1\n")
    return tmp_path


def everything(place):
    return {path: path.is_file() and path.read_bytes() for path in place.rglob("*")}


def test_every_command_that_writes_is_tried():
    assert COMMANDS.keys() == main.commands.keys() - READS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_dry_run_writes_nothing_and_says_what_would_happen(run, place, name):
    before = everything(place)
    result = run(*COMMANDS[name], "--dry-run")
    assert result.exit_code == 0, result.output
    assert everything(place) == before
    assert "would" in result.output
    for word in (" has ", "removed ", "rows/s", " merged;"):
        assert word not in result.output.replace("be removed ", "")


@pytest.mark.parametrize("name", IN_THE_WAY)
def test_what_would_be_refused_is_refused_before(run, place, name):
    (place / IN_THE_WAY[name]).parent.mkdir(exist_ok=True)
    (place / IN_THE_WAY[name]).touch()
    for words in (COMMANDS[name], [*COMMANDS[name], "--dry-run"]):
        result = run(*words)
        assert result.exit_code == 1, words
        assert "is there already" in result.output


def test_a_dry_run_of_a_restore_finds_damage(run, place):
    packed = bytearray((place / "a.zst").read_bytes())
    packed[len(packed) // 2] ^= 1
    (place / "a.zst").write_bytes(packed)
    result = run("restore", "a.zst", "-o", "back.db", "-n")
    assert result.exit_code == 1
    assert "a.zst: damaged" in result.output


def test_an_export_is_counted_as_it_is_written(run, place):
    words = ["export", "exp.db", "-o", "out", "--simulation", "a", "--steps", "0:2"]
    planned = run(*words, "-n").output.replace("would write", "wrote").replace("would get ", "")
    assert (
        planned
        == run(*words, "-v").output.partition(" s, farm-merge")[0].rpartition("\n")[0] + "\n"
    )


def test_a_name_that_is_not_there_stops_a_dry_run_too(run, place):
    for words in (
        ["remove", "exp.db", "--simulation", "aa"],
        ["export", "exp.db", "-o", "out", "--simulation", "aa"],
        ["digest", "exp.db", "--store", "--simulation", "aa"],
    ):
        result = run(*words, "-n")
        assert result.exit_code == 1
        assert "no simulation aa" in result.output
