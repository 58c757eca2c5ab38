"""Looking at databases from the command line: what is printed, and the exit codes."""

from __future__ import annotations

import json

import pytest

from farm_merge.merge import merge_shards
from tests.conftest import query
from tests.merge.eras import write_era


def test_inspect_shows_what_files_are(run, make_shard, tmp_path):
    make_shard("a")
    write_era(tmp_path / "shards" / "old.db", 3)
    (tmp_path / "shards" / "bad.db").write_text("nonsense")
    result = run("inspect", "shards")
    assert result.exit_code == 3
    assert "shards/a.db: farm-merge 1, " in result.output
    assert "shards/old.db: AgentFarm era 3 " in result.output
    assert "(named by its path), status unknown: agent_actions 2, agent_states 5" in result.output
    assert "shards/bad.db: cannot be merged: not a SQLite database" in result.output
    shard, bad, old = json.loads(run("inspect", "shards", "--json").output)
    assert shard["simulations"][0]["tables"]["agent_states"] == 15
    assert shard["health"] == "ok"
    assert len(shard["fingerprint"]) == 32
    assert bad["problem"].startswith("not a SQLite database")
    assert old["simulations"][0]["simulation_id"] is None
    assert run("inspect", "shards/bad.db").exit_code == 1
    assert run("inspect", "shards/a.db").exit_code == 0


def test_verify_compares_with_the_ledger_and_with_files(run, make_shard):
    run(make_shard("a"), make_shard("b"), "-o", "exp.db")
    result = run("verify", "exp.db", "shards")
    assert result.exit_code == 0
    assert (
        "2 counted against the ledger, 2 compared with their files: all as merged" in result.output
    )
    query("exp.db", "UPDATE agents SET position_x = 9 WHERE simulation_id = 'b'")
    assert run("verify", "exp.db").exit_code == 0
    result = run("verify", "exp.db", "shards")
    assert result.exit_code == 4
    assert "problem: shards/b.db [b]: differs from exp.db in agents" in result.output
    assert json.loads(run("verify", "exp.db", "shards", "--json").output)["compared"] == 2
    query("exp.db", "DELETE FROM agents WHERE simulation_id = 'b'")
    assert "table agents: 3 rows were merged, 0 are there" in run("verify", "exp.db").output


def test_list_shows_the_simulations_and_in_what_they_differ(run, make_shard, tmp_path):
    query(
        make_shard("b"),
        'UPDATE simulations SET parameters = \'{"rate": 0.2, "size": {"x": 1}}\'',
    )
    shards = [make_shard("a", steps=7, agents=2), tmp_path / "shards/b.db"]
    query(shards[0], 'UPDATE simulations SET parameters = \'{"rate": 0.1, "size": {"x": 1}}\'')
    run(*shards, "-o", "exp.db")
    lines = run("list", "exp.db").output.splitlines()
    assert lines[0].split() == ["simulation_id", "status", "steps", "agents", "parameters"]
    assert lines[2].split() == ["a", "completed", "7", "2", "rate=0.1"]
    assert json.loads(run("list", "exp.db", "--json").output)[0]["parameters"] == {
        "rate": 0.1,
        "size": {"x": 1},
    }
    alone = run("list", "exp.db", "--where", "rate=0.1").output.splitlines()
    assert alone[2].split() == ["a", "completed", "7", "2", "rate=0.1,", "size.x=1"]


def test_list_reports_what_is_wrong_with_a_file(run, tmp_path):
    query(tmp_path / "other.db", "CREATE TABLE t (x)")
    (tmp_path / "text.db").write_text("no database, but text" * 100)
    for name in ("other.db", "text.db"):
        result = run("list", name)
        assert result.exit_code == 1
        assert result.output.startswith(f"Error: {name}: ")


def test_info_shows_what_is_in_a_database_and_whether_it_is_in_order(run, make_shard):
    run(make_shard("a"), make_shard("b", status="failed"), "-o", "exp.db")
    result = run("info", "exp.db")
    assert result.exit_code == 0
    for words in (
        "experiment exp: 2 simulations",
        "simulations: 1 completed, 1 failed",
        "ledger: 2 files, merged from ",
        "  schemas: farm-merge 1 (2)",
        "health: quick_check ok, all references resolve",
    ):
        assert words in result.output
    assert json.loads(run("info", "exp.db", "--json").output)["tables"]["agents"]["rows"] == 6
    query("exp.db", "DELETE FROM agents WHERE simulation_id = 'a'")
    result = run("info", "exp.db")
    assert result.exit_code == 4
    assert "problem: 15 rows of agent_states refer to rows that agents does not have" in (
        result.output
    )


def test_compare_shows_what_fits_a_screen_and_has_all_of_it(run, make_shard):
    run(make_shard("a"), make_shard("b", agents=4), "-o", "exp.db")
    lines = run("compare", "exp.db").output.splitlines()
    assert lines[0].split()[:4] == ["simulation_id", "status", "steps", "final_total_agents"]
    assert lines[3].split()[:4] == ["b", "completed", "5", "4"]
    rows = json.loads(run("compare", "exp.db", "--format", "json").output)
    assert rows[1]["parameters.rate"] == 0.1
    grouped = run("compare", "exp.db", "--by", "rate", "--format", "csv").output
    assert grouped.startswith("rate,result,n,mean,std,low,high,interval\n")
    assert "0.1,final_total_agents,2,3.5," in grouped
    two = run("compare", "exp.db", "a", "b").output.splitlines()
    assert two[0].split() == ["kind", "name", "a", "b", "difference"]
    assert ["result", "final_total_agents", "3", "4", "1"] in [line.split() for line in two]


