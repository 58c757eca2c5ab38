"""What is printed in every form, what is kept quiet, and what runs are called that were closed."""

from __future__ import annotations

import csv
import json

import pytest

from farm_merge import SimulationDatabase
from tests.conftest import query

ROWS = {
    "list": ["list", "exp.db"],
    "compare": ["compare", "exp.db"],
    "sql": ["sql", "exp.db", "SELECT simulation_id, status FROM simulations"],
    "inspect": ["inspect", "shards"],
    "digest": ["digest", "exp.db"],
    "merge": ["merge", "shards", "-o", "exp.db"],
    "watch": ["watch", "shards", "-o", "exp.db", "--settle", "0", "--until", "2"],
    "remove": ["remove", "exp.db", "--where", "status=completed", "-n"],
    "plan": ["merge", "shards", "-o", "new.db", "-n"],
}


@pytest.fixture
def place(run, make_shard, tmp_path):
    run(make_shard("a"), make_shard("b|c"), "-o", "exp.db")
    return tmp_path


def unpiped(line):
    return [cell.strip() for cell in line.replace("\\|", "\0").strip("|").split("|")]


@pytest.mark.parametrize("name", ROWS)
def test_every_form_has_the_same_rows(run, place, name):
    printed = {form: run(*ROWS[name], "--format", form).stdout for form in ("csv", "jsonl", "md")}
    rows = list(csv.DictReader(printed["csv"].splitlines()))
    assert [row["simulation_id"] for row in rows] == ["a", "b|c"]
    lines = [json.loads(line) for line in printed["jsonl"].splitlines()]
    assert [list(line) for line in lines] == [list(row) for row in rows]
    assert [line["simulation_id"] for line in lines] == ["a", "b|c"]
    head, rule, *body = printed["md"].splitlines()
    assert unpiped(head) == list(rows[0])
    assert set(unpiped(rule)) == {"---"}
    at = list(rows[0]).index("simulation_id")
    assert [unpiped(line)[at] for line in body] == ["a", "b\0c"]


@pytest.mark.parametrize("name", ROWS)
def test_json_is_one_document_and_short_for_the_form(run, place, name):
    short = run(*ROWS[name], "--json")
    long = run(*ROWS[name], "--format", "json")
    assert type(json.loads(short.stdout)) is type(json.loads(long.stdout))
    assert short.exit_code == long.exit_code == 0


def test_the_others_have_an_object(run, place):
    pytest.importorskip("zstandard")
    assert json.loads(run("archive", "exp.db", "--json").stdout)["path"] == "exp.db.zst"
    restored = run("restore", "exp.db.zst", "-o", "back.db", "--format", "csv").stdout
    assert restored.startswith("path,bytes\nback.db,")
    assert json.loads(run("vacuum", "exp.db", "-n", "--json").stdout)["free_bytes"] >= 0
    (problem,) = json.loads(run("verify", "exp.db", "shards", "--json").stdout)["problems"] or [""]
    assert problem == ""
    tables = list(csv.DictReader(run("info", "exp.db", "--format", "csv").stdout.splitlines()))
    assert {row["table"]: row["rows"] for row in tables}["agents"] == "6"


@pytest.mark.parametrize(
    "words",
    [
        ["shards", "-o", "exp.db"],
        ["verify", "exp.db", "shards"],
        ["remove", "exp.db", "--simulation", "a"],
        ["split", "exp.db", "-o", "parts"],
        ["export", "exp.db", "-o", "out"],
        ["vacuum", "exp.db"],
    ],
)
def test_a_quiet_command_prints_nothing_when_all_is_well(run, place, words):
    assert run(*words, "-q").output == ""
    assert run("verify", "nothing.db", "-q").exit_code == 2


def test_quiet_commands_print_what_was_asked_for_and_what_is_wrong(run, place):
    assert json.loads(run("list", "exp.db", "-q", "--json").output)
    query("exp.db", "DELETE FROM agents WHERE simulation_id = 'a'")
    result = run("verify", "exp.db", "-q")
    assert result.exit_code == 4
    assert "problem: " in result.output


def test_how_long_it_took_is_said_when_asked(run, place):
    assert " s, farm-merge " in run("list", "exp.db", "-v").stderr
    assert run("list", "exp.db").stderr == ""


def test_a_rate_is_only_said_of_rows_that_were_written(run, place):
    result = run("shards", "-o", "exp.db")
    assert result.output == "exp.db: 2 already merged\n2 files found: 2 already there\n"


def test_a_run_that_was_closed_is_closed_and_one_that_was_not_is_running(run, make_shard, tmp_path):
    SimulationDatabase(tmp_path / "s" / "closed.db").close()  # and nobody has said how it went
    running = make_shard("r", folder="s", status="running")
    assert run("s", "-o", "exp.db", "--include-running").exit_code == 0
    assert running.exists()
    found = json.loads(run("list", "exp.db", "--json").stdout)
    assert {row["simulation_id"]: row["status"] for row in found} == {
        "closed": "closed",
        "r": "running",
    }
    for command in (["list"], ["compare"]):
        words = [*command, "exp.db", "--where", "status=closed", "--format", "csv"]
        (row,) = csv.DictReader(run(*words).stdout.splitlines())
        assert (row["simulation_id"], row["status"]) == ("closed", "closed")
    assert "1 closed, 1 running" in run("info", "exp.db").output
