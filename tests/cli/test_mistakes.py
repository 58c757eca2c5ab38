"""What is typed wrong is answered with what is right, by a word and an exit code."""

from __future__ import annotations

import pytest


@pytest.fixture
def place(run, make_shard, tmp_path):
    run(make_shard("run_a"), make_shard("run_b"), "-o", "exp.db")
    (tmp_path / "hollow").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("lst exp.db", 2, "neither a command nor an existing path; the nearest is list"),
        ("shrads -o x.db", 2, "neither a command nor an existing path; the nearest is shards"),
        ("list exp.bd", 2, "there is no file exp.bd; the nearest is exp.db"),
        ("list nothing/x.db", 2, "File 'nothing/x.db' does not exist"),
        ("list exp.db --wher rate=1", 2, "--where"),
        ("list exp.db --format tabel", 2, "'table', 'csv', 'json', 'jsonl', 'md'"),
        ("list exp.db --where rte>0.1", 1, "has a parameter rte; the nearest is rate"),
        ("list exp.db --where status=complete", 0, "status=complete; the nearest is completed"),
        ("compare exp.db --where status=complete", 0, "the nearest is completed"),
        ("digest exp.db --where status=complete", 0, "the nearest is completed"),
        ("list exp.db --simulation run_c", 1, "exp.db: has no simulation run_c; the nearest is"),
        ("remove exp.db run_a", 2, "argument (run_a); simulations are named with --simulation"),
        ("remove exp.db", 2, "Which simulations? Name them with --simulation or --where"),
        ("compare exp.db run_a run_c", 1, "has no simulation run_c; the nearest is run_"),
        ("compare exp.db --by rat", 1, "no simulation has a parameter rat; the nearest is rate"),
        ("compare exp.db --metric simulation_steps.total_agent", 1, "is simulation_steps.total_agents"),
        ("export exp.db -o x --table agent_state", 1, "agent_state; the nearest is agent_states"),
        ("export exp.db -o x --as-text agents.agentid", 1, "the nearest is agents.agent_id"),
        ("rerun exp.db run_c", 1, "has no simulation run_c; the nearest is run_"),
        ("split exp.db -o x --by rat", 1, "the nearest is rate"),
        ("split exp.db -o x --by a --by b", 2, "--by is taken once here"),
        ("verify exp.db gone/", 1, "gone: no such file"),
        ("verify exp.db hollow/", 1, "no database found among the inputs"),
        ("inspect hollow/", 1, "no database found among the inputs"),
        ("help verfy", 2, "there is no command verfy; the nearest is verify"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_what_is_right(run, place, line, code, words):
    before = sorted(place.iterdir())
    result = run(*line.split())
    assert result.exit_code == code, result.output
    assert words in " ".join(result.output.split())
    assert sorted(place.iterdir()) == before


def test_a_statement_is_read_from_a_file_and_from_standard_input(run, place):
    (place / "q.sql").write_text("SELECT simulation_id FROM simulations\nLIMIT :n;\n")
    answer = "simulation_id\nrun_a\n"
    words = ["sql", "exp.db", "-p", "n=1", "--format", "csv"]
    assert run(*words, "--file", "q.sql").output == answer
    assert run(*words, "-", stdin=(place / "q.sql").read_text()).output == answer
    assert run(*words, stdin=(place / "q.sql").read_text()).output == answer
    assert run(*words, "SELECT 1", "--file", "q.sql").exit_code == 2
    assert "returns no rows" in run("sql", "exp.db", stdin="").output


def test_parameters_are_numbers_where_they_are_written_as_such(run, place):
    statement = "SELECT typeof(:a) AS a, typeof(:b) AS b, typeof(:c) AS c, typeof(:d) AS d"
    values = ["-p", "a=7", "-p", "b=0.5", "-p", "c=007", "-p", "d=nan"]
    result = run("sql", "exp.db", statement, *values, "--format", "csv")
    assert result.output == "a,b,c,d\ninteger,real,text,text\n"
