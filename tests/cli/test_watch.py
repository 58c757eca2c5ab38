"""Watching from the command line."""

from __future__ import annotations


def test_a_watch_ends_with_as_many_simulations_as_asked_for(run, make_shard):
    make_shard("a")
    make_shard("b")
    result = run("watch", "shards", "-o", "exp.db", "--until", 2, "--settle", 0)
    assert result.exit_code == 0, result.output
    assert "exp.db: 2 merged" in result.output
