"""The command starts at once, and knows what its first word means."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from typing import get_args

import click
import pytest

import farm_merge
from farm_merge.cli import main
from farm_merge.merge import options as merging
from farm_merge.read import formats
from tests.limits import on_a_full_disk

LOADED = """
import sys
from farm_merge.cli import main
try:
    main(sys.argv[2:], standalone_mode=False)
except SystemExit as done:
    assert done.code == 0
print(sorted(set(sys.argv[1].split()) & set(sys.modules)), file=sys.stderr)
"""


def loaded(heavy, *words):
    """Return which of some modules a command imports."""
    command = [sys.executable, "-c", LOADED, heavy, *map(str, words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("words", [["--help"], ["merge", "--help"], ["report", "--help"]])
def test_help_comes_without_what_it_does_not_need(words):
    heavy = "altair jinja2 numpy pandas pydantic scipy sqlalchemy sqlite3 sqlite_utils tqdm"
    assert loaded(heavy, *words) == "[]"


def test_a_merge_a_list_and_a_query_come_without_pandas(make_shard, tmp_path):
    shard = make_shard("a")
    heavy = "pandas sqlalchemy sqlite_utils"
    only_for_many = "numpy multiprocessing hashlib"
    assert loaded(f"{heavy} {only_for_many}", "merge", shard, "-o", tmp_path / "exp.db") == "[]"
    assert loaded(heavy, "list", tmp_path / "exp.db") == "[]"
    assert loaded(heavy, "sql", tmp_path / "exp.db", "SELECT 1") == "[]"


def test_a_list_and_a_query_come_without_the_merge(run, make_shard, tmp_path):
    """Its modules and NumPy take longer to load than a short list takes in all."""
    run(make_shard("a"), "-o", "exp.db")
    heavy = "numpy farm_merge.merge farm_merge.merge.inputs.file"
    assert loaded(heavy, "list", tmp_path / "exp.db") == "[]"
    assert loaded(heavy, "sql", tmp_path / "exp.db", "SELECT 1") == "[]"


def test_the_module_is_the_command():
    found = subprocess.run(
        [sys.executable, "-m", "farm_merge", "--version"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.startswith("farm-merge, version ")


def test_a_mistyped_command_is_not_taken_for_a_file(run):
    result = run("lst", "exp.db")
    assert result.exit_code == 2
    assert "'lst' is neither a command nor an existing path; the nearest is list" in result.output


def test_a_folder_named_like_a_command_can_be_reached(run, make_shard):
    make_shard("a", folder="list")
    assert "1 merged" in run("./list", "-o", "exp.db").output


def test_a_command_offers_the_choices_that_the_library_knows():
    known = {
        "--on-conflict": merging.OnConflict,
        "--on-bad-shard": merging.OnBadShard,
        "--on-duplicate-row": merging.OnDuplicateRow,
        "--on-orphan-rows": merging.OnOrphanRows,
        "--equal-files": merging.EqualFiles,
        "--as": merging.SourceSchema,
        "--engine": merging.Engine,
    }
    special = {
        ("merge", "--verify"): merging.Verification,
        ("export", "--format"): formats.Format,
        ("export", "--compress"): formats.Compression,
    }
    compared = set()
    for name, command in main.commands.items():
        for option in command.params:
            choices = special.get((name, option.opts[0]), known.get(option.opts[0]))
            if choices is not None:
                assert tuple(option.type.choices) == get_args(choices), (name, option.opts)
                compared.add(option.opts[0])
    assert compared == known.keys() | {option for _, option in special}


def test_every_command_explains_itself_and_its_options():
    for name, command in main.commands.items():
        assert command.help, name
        options = [option for option in command.params if isinstance(option, click.Option)]
        assert [option.name for option in options if not option.help] == [], name


def test_public_names_lead_somewhere():
    for name in farm_merge.__all__:
        assert getattr(farm_merge, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'merge_shard'"):
        farm_merge.merge_shard  # noqa: B018


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("seconds", [0.02, 0.1, 0.2, 0.3])
def test_an_interrupt_is_no_mistake_and_never_a_traceback(make_shard, tmp_path, seconds):
    """Whenever it comes; a shell shows 130 for a process that ends by the signal, too."""
    shard = make_shard("a", steps=2000)
    code = (
        "import signal\n"
        "signal.signal(signal.SIGINT, signal.SIG_DFL)\n"  # until it begins, it is Python's
        "print('begun', flush=True)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import sys\n"
        "from farm_merge.__main__ import run\n"
        "run()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, shard, "-o", tmp_path / "exp.db"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "begun\n"
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode in {0, 130, -signal.SIGINT}, said
    assert "Traceback" not in said or "farm_merge" not in said


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(5, "Input/output error", "x.db"), "x.db: Input/output error"),
        (MemoryError(), "there is not enough memory"),
        (RuntimeError("can't start new thread"), "no more threads"),
    ],
)
def test_what_a_machine_refuses_is_a_message(run, monkeypatch, tmp_path, error, reason):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr("farm_merge.merge.inspect_shard", refuse)
    (tmp_path / "x.db").touch()
    result = run("inspect", tmp_path / "x.db")
    assert result.exit_code == 1
    assert f"Error: {reason}" in result.output


def test_an_error_of_ours_is_not_hidden(run, monkeypatch, tmp_path):
    def fail(*_, **__):
        raise RuntimeError("a bug")

    monkeypatch.setattr("farm_merge.merge.inspect_shard", fail)
    (tmp_path / "x.db").touch()
    assert isinstance(run("inspect", tmp_path / "x.db").exception, RuntimeError)


def test_a_disk_that_is_full_from_the_start_is_a_message(make_shard, tmp_path):
    done = on_a_full_disk(0, make_shard("a"), "-o", tmp_path / "exp.db")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
