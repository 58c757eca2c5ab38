"""One vocabulary: an option has one name, one meaning, one type and one text in all commands."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import click
import pytest

from farm_merge.cli import main
from farm_merge.cli.show import EXIT_CODES

PAGE = (Path(__file__).parents[2] / "docs" / "command-line.md").read_text()

READS = {"compare", "completion", "help", "info", "inspect", "list", "rerun", "sensitivity", "serve",
         "sql", "verify"}  # fmt: skip
"""What writes no file; every other command does."""

PRINTS = {"archive", "compare", "describe", "digest", "info", "inspect", "list", "merge", "remove",
          "report", "rerun", "restore", "sensitivity", "split", "sql", "sweep", "vacuum", "verify",
          "watch"}  # fmt: skip
"""What has a result that programs read."""

SELECTS = {"compare", "digest", "export", "list", "remove", "report"}
"""What is about some of the simulations of a database."""

WORKS = {"export", "merge", "sweep", "verify"}
"""What is done by several processes."""

SPECIAL = {
    ("export", "--format"),
    ("publish", "--format"),
    ("sweep", "--shards"),
    ("merge", "--verify"),
    ("split", "--by"),
}
"""Options of one command that are called like something else, for what they are about differs."""

DIFFERS = {"--output"}
"""What is written differs, and so does its text."""


def options(command):
    return [param for param in command.params if isinstance(param, click.Option)]


def option(command, name):
    return next((it for it in options(main.commands[command]) if name in it.opts), None)


def described(param):
    """Return what a user reads of an option, the default apart."""
    choices = tuple(param.type.choices) if isinstance(param.type, click.Choice) else ()
    limits = (getattr(param.type, "min", None), getattr(param.type, "max", None))
    kind = (param.type.name, choices, limits, param.is_flag, param.multiple, param.metavar)
    return (tuple(param.opts), kind, param.help)


def test_an_option_is_the_same_wherever_it_is():
    meanings = defaultdict(lambda: defaultdict(list))
    for name, command in main.commands.items():
        for param in options(command):
            longest = max(param.opts, key=len)
            if (name, longest) not in SPECIAL and longest not in DIFFERS:
                meanings[longest][described(param)].append(name)
    several = {name: dict(found) for name, found in meanings.items() if len(found) > 1}
    assert several == {}


def test_a_short_option_stands_for_one_long_one():
    long = defaultdict(set)
    for command in main.commands.values():
        for param in options(command):
            for short in (it for it in param.opts if len(it) == 2):
                long[short].add(max(param.opts, key=len))
    assert {short: names for short, names in long.items() if len(names) > 1} == {}
    assert long["-o"] == {"--output"}
    assert long["-j"] == {"--jobs"}
    assert long["-n"] == {"--dry-run"}


@pytest.mark.parametrize("name", sorted(main.commands.keys() - READS))
def test_what_writes_has_a_dry_run(name):
    assert option(name, "--dry-run"), name


@pytest.mark.parametrize("name", sorted(READS))
def test_what_only_reads_has_none(name):
    assert not option(name, "--dry-run"), name
    assert not option(name, "--output"), name


@pytest.mark.parametrize("name", sorted(PRINTS))
def test_results_are_printed_in_one_of_the_forms(name):
    assert tuple(option(name, "--format").type.choices) == ("table", "csv", "json", "jsonl", "md")
    assert option(name, "--json"), name


@pytest.mark.parametrize("name", sorted(SELECTS))
def test_simulations_are_chosen_by_the_same_two_options(name):
    assert option(name, "--simulation"), name
    assert option(name, "--where"), name


@pytest.mark.parametrize("name", sorted(WORKS))
def test_processes_are_called_jobs(name):
    assert option(name, "--jobs"), name
    assert not option(name, "--workers"), name


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_has_help_a_quiet_and_a_verbose_form_and_the_exit_codes(run, name):
    long = run(name, "--help")
    assert long.exit_code == 0
    assert run(name, "-h").output == long.output
    assert run("help", name).output == long.output
    assert "-q, --quiet" in long.output
    assert "-v, --verbose" in long.output
    text = " ".join(long.output.split())
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in text


def test_the_table_of_exit_codes_is_that_of_the_commands():
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", PAGE, re.MULTILINE)
    assert {int(code): meaning for code, meaning in rows} == EXIT_CODES


def test_the_table_of_options_has_what_several_commands_share():
    documented = set(re.findall(r"(--[a-z][a-z-]+)", PAGE.partition("## Exit codes")[0]))
    shared = defaultdict(int)
    for command in main.commands.values():
        for param in options(command):
            shared[max(param.opts, key=len)] += 1
    merging = {param.opts[0] for param in options(main.commands["verify"])}
    common = {name for name, number in shared.items() if number > 1}
    rare = {"--experiment-id", "--settle", "--on-conflict"}  # of merge and watch
    assert common - merging - rare <= documented
    assert documented - {"--help", "--json"} <= shared.keys()