def test_compare_takes_two_simulations_or_none(run, make_shard):
    run(make_shard("a"), "-o", "exp.db")
    assert run("compare", "exp.db", "a").exit_code == 2
    assert run("compare", "exp.db", "a", "b", "--grouped").exit_code == 2
    result = run("compare", "exp.db", "a", "nobody")
    assert result.exit_code == 1
    assert "exp.db: has no simulation nobody; there is a" in result.output


def test_a_database_without_simulations_is_shown(run, make_shard):
    run(make_shard("a"), "-o", "exp.db")
    run("remove", "exp.db", "--simulation", "a")
    for words in (["list"], ["info"], ["compare"], ["compare", "--grouped"]):
        result = run(words[0], "exp.db", *words[1:])
        assert result.exit_code == 0, result.output


def test_sql_is_read_as_table_csv_or_json(run, make_shard):
    run(make_shard("a"), make_shard("b"), "-o", "exp.db")
    words = ["sql", "exp.db", "SELECT simulation_id AS s, 1.5 AS x, x'0a' AS b, NULL AS n,"
             " 9e999 AS i FROM simulations WHERE simulation_id = :id", "-p", "id=b"]  # fmt: skip
    printed = {form: run(*words, "--format", form).output for form in ("table", "csv", "json")}
    assert printed["table"].splitlines()[-1].split() == ["b", "1.5", "0a", "inf"]
    assert printed["csv"] == "s,x,b,n,i\nb,1.5,0a,,inf\n"
    assert json.loads(printed["json"]) == [{"s": "b", "x": 1.5, "b": "0a", "n": None, "i": "inf"}]
    assert run("sql", "exp.db", "SELECT 1 WHERE 0", "--format", "json").output == "[]\n"
    assert run("sql", "exp.db", "SELECT 1", "-p", "id").exit_code == 2


@pytest.mark.parametrize("command", ["list", "info", "compare", "report"])
def test_other_files_are_refused_by_name(run, tmp_path, command):
    (tmp_path / "other.db").write_bytes(b"not a database" * 100)
    result = run(command, "other.db")
    assert result.exit_code == 1
    assert "other.db" in result.output


@pytest.mark.parametrize("command", ["list", "info", "compare"])
def test_what_others_merged_is_shown_too(run, tmp_path, command):
    """A database of files that are none of AgentFarm's has none of its tables."""
    for name in "ab":
        query(tmp_path / f"{name}.db", "CREATE TABLE agents (id INTEGER PRIMARY KEY, x REAL)")
        query(tmp_path / f"{name}.db", f"INSERT INTO agents (x) VALUES (1.5), ({ord(name)})")
    merge_shards([tmp_path / "a.db", tmp_path / "b.db"], tmp_path / "exp.db")
    result = run(command, "exp.db")
    assert result.exit_code == 0, result.output
    rows = [line.split()[0] for line in result.output.splitlines()]
    assert {"a", "b"} <= {*rows} or command == "info"


def test_a_parameter_called_like_a_column_is_shown_beside_it(run, tmp_path):
    for number in (1, 2):
        query(tmp_path / f"run_{number}.db", "CREATE TABLE t (id INTEGER PRIMARY KEY, v REAL)")
        query(tmp_path / f"run_{number}.db", f"INSERT INTO t VALUES (1, {number})")
        text = f'{{"simulation_id": "x{number}", "status": "s{number}"}}'
        (tmp_path / f"run_{number}.json").write_text(text)
    assert run("run_1.db", "run_2.db", "-o", "x.db").exit_code == 0
    header, _, first, _ = run("compare", "x.db").output.splitlines()
    assert header.split() == [
        "simulation_id", "status", "parameters.simulation_id", "parameters.status", "t.v",
    ]  # fmt: skip
    assert first.split() == ["run_1", "unknown", "x1", "s1", "1"]
    header = run("list", "x.db").output.splitlines()[0]
    assert header.split() == ["simulation_id", "status", "parameters"]


def test_files_are_verified_with_the_options_of_their_merge(run, tmp_path):
    for table in ("data", "log"):
        for number in (1, 2):
            path = tmp_path / f"runs/run_{number}/{table}.db"
            path.parent.mkdir(parents=True, exist_ok=True)
            query(path, f"CREATE TABLE {table} (v REAL)")
            query(path, f"INSERT INTO {table} VALUES ({number}), ({number})")
    options = ["--simulation-id", "{parent}", "--join"]
    assert run("runs", "-o", "x.db", *options).exit_code == 0
    result = run("verify", "x.db", "runs", *options)
    assert result.exit_code == 0, result.output
    assert "2 simulations, 2 counted against the ledger, 4 compared with their files" in (
        result.output
    )


def test_inspect_names_what_is_no_input_with_what_to_do(run, make_shard, tmp_path):
    make_shard("a")
    (tmp_path / "shards" / "duck").write_bytes(bytes(8) + b"DUCK" + bytes(100))
    old = write_era(tmp_path / "shards" / "old.db", 2)
    query(old, "INSERT INTO AgentStates SELECT * FROM AgentStates")
    result = run("inspect", "shards")
    assert result.exit_code == 3
    assert "shards/duck: cannot be merged: is a DuckDB database; export it: " in result.output
    assert "5 rows repeat a key (step_number, agent_id); --on-duplicate-row first or " in (
        result.output
    )
