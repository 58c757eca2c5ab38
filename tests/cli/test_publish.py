"""The commands by which others get to see an experiment."""

from __future__ import annotations

import pytest

from farm_merge.merge import merge_shards


@pytest.fixture
def experiment(make_shard, tmp_path):
    merge_shards([make_shard("a"), make_shard("b")], tmp_path / "exp.db")
    (tmp_path / "about.toml").write_text('license = "CC0-1.0"\nauthors = [{ name = "Ada" }]\n')


def test_publish_says_what_is_in_the_folder(experiment, run, tmp_path):
    words = ["publish", "exp.db", "-o", "out", "--about", "about.toml"]
    dry = run(*words, "--dry-run")
    assert dry.output.startswith("out: would hold 2 simulations in exp.db.zst, simulations.csv,")
    assert not (tmp_path / "out").exists()
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert "out: 2 simulations in exp.db.zst, " in done.output
    assert (tmp_path / "out/ro-crate-metadata.json").exists()


def test_publish_asks_who_made_it(experiment, run, tmp_path):
    assert run("publish", "exp.db", "-o", "out").exit_code == 2
    (tmp_path / "about.toml").write_text("")
    done = run("publish", "exp.db", "-o", "out", "--about", "about.toml")
    assert done.exit_code == 1
    assert "about.toml: license: Field required" in done.output
    assert 'authors = [{ name = "Ada Lovelace" }]' in done.output
