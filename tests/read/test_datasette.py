"""A real Datasette, on this machine only, is asked what it shows."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from urllib.request import urlopen

import pytest

from farm_merge.errors import InvalidOptionError, ShardError
from farm_merge.read.datasette import datasette_metadata, serve_database
from tests.conftest import query

pytest.importorskip("datasette")

VALUES = {"simulation_id": "a2", "parameter": "learning_rate", "step": 1}


@contextmanager
def served(words, folder):
    """Start a server that has a folder for what is temporary; yield it, and where it listens."""
    with subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, "TMPDIR": str(folder)},
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        said = []
        for line in server.stderr:  # until it says where it listens
            said.append(line)
            if found := re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        else:
            pytest.fail("".join(said))
        try:
            yield server, found[0]
        finally:
            server.terminate()
            server.communicate(timeout=60)


@pytest.fixture
def ask(four_runs, tmp_path):
    """Start a server; return what asks it for JSON."""

    def ask(path):
        with urlopen(address + path, timeout=60) as answer:
            return json.load(answer)

    words = ["-m", "farm_merge", "serve", str(four_runs), "--port", "0"]
    with served(words, tmp_path) as (_, address):
        yield ask


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGTERM, ["-c", "import sys, farm_merge.read.datasette as it\n"
                                "it.serve_database(sys.argv[1], port=0); print('went on')"]),
        (signal.SIGINT, ["-m", "farm_merge", "serve", "--port", "0"]),
    ],
)  # fmt: skip
def test_a_server_that_is_ended_leaves_no_folder(four_runs, tmp_path, number, words):
    folder = tmp_path / "temporary"
    folder.mkdir()
    with served([*words, str(four_runs)], folder) as (server, _):
        assert list(folder.iterdir())
        server.send_signal(number)
        server.communicate(timeout=60)
        assert (server.returncode, list(folder.iterdir())) == (0, [])


def test_datasette_shows_runs_by_parameter_labels_and_queries(ask):
    runs = ask("/exp-runs/runs.json?_shape=objects")
    facets = runs["facet_results"]
    facets = facets.get("results", facets)
    assert {value["value"]: value["count"] for value in facets["learning_rate"]["results"]} == {
        0.1: 2, 0.5: 2,
    }  # fmt: skip
    assert "world.size" not in facets
    assert [row["simulation_id"] for row in runs["rows"]] == ["a1", "a2", "b1", "b2"]
    (failed,) = ask("/exp-runs/runs.json?_shape=array&status=failed")
    assert (failed["simulation_id"], failed["learning_rate"], failed["steps"]) == ("b2", 0.5, 3)
    path = "/exp/population_by_parameter.json?parameter=learning_rate&step=2&_shape=array"
    assert ask(path) == [
        {"value": 0.1, "simulations": 2, "agents": 17.0},
        {"value": 0.5, "simulations": 2, "agents": 37.0},
    ]
    settings = ask("/-/settings.json")
    assert (settings["max_returned_rows"], settings["allow_download"]) == (5000, False)


def test_queries_answer_and_read_no_table_whole(four_runs):
    known = datasette_metadata(four_runs)["databases"]["exp"]["queries"]
    assert len(known) == 5
    for asked in known.values():
        sql = re.sub(r":(\w+)", lambda name: repr(VALUES[name[1]]), asked["sql"])
        assert query(four_runs, sql)
        plan = [text for *_, text in query(four_runs, f"EXPLAIN QUERY PLAN {sql}")]
        assert not [text for text in plan if re.match(r"SCAN (t|agents|simulation_steps)", text)]


def test_what_a_database_does_not_have_is_not_asked(four_runs):
    query(four_runs, "DELETE FROM agents")
    query(four_runs, "DROP TABLE simulation_steps")
    known = datasette_metadata(four_runs)["databases"]["exp"]["queries"]
    assert list(known) == ["where_every_simulation_came_from"]


def test_a_run_whose_parameter_is_called_like_a_column_keeps_the_column(four_runs, tmp_path):
    query(four_runs, """UPDATE simulations SET parameters = '{"status": "hot", "n": [1]}'""")
    facets = datasette_metadata(four_runs)["databases"]["exp-runs"]["tables"]["runs"]["facets"]
    assert facets == ["status"]


def test_what_cannot_be_served_is_named(tmp_path, four_runs):
    with pytest.raises(InvalidOptionError, match="from 0 to 65535"):
        serve_database(four_runs, port=70000)
    (tmp_path / "bad.db").write_text("no database")
    with pytest.raises(ShardError, match=r"bad\.db"):
        serve_database(tmp_path / "bad.db")
