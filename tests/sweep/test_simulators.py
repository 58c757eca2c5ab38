"""Simulators: functions and command lines are found, checked, and called."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from farm_merge.sweep import load_sweep, run_sweep
from tests.conftest import query
from tests.sweep.small import hidden, is_alive, of_model, sweep

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = shlex.quote(sys.executable)
PROGRAM = """
import csv, sqlite3, sys
form, n, seed, place = sys.argv[1:]
if form == "sqlite":
    with sqlite3.connect(place) as connection:
        connection.execute("CREATE TABLE ticks (tick INTEGER, value REAL, code TEXT)")
        rows = [(tick, tick / 2, "007") for tick in range(int(n))]
        connection.executemany("INSERT INTO ticks VALUES (?, ?, ?)", rows)
    connection.close()
elif form == "csv":
    with open(place + "/ticks.csv", "w", newline="") as file:
        csv.writer(file).writerows([("tick", "value", "code")] + [(t, t / 2, "007") for t in range(int(n))])
elif form == "fail":
    sys.exit("no such thing as " + n)
"""


def of_program(folder: Path, words: str, **changes: Any) -> Any:
    """Return the design of a program that is in a folder."""
    (folder / "program.py").write_text(PROGRAM)
    lines = [
        'experiment_id = "program"',
        f"command = '''{PYTHON} program.py {words}'''",
        *(f"{key} = {value}" for key, value in changes.items()),
        "[grid]",
        "n = [2, 3]",
    ]
    (folder / "program.toml").write_text("\n".join(lines))
    return load_sweep(folder / "program.toml")


@pytest.mark.parametrize("words", ["sqlite {n} {seed} {shard}", "csv {n} {seed} {folder}"])
def test_a_program_in_any_language_is_swept(tmp_path: Path, words: str) -> None:
    output, shards = tmp_path / "exp.db", tmp_path / "shards"
    design = of_program(tmp_path, words)
    report = run_sweep(design, shards, output, jobs=1)
    assert [str(failure) for failure in report.failed] == []
    assert query(output, "SELECT simulation_id, tick, value, code FROM ticks ORDER BY 1, 2") == [
        (f"n{n}_r1", tick, tick / 2, "007") for n in (2, 3) for tick in range(n)
    ]
    stored = query(output, "SELECT status, seed, parameters ->> '$.n' FROM simulations ORDER BY 3")
    assert stored == [("completed", run.seed, run.parameters["n"]) for run in design.runs()]
    assert query(output, "SELECT count(*) FROM merged_shards") == [(2,)]
    assert hidden(shards) == []
    assert len(run_sweep(design, shards, output, jobs=1).present) == 2


def test_a_program_that_fails_reports_what_it_printed(tmp_path: Path) -> None:
    design = of_program(tmp_path, "fail {n} {seed} {folder}")
    report = run_sweep(design, tmp_path / "shards", tmp_path / "exp.db", jobs=1)
    assert [failure.exception for failure in report.failed] == ["CommandFailedError"] * 2
    assert "exit code 1" in report.failed[0].message
    assert "no such thing as 2" in report.failed[0].message
    assert hidden(tmp_path / "shards") == []


def test_a_program_that_leaves_nothing_has_failed(tmp_path: Path) -> None:
    design = of_program(tmp_path, "nothing {n} {seed} {folder}")
    report = run_sweep(design, tmp_path / "shards", tmp_path / "exp.db", jobs=1)
    assert "neither {shard} nor CSV files" in report.failed[0].message


def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    script = tmp_path / "hang.sh"
    script.write_text(f'sleep 3600 & echo $! > "{tmp_path}/pid"; wait\n')
    design = sweep(
        command=f"sh {script} {{folder}}", grid={"n": [1]}, config={}, repetitions=1, steps=None
    )
    report = run_sweep(design, tmp_path / "s", tmp_path / "exp.db", jobs=1, timeout=2)
    assert [failure.exception for failure in report.failed] == ["TimeoutError"]
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_values_are_words_and_never_a_shell_s(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(
        "import sys, csv\n"
        "csv.writer(open(sys.argv[1] + '/words.csv', 'w')).writerows([['word'], sys.argv[2:]])\n"
    )
    design = sweep(
        command=f"{PYTHON} {tmp_path}/echo.py {{folder}} {{text}}",
        grid={"text": ["; touch x", "$(touch y)", "a b"]},
        config={},
        repetitions=1,
        steps=None,
    )
    report = run_sweep(design, tmp_path / "s", tmp_path / "exp.db", jobs=1)
    assert [str(failure) for failure in report.failed] == []
    found = {word for (word,) in query(tmp_path / "exp.db", "SELECT word FROM words")}
    assert found == {"; touch x", "$(touch y)", "a b"}
    assert not (tmp_path / "x").exists()


def test_a_function_of_the_file_s_own_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text(
        "def go(db, parameters, seed):\n"
        "    db.logger.log_step(0, [], [], {'total_agents': parameters['n']})\n"
    )
    path = tmp_path / "a.toml"
    path.write_text('experiment_id = "a"\nsimulation = "neighbour:go"\n[grid]\nn = [1, 2]\n')
    report = run_sweep(load_sweep(path), tmp_path / "s", tmp_path / "exp.db", jobs=1)
    assert [str(failure) for failure in report.failed] == []
    assert query(tmp_path / "exp.db", "SELECT total_agents FROM simulation_steps") == [(1,), (2,)]


def test_a_folder_that_does_not_have_the_model_hides_no_module(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('experiment_id = "a"\nsteps = 1\n')
    (tmp_path / "json.py").write_text("raise ImportError\n")
    load_sweep(tmp_path / "a.toml")
    assert str(tmp_path) not in sys.path


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"simulation": "tests.sweep.modles:count"}, "no module tests.sweep.modles"),
        ({"simulation": "tests.sweep.models:cuont"}, "has no 'cuont'; the nearest is count"),
        ({"simulation": "count"}, "no module count"),
        ({"simulation": ":count"}, "package.module:function"),
        ({"simulation": "mesa:nothing.there:Model", "steps": 1}, "no module nothing"),
        ({"simulation": "mesa:tests.sweep.models:count"}, "steps is missing"),
        ({"grid": {"n": [101]}}, "n is above 100"),
        ({"command": "true {shard}"}, "leave one"),
    ],
)
def test_what_cannot_be_called_is_refused_before_anything_is_run(
    changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ValidationError, match=reason):
        of_model("count", **changes)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("true {populaton} {shard}", "{populaton} is no parameter; the nearest is population"),
        ("true {population}", "neither {shard} nor {folder}"),
        ("no-such-program {shard}", "no program 'no-such-program'"),
        ("true '{shard}", "cannot be taken apart"),
        ("true { {shard}", "brace"),
        ("", "is empty"),
        ("true {shard} {shard.__class__}", "{shard.__class__} is no parameter"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused(command: str, reason: str) -> None:
    with pytest.raises(ValidationError) as refused:
        sweep(command=command)
    assert reason in str(refused.value)
