"""The command: its exit codes, its words, and that it starts at once."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from farm_merge.cli import main
from tests.conftest import content, query, union


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words, stdin=None):
        return CliRunner().invoke(main, [str(word) for word in words], input=stdin)

    return run


def test_merging_is_what_the_command_does_by_default(run, make_shard, tmp_path):
    shards = [make_shard("a"), make_shard("b")]
    result = run(*shards, "-o", "exp.db")
    assert result.exit_code == 0
    assert "exp.db: 2 merged; " in result.output
    assert "rows/s" in result.output
    assert content(tmp_path / "exp.db") == union(*shards)


def test_options_may_come_first(run, make_shard):
    assert run("-o", "exp.db", make_shard("a")).exit_code == 0


def test_folders_and_patterns_are_searched(run, make_shard):
    make_shard("a")
    make_shard("b", folder="shards2", file="b.sqlite")
    assert "2 merged" in run("shards", "shards2/*.sqlite", "-o", "exp.db").output


@pytest.mark.parametrize("separator", ["\n", "\0"])
def test_paths_can_come_from_standard_input(run, make_shard, separator):
    paths = separator.join([str(make_shard("a")), str(make_shard("b"))])
    assert "2 merged" in run("-", "-o", "exp.db", stdin=paths).output


def test_a_mistyped_command_is_not_taken_for_a_file(run):
    result = run("lst", "exp.db")
    assert result.exit_code == 2
    assert "'lst' is neither a command nor an existing path. Did you mean list?" in result.output


def test_a_folder_named_like_a_command_can_be_reached(run, make_shard):
    make_shard("a", folder="list")
    assert "1 merged" in run("./list", "-o", "exp.db").output


def test_exit_code_1_when_nothing_is_merged(run, make_shard, tmp_path):
    (tmp_path / "bad.db").write_text("no database")
    result = run(make_shard("a"), "bad.db", "-o", "exp.db")
    assert result.exit_code == 1
    assert "bad.db: not a SQLite database" in result.output
    assert not (tmp_path / "exp.db").exists()
    assert run("bad.db", "-o", "exp.db", "--on-bad-shard", "skip").exit_code == 1


def test_exit_code_2_for_wrong_usage(run, make_shard):
    assert run(make_shard("a")).exit_code == 2


def test_exit_code_3_when_some_are_left_out(run, make_shard):
    result = run(make_shard("a"), make_shard("b", status="running"), "-o", "exp.db")
    assert result.exit_code == 3
    assert result.output.startswith("left out: ")


def test_each_simulation_is_told_when_asked(run, make_shard):
    shard = make_shard("a")
    assert f"merged: {shard} [a] (new)" in run(shard, "-o", "exp.db", "-v").output
    assert "already merged" in run(shard, "-o", "exp.db", "-v").output
    assert run(shard, "-o", "exp.db", "-q").output == ""


def test_the_report_can_be_read_by_programs(run, make_shard):
    report = json.loads(run(make_shard("a"), "-o", "exp.db", "--json").output)
    assert report["simulations"][0]["action"] == "merged"
    assert report["left_out"] == []


def test_list_shows_the_simulations(run, make_shard):
    run(make_shard("a", steps=7, agents=2), make_shard("b"), "-o", "exp.db")
    lines = run("list", "exp.db").output.splitlines()
    assert lines[0].split() == ["simulation_id", "status", "steps", "agents", "parameters"]
    assert lines[2].split() == ["a", "completed", "7", "2", "rate=0.1"]
    assert json.loads(run("list", "exp.db", "--json").output)[0]["parameters"] == {"rate": 0.1}


def test_list_says_what_is_wrong_with_a_file(run, tmp_path):
    query(tmp_path / "other.db", "CREATE TABLE t (x)")
    (tmp_path / "text.db").write_text("no database, but text" * 100)
    for name in ("other.db", "text.db"):
        result = run("list", name)
        assert result.exit_code == 1
        assert result.output.startswith(f"Error: {name}: ")


def test_the_command_starts_without_what_it_may_not_need():
    code = (
        "import sys, farm_merge.cli\n"
        "heavy = {'numpy', 'pandas', 'sqlalchemy', 'sqlite_utils', 'pydantic', 'tqdm'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def test_the_module_is_the_command():
    found = subprocess.run(
        [sys.executable, "-m", "farm_merge", "--version"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.startswith("farm-merge, version ")
