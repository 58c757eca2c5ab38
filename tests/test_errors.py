"""Errors carry their parts, and advice is worded for its reader."""

from __future__ import annotations

import pytest

from farm_merge.errors import (
    ConflictError,
    FarmMergeError,
    InvalidOptionError,
    OutputError,
    ShardError,
    for_command_line,
    for_python,
    require_choice,
)


def test_advice_is_worded_for_its_reader():
    advice = "`on_bad_shard=skip` goes on, `include_running` takes all, and fewer `jobs=`"
    assert for_python(advice) == (
        "on_bad_shard='skip' goes on, include_running=True takes all, and fewer jobs"
    )
    assert for_command_line(advice) == (
        "--on-bad-shard skip goes on, --include-running takes all, and fewer --jobs"
    )


def test_an_error_carries_its_parts():
    error = ShardError("cannot be read", path="a.db", table="t", remedy="`on_bad_shard=skip`")
    assert str(error) == "a.db: table t: cannot be read; on_bad_shard='skip'"
    assert error.message(for_command_line).endswith("; --on-bad-shard skip")


def test_an_error_names_what_it_is_made_of():
    causes = [
        ShardError("is torn", path="a.db"),
        ShardError("is text", path="b.db", remedy="`join`"),
    ]
    error = ConflictError("2 are wrong:", causes=causes, remedy="`on_conflict=skip` goes on")
    assert str(error).splitlines() == [
        "2 are wrong:",
        "  a.db: is torn",
        "  b.db: is text; join=True",
        "on_conflict='skip' goes on",
    ]
    assert error.causes == tuple(causes)
    assert error.message(for_command_line).splitlines()[-1] == "--on-conflict skip goes on"


def test_options_that_are_called_otherwise_in_a_terminal():
    advice = "`schema=foreign`, or `sidecars=`, or `simulation_id={id}`"
    assert for_command_line(advice) == "--as foreign, or --sidecar, or --simulation-id {id}"
    assert for_python(advice) == "schema='foreign', or sidecars, or simulation_id='{id}'"


def test_a_choice_is_one_of_those_that_there_are():
    require_choice("engine", "a", ("a", "b"))
    with pytest.raises(InvalidOptionError, match="engine is 'c'; it takes one of 'a', None"):
        require_choice("engine", "c", ("a", None))
    with pytest.raises(ValueError, match="engine"):
        require_choice("engine", None, ("a",))


def test_all_errors_are_of_one_family():
    for error in (ShardError, OutputError, ConflictError, InvalidOptionError):
        assert issubclass(error, FarmMergeError)
        assert error("x").reason == "x"
        assert str(error("x")) == "x"
