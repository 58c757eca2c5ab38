"""The parameters of a run, from a file beside its database."""

from __future__ import annotations

import json
import math
import os
import sys
from datetime import date

import pytest

from farm_merge.errors import InvalidOptionError
from farm_merge.merge import merge_shards
from farm_merge.merge.inputs.sidecar import Sidecars, json_object, valid_json
from tests.conftest import query
from tests.merge.eras import write_era, write_nameless

BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
).encode()
"""A thousand million values in some lines."""


def test_a_config_beside_the_run_becomes_its_parameters(tmp_path):
    sources = [write_era(tmp_path / f"run_{number}" / "simulation.db", 1) for number in (1, 2)]
    for number, source in enumerate(sources):
        (source.parent / "config.json").write_text(json.dumps({"rate": number}))
        query(source, "UPDATE AgentStates SET position_x = ?", number)
    merge_shards([tmp_path], tmp_path / "out" / "exp.db")
    assert query(
        tmp_path / "out" / "exp.db", "SELECT simulation_id, parameters FROM simulations"
    ) == [
        ("run_1_simulation", '{"rate": 0}'),
        ("run_2_simulation", '{"rate": 1}'),
    ]


def test_a_config_that_could_be_anybodys_is_nobodys(tmp_path):
    write_era(tmp_path / "runs" / "a.db", 1)
    write_era(tmp_path / "runs" / "b.db", 2)
    (tmp_path / "runs" / "config.json").write_text('{"rate": 1}')
    merge_shards([tmp_path / "runs"], tmp_path / "exp.db")
    sql = "SELECT simulation_id, parameters FROM simulations"
    assert query(tmp_path / "exp.db", sql) == [("a", "{}"), ("b", '{"width": 100}')]


def read(folder, *more, name="run.db", joins=False):
    found = Sidecars(more, joins=joins).read(folder / name)
    return found.parameters, found.notes


@pytest.fixture
def folder(tmp_path):
    """A folder with one run in it."""
    write_nameless(tmp_path / "in" / "run.db", 1)
    return tmp_path / "in"


@pytest.mark.parametrize(
    ("name", "text", "parameters"),
    [
        ("config.json", '{"a": 1}', {"a": 1}),
        ("run.json", '{"a": [1, {"b": null}]}', {"a": [1, {"b": None}]}),
        ("params.yaml", "a: 1\nb: [x, 2.5]\n", {"a": 1, "b": ["x", 2.5]}),
        ("parameters.yml", "on: yes\n", {"on": "yes"}),  # YAML 1.2
        ("config.toml", "a = 1\n[b]\nc = 'x'\n", {"a": 1, "b": {"c": "x"}}),
        ("run.toml", "t = 2026-01-01\n", {"t": "2026-01-01"}),
        ("config.json", '{"a": NaN, "b": -Infinity, "c": 1e400}',
         {"a": None, "b": "-Infinity", "c": "Infinity"}),
        ("config.yaml", "1: x\n", {"1": "x"}),
    ],
)  # fmt: skip
def test_parameters_beside_a_run_are_read(folder, name, text, parameters):
    (folder / name).write_text(text)
    assert read(folder) == (parameters, ())
    json.loads(json.dumps(parameters, allow_nan=False))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16-le", "utf-16-be", "utf-16"])
def test_marks_of_the_byte_order_are_read(folder, encoding):
    text = '{"name": "é"}'
    mark = "\ufeff" if encoding in {"utf-16-le", "utf-16-be"} else ""
    (folder / "config.json").write_bytes((mark + text).encode(encoding))
    assert read(folder) == ({"name": "é"}, ())


