"""Merging from the command line: its exit codes, and what it prints."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from tests.conftest import content, query, union
from tests.merge.eras import write_era, write_nameless


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


def test_a_path_of_any_bytes_is_read_and_printed(run, make_shard, tmp_path):
    path = os.fsencode(make_shard("a").rename(tmp_path / os.fsdecode(b"run_\xff.db")))
    words = [sys.executable, "-m", "farm_merge", "-", "-o", "exp.db", "-v"]
    done = subprocess.run(words, input=path, capture_output=True, check=True, timeout=60)
    assert done.stdout.startswith(b"merged: " + path + b" [a] (new)\n")
    assert b"a  " in run("list", "exp.db").output.encode()


def test_a_reader_that_goes_away_does_not_end_a_merge(make_shard, tmp_path):
    """As `farm-merge -v shards -o exp.db | head -1` does."""
    shards = [make_shard(f"run_{number:03}") for number in range(40)]
    words = [sys.executable, "-m", "farm_merge", *shards, "-o", tmp_path / "exp.db", "-v"]
    reading, writing = os.pipe()
    process = subprocess.Popen(words, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    os.close(reading)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert re.fullmatch(r"[\d.]+ s, farm-merge .*\n", errors), errors
    assert content(tmp_path / "exp.db") == union(*shards)


def test_help_lists_the_options_by_the_question_they_answer(run):
    text = run("merge", "--help").output
    questions = ["Which runs:", "What they are called, and belong to:",
                 "When inputs disagree, or are damaged:", "How it is written:",
                 "What is shown:"]  # fmt: skip
    places = [text.index(question) for question in questions]
    assert places == sorted(places)
    assert places[1] < text.index("--simulation-id") < places[2] < text.index("--equal-files")


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
    shards = [make_shard("a"), make_shard("b", status="running")]
    for there in ("1 merged", "1 already there"):
        result = run(*shards, "-o", "exp.db")
        assert result.exit_code == 3
        assert result.output.startswith("left out: ")
        assert f"2 files found: {there}, 1 left out" in result.output


def test_each_simulation_is_listed_when_asked(run, make_shard):
    shard = make_shard("a")
    assert f"merged: {shard} [a] (new)" in run(shard, "-o", "exp.db", "-v").output
    assert "already merged" in run(shard, "-o", "exp.db", "-v").output
    assert run(shard, "-o", "exp.db", "-q").output == ""


def test_the_report_can_be_read_by_programs(run, make_shard):
    report = json.loads(run(make_shard("a"), "-o", "exp.db", "--json").output)
    assert report["simulations"][0]["action"] == "merged"
    assert report["left_out"] == []


def test_a_dry_run_shows_the_plan_and_writes_nothing(run, make_shard, tmp_path):
    old = write_era(tmp_path / "old" / "run_7.db", 2)
    run(make_shard("a"), "-o", "exp.db")
    running = make_shard("r", status="running")
    before = sorted(tmp_path.iterdir())
    content_before = (tmp_path / "exp.db").read_bytes()
    result = run("shards", old, "-o", "exp.db", "--dry-run")
    assert result.exit_code == 3
    for words in (
        f"would be left out: {running} [r]: its run has not ended",
        "already merged: shards/a.db [a] (the ledger has this very file",
        f"would be merged: {old} [run_7] (new; AgentFarm era 2 (2024-11)): agent_actions 2, agent_states 5",
        "  AgentStates -> agent_states: ",
        "would be added: tables learning_experiences",
        "columns agent_actions.position_before, ",
        "bytes needed",
        "Nothing was written",
    ):
        assert words in result.output.replace(f"{tmp_path}/shards", "shards").replace(
            "shards/r.db", str(running)
        )
    plan = json.loads(run("shards", old, "-o", "exp.db", "-n", "--json").output)
    by_id = {run["simulation_id"]: run for run in plan["simulations"]}
    assert by_id["run_7"]["tables"]["agent_states"] == 5
    assert by_id["a"]["action"] == "already merged"
    assert plan["mappings"][0]["tables"][0]["from"] == "AgentActions"
    assert 0 < plan["bytes_needed"] < plan["bytes_free"]
    assert (tmp_path / "exp.db").read_bytes() == content_before
    assert sorted(tmp_path.iterdir()) == before
    # What was planned is what happens.
    report = json.loads(run("shards", old, "-o", "exp.db", "--json").output)
    assert [
        (run["simulation_id"], run["action"], run["rows"]) for run in report["simulations"]
    ] == [(run["simulation_id"], run["action"], run["rows"]) for run in plan["simulations"]]


def test_archive_needs_verification(run, make_shard, tmp_path):
    shard = make_shard("a")
    command = (shard, "-o", "exp.db", "--archive", "done")
    assert run(*command, "--verify", "none").exit_code == 2
    assert shard.exists()
    assert f"moved: {shard} -> done/a.db" in run(*command, "-v").output
    assert (tmp_path / "done" / "a.db").exists()


def test_names_can_be_chosen(run, tmp_path):
    for number in (1, 2):
        source = write_era(tmp_path / f"run_{number}" / "simulation.db", 1)
        query(source, "UPDATE Agents SET birth_time = ?", number)
    run("run_1", "run_2", "-o", "exp.db", "--simulation-id", "{parent}")
    assert query("exp.db", "SELECT simulation_id FROM simulations") == [("run_1",), ("run_2",)]
    result = run("run_1", "run_2", "-o", "other.db", "--simulation-id", "{stem}")
    assert result.exit_code == 1
    assert "would call 2 runs 'simulation'" in result.output


def test_an_agentfarm_database_is_an_input_and_no_output(run, make_shard, tmp_path):
    old = write_era(tmp_path / "old.db", 8)
    before = old.read_bytes()
    result = run(make_shard("a"), "-o", "old.db")
    assert result.exit_code == 1
    assert "so it can be an input, but not an output" in result.output
    assert old.read_bytes() == before


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_merge_reports_that_and_leaves_nothing(make_shard, tmp_path):
    one = write_era(tmp_path / "one.db", 3)
    for number in range(300):
        shutil.copy(one, tmp_path / f"run_{number}.db")
        query(tmp_path / f"run_{number}.db", "UPDATE agents SET birth_time = ?", number)
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "farm_merge",
            str(tmp_path),
            "-o",
            str(tmp_path / "out" / "exp.db"),
            "-v",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline().startswith("merged: ")  # it copies
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.startswith("Interrupted; ")
    assert "Traceback" not in errors
    assert list((tmp_path / "out").iterdir()) == []


def test_advice_is_worded_for_the_command_line(run, make_shard, tmp_path):
    make_shard("r", status="running")
    for name in ("run_1", "run_2"):
        write_nameless(tmp_path / "shards" / name / "out.db", 1)
    for number, words in enumerate([(), ("-n",), ("--json",), ("-n", "--json")]):
        result = run("shards", "-o", f"{number}.db", *words)
        assert "--include-running takes what is committed" in result.output
        assert "--equal-files fold makes them one" in result.output
        assert "`" not in result.output
