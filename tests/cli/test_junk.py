"""Whatever bytes a path has, and whatever a database holds, is answered in words."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import query

BYTES = os.fsdecode(b"\xff")
DEEP = "[" * 100_000

READING = [
    "info D", "list D", "verify D shards", "compare D", "digest D", "split D -o split",
    "inspect D", "report D -o page.html", "export D -o csv", "rerun D run_a", "merge shards -o D",
    "merge D -o again.db", "vacuum D", "archive D",
]  # fmt: skip
WRITING = [
    "merge shards -o X.db", "report exp.db -o X.html", "export exp.db -o X", "split exp.db -o X",
    "export exp.db -o X --format parquet", "archive exp.db -o X.zst",
    "merge shards -o X.db --archive Y",
]  # fmt: skip


@pytest.fixture
def database(run, make_shard, tmp_path):
    make_shard("run_a")
    make_shard("run_b")
    assert run("shards", "-o", "exp.db").exit_code == 0
    return tmp_path / "exp.db"


@pytest.mark.parametrize("line", WRITING)
def test_what_is_written_may_have_a_name_of_any_bytes(run, database, line):
    words = [word.replace("X", BYTES).replace("Y", f"archive{BYTES}") for word in line.split()]
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert [path for path in database.parent.iterdir() if path.name.startswith(BYTES)]


@pytest.mark.parametrize("line", READING)
def test_a_database_may_have_a_name_of_any_bytes(run, database, line):
    database.rename(f"{BYTES}.db")
    result = run(*(f"{BYTES}.db" if word == "D" else word for word in line.split()))
    wanted = "was not made by a sweep" if line.startswith("rerun") else ""
    assert result.exit_code == bool(wanted), result.output
    assert wanted in result.output


@pytest.mark.parametrize("option", ["experiment-id", "name", "simulation-id", "sidecar"])
def test_only_paths_may_have_any_bytes(run, database, option):
    result = run("merge", "shards", "-o", "new.db", f"--{option}", BYTES)
    assert result.exit_code == 2
    assert "is not UTF-8" in result.output


@pytest.mark.parametrize("value", ["no JSON", "[1]", DEEP])
@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("merged_shards", ["row_counts", "choices", "software"]),
        ("simulations", ["parameters", "results_summary", "package_versions"]),
        ("experiments", ["variables", "tags", "results_summary"]),
    ],
)
def test_what_should_be_json_may_be_anything(run, database, table, columns, value):
    for column in columns:
        query(database, f"UPDATE {table} SET {column} = ?", value)
    for line in READING:
        if line.split()[0] in {"export", "split", "vacuum", "archive"}:
            continue  # they read no JSON
        result = run(*("exp.db" if word == "D" else word for word in line.split()))
        assert result.exit_code in {0, 1, 4}, (line, result.output)
        assert isinstance(result.exception, SystemExit | None), line
        if table == "merged_shards" and line in {"info D", "verify D shards", "merge shards -o D"}:
            assert "exp.db: table merged_shards: the entry of simulation" in result.output


def test_an_entry_that_is_damaged_is_forgotten_as_the_error_says(run, database):
    query(database, "UPDATE merged_shards SET choices = 'x' WHERE simulation_id = 'run_a'")
    error = run("merge", "shards", "-o", "exp.db").output
    remedy = "DELETE FROM merged_shards WHERE simulation_id = 'run_a'"
    assert remedy in error
    query(database, remedy)
    assert "2 already" in run("merge", "shards", "-o", "exp.db").output
    assert run("verify", "exp.db", "shards").exit_code == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_old_locale_lacks_characters(run, database, encoding):
    """People read them escaped, programs get them in UTF-8."""
    query(database, "UPDATE simulations SET status = '→'")
    query("plain.db", "CREATE TABLE t (a)")

    def under(line):
        locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        return subprocess.run(
            [sys.executable, "-m", "farm_merge", *line.split()],
            env={**os.environ, **locale, "PYTHONIOENCODING": encoding},
            capture_output=True, check=False, timeout=60,
        )  # fmt: skip

    assert under("info exp.db").returncode == 0
    assert "run_a,→,5" in under("list exp.db --format csv").stdout.decode()
    refused = under("merge shards -o plain.db")
    assert b"choose another: farm-merge plain.db \\u2026 -o NEW.db" in refused.stderr