@pytest.mark.parametrize(
    ("name", "data", "note"),
    [
        ("config.json", b"{", "config.json cannot be read: Expecting property name"),
        ("config.json", b"[1]", "config.json holds no names with values, so no parameters"),
        ("config.json", b'{"a": "\xff"}', "config.json cannot be read: 'utf-8' codec"),
        ("config.toml", b"a = ", "config.toml cannot be read: Invalid value"),
        ("config.yaml", b"a: [", "config.yaml cannot be read: while parsing a flow"),
        ("config.yaml", BOMB, "config.yaml cannot be read: it holds more than 1,000,000 values"),
        ("config.yaml", b"a: &a [*a]", "config.yaml cannot be read: it is nested too deeply"),
        ("config.yaml", b"a: &a {b: *a}", "config.yaml cannot be read: it is nested too deeply"),
        (
            "config.json",
            b'{"a":' + b"[" * 900 + b"]" * 900 + b"}",
            "config.json cannot be read: it is",
        ),
        ("config.json", b'{"a":' + b"[" * 100_000, "config.json cannot be read: it is nested too"),
        ("config.toml", b"a = " + b"[" * 5_000, "config.toml cannot be read: it is nested too"),
        ("config.json", b'{"a":' + b"1" * 10_000 + b"}", "config.json cannot be read: Exceeds"),
        (
            "config.json",
            b" " * (4 << 20) + b"{}",
            "config.json cannot be read: it has more than 4,194",
        ),
    ],
    ids=lambda it: it[:20] if isinstance(it, bytes) else None,
)
def test_what_cannot_be_read_is_noted_and_costs_nothing(folder, name, data, note):
    (folder / name).write_bytes(data)
    parameters, (found,) = read(folder)
    assert parameters is None
    assert found.startswith(note)
    assert "\n" not in found


@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "loop"])
def test_what_is_no_file_is_not_waited_for(folder, kind):
    path = folder / "config.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path)
    assert read(folder) == (None, ("config.json cannot be read: it is no regular file",))


def test_the_runs_own_file_comes_first(folder):
    for name, value in (("config.json", 1), ("run.yaml", 2), ("run_args.json", 3)):
        (folder / name).write_text(json.dumps({"a": value}))
    assert read(folder)[0] == {"a": 2}
    assert read(folder, "{stem}_args.json")[0] == {"a": 3}
    assert read(folder, "nowhere.json")[0] == {"a": 2}


def test_nothing_beside_a_run_is_nothing(folder, tmp_path):
    assert read(folder) == (None, ())
    assert read(tmp_path / "nowhere") == (None, ())


def test_what_is_beside_several_runs_is_nobodys_but_their_own(folder):
    write_nameless(folder / "other.db", 1)
    (folder / "config.json").write_text('{"a": 1}')
    assert read(folder) == (None, ("config.json is beside several runs, so it is not read",))
    assert read(folder, joins=True)[0] == {"a": 1}
    (folder / "run.json").write_text('{"a": 2}')
    assert read(folder)[0] == {"a": 2}


def test_a_folder_is_asked_once_for_all_its_runs(folder):
    sidecars = Sidecars((), joins=False)
    sidecars.read(folder / "run.db")
    (folder / "run.json").write_text('{"a": 2}')
    assert sidecars.read(folder / "run.db").parameters is None


@pytest.mark.parametrize("name", ["x/{stem}.json", "{other}.json", "{.json", "run.ini", "{stem}"])
def test_a_name_that_can_be_none_is_refused(name):
    with pytest.raises(InvalidOptionError, match="sidecar"):
        Sidecars([name], joins=False)


def test_without_its_package_yaml_is_noted(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ruamel.yaml", None)
    (folder / "run.yaml").write_text("a: 1")
    assert read(folder) == (
        None,
        ("run.yaml is not read: the package ruamel.yaml is not installed",),
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [('{"a": NaN}', {"a": None}), ("[1]", None), ("{", None), (None, None), (b"{}", None), ("{}", {})],
)  # fmt: skip
def test_a_json_object_is_one_or_none(text, value):
    assert json_object(text) == value


def test_what_json_does_not_know_is_text():
    value = {1: (1, {2.5}), "d": date(2026, 1, 1), "t": True, "n": None, "x": -math.inf}
    assert valid_json(value) == {
        "1": [1, [2.5]], "d": "2026-01-01", "t": True, "n": None, "x": "-Infinity",
    }  # fmt: skip
