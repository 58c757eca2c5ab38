"""The command that sqlite-utils gets."""

from __future__ import annotations

import subprocess
import sys

import click
from click.testing import CliRunner

from farm_merge.cli.plugin import register_commands
from tests.conftest import content, union


def run(*words, cwd):
    words = [sys.executable, "-m", "sqlite_utils", *map(str, words)]
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def test_sqlite_utils_merges_shards(make_shard, tmp_path):
    shards = [make_shard("a"), make_shard("b")]
    done = run("merge-shards", "exp.db", *shards, "--verify", "content", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("exp.db: 2 merged; ")
    assert content(tmp_path / "exp.db") == union(*shards)
    rows = run("rows", "exp.db", "simulations", "-c", "simulation_id", "--csv", cwd=tmp_path)
    assert rows.stdout.split() == ["simulation_id", "a", "b"]


def test_its_exit_codes_and_errors_are_those_of_a_merge(make_shard, tmp_path):
    (tmp_path / "bad.db").write_text("no database")
    done = run("merge-shards", "exp.db", make_shard("a"), "bad.db", cwd=tmp_path)
    assert done.returncode == 1
    assert "bad.db: not a SQLite database" in done.stderr
    skipping = ["--on-bad-shard", "skip"]
    done = run("merge-shards", "exp.db", "shards", "bad.db", *skipping, cwd=tmp_path)
    assert done.returncode == 3
    assert run("merge-shards", "exp.db", cwd=tmp_path).returncode == 2


def test_the_command_can_be_added_to_any_group(make_shard, tmp_path):
    group = click.Group()
    register_commands(group)
    words = ["merge-shards", str(tmp_path / "exp.db"), str(make_shard("a")), "--dry-run"]
    result = CliRunner().invoke(group, words)
    assert result.exit_code == 0
    assert "Nothing was written" in result.output


def test_its_help_lists_what_a_merge_can_do(tmp_path):
    text = run("merge-shards", "--help", cwd=tmp_path).stdout
    assert "merge-shards [OPTIONS] DATABASE PATHS..." in text
    assert "Which runs:" in text
    assert "--output" not in text
