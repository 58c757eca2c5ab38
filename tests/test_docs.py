"""What the documentation says about SQL is what SQLite does, and its commands exist."""

from __future__ import annotations

import re
import shlex
from contextlib import closing
from pathlib import Path

import pytest

from farm_merge.cli import main
from farm_merge.merge import merge_shards
from farm_merge.sqlite import sqlite3

DOCS = Path(__file__).parents[1] / "docs"
QUERIES = re.findall(
    r"```sql\n(.*?)```\n\n```text\n(.*?)```", (DOCS / "reading.md").read_text(), re.DOTALL
)


@pytest.mark.parametrize(("sql", "plan"), QUERIES)
def test_queries_have_the_plan_that_is_told(make_shard, tmp_path, sql, plan):
    merge_shards([make_shard("a"), make_shard("b")], tmp_path / "exp.db")
    values = {"id": "a", "agent": "agent_0"}
    with closing(sqlite3.connect(str(tmp_path / "exp.db"))) as connection:
        connection.execute(sql, values).fetchall()
        depth = {0: -1}
        lines = []
        for number, parent, _, text in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values):
            depth[number] = depth[parent] + 1
            lines.append("  " * depth[number] + text)
    if sqlite3.sqlite_version.startswith("3.53"):
        assert lines == plan.splitlines()


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{e.name}" for e in DOCS.glob("*.md"))])
def test_commands_that_are_told_exist(page):
    lines = re.findall(r"^\$ farm-merge (.*)$", (DOCS.parent / page).read_text(), re.MULTILINE)
    for line in lines:
        words = shlex.split(line, comments=True)
        command = main.commands.get(words[0], main.commands["merge"])
        known = {option for each in command.params for option in each.opts}
        told = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert told <= known, line


def test_there_are_queries_to_test():
    assert len(QUERIES) >= 8
