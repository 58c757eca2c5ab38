"""What the documentation shows of SQL is what SQLite does, and its commands and names exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import farm_merge
from farm_merge.cli import main
from farm_merge.merge import merge_shards
from farm_merge.sqlite import sqlite3
from tests import trust

DOCS = Path(__file__).parents[1] / "docs"
ROOT = DOCS.parent
PAGES = {
    page.name: page.read_text()
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md"))
}
QUERIES = re.findall(r"```sql\n(.*?)```\n\n```text\n(.*?)```", PAGES["reading.md"], re.DOTALL)
COMMANDS = [
    (page, line)
    for page, text in PAGES.items()
    for line in re.findall(r"^\$ farm-merge (.*)$", text, re.MULTILINE)
]
IMPORTS = sorted(
    {
        line
        for text in PAGES.values()
        for line in re.findall(r"^from farm_merge.* import .*$", text, re.MULTILINE)
    }
)


@pytest.fixture
def experiment(make_shard, tmp_path):
    merge_shards([make_shard("a"), make_shard("b")], tmp_path / "exp.db")
    with closing(sqlite3.connect(str(tmp_path / "exp.db"))) as connection:
        yield connection


def test_there_is_something_to_test():
    assert len(QUERIES) >= 8
    assert len(COMMANDS) >= 30
    assert len(IMPORTS) >= 5


VALUES = {"id": "a", "agent": "agent_0"}


@pytest.mark.parametrize("sql", [sql for sql, _ in QUERIES])
def test_queries_find_something(experiment, sql):
    if "BETWEEN 50 AND 60" in sql:
        sql = sql.replace("BETWEEN 50 AND 60", "BETWEEN 0 AND 1")
    sql = sql.replace("step_number = 100", "step_number = 1")
    assert experiment.execute(sql, VALUES).fetchall()


@pytest.mark.skipif(
    not sqlite3.sqlite_version.startswith("3.53"), reason="the plans are those of SQLite 3.53"
)
@pytest.mark.parametrize(("sql", "plan"), QUERIES)
def test_queries_have_the_plan_that_is_printed(experiment, sql, plan):
    depth = {0: -1}
    lines = []
    for number, parent, _, text in experiment.execute(f"EXPLAIN QUERY PLAN {sql}", VALUES):
        depth[number] = depth[parent] + 1
        lines.append("  " * depth[number] + text)
    assert lines == plan.splitlines()


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_commands_and_their_options_exist(page, line):
    words = shlex.split(line, comments=True)
    command = main.commands.get(words[0], main.commands["merge"])
    known = {option for parameter in (*main.params, *command.params) for option in parameter.opts}
    used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert used <= known


@pytest.mark.parametrize("name", main.commands)
def test_every_command_is_documented(name):
    assert any(f"farm-merge {name}" in text for text in PAGES.values())


def test_functions_beside_the_commands_exist():
    functions = set(
        re.findall(r"`(\w+)\(", "".join(re.findall(r"^\| `.*$", PAGES["reading.md"], re.MULTILINE)))
    )
    assert len(functions) >= 12
    assert functions <= set(farm_merge.__all__)


@pytest.mark.parametrize("line", IMPORTS)
def test_names_that_are_imported_exist(line):
    exec(line, {})


def _anchors(page: Path) -> set[str]:
    """Return what can be linked to in a page: its headings as GitHub writes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name):
    folder = DOCS if (DOCS / name).exists() else ROOT
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", PAGES[name]):
        path, _, anchor = link.partition("#")
        page = (folder / path).resolve() if path else folder / name
        assert page.exists(), link
        assert not anchor or anchor in _anchors(page), link


def test_the_site_is_built_and_its_links_lead_somewhere(tmp_path):
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    words = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", tmp_path / "site"]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    commands = (tmp_path / "site/commands.html").read_text()
    assert all(f'<h2 id="{name}"' in commands for name in main.commands)
    reference = (tmp_path / "site/api.html").read_text()
    assert all(name in reference for name in farm_merge._HOME)


@pytest.mark.parametrize("name", ["design.md", "CONTRIBUTING.md"])
def test_files_and_tests_that_are_named_exist(name):
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    for word in re.findall(r"`([\w./]+)`", PAGES[name]):
        if re.fullmatch(r"test_\w+", word):
            assert f"def {word}(" in tests, word
        elif "/" in word and "." in word.rpartition("/")[2]:
            assert (ROOT / word).exists() or (ROOT / "farm_merge" / word).exists(), word


def test_the_page_on_trust_has_the_figures_that_were_kept():
    assert trust.filled(PAGES["trust.md"]) == PAGES["trust.md"]


def test_every_run_that_is_kept_has_its_place(tmp_path, monkeypatch):
    monkeypatch.setattr(trust, "RESULTS", tmp_path)
    trust.keep("faults", 3, points=1234, violations=5, table=[["", "EIO"], ["merge", "77"]])
    trust.keep("fuzz", 9, left_out=4, merged=5, violations=0)
    trust.keep("concurrency", 2, rows=60, violations=0)
    trust.keep("mutants", 1, mutants=9, same=1, noticed=8, missed=0)
    page = trust.filled(PAGES["trust.md"])
    for words in ("1,234 points, 5 violations (POINTS=3)", "| merge | 77 |", "4 left out", "60 rows",
                  "8 are noticed", f"SQLite {sqlite3.sqlite_version}"):  # fmt: skip
        assert words in page
    assert trust.filled(page) == page
