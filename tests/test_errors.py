"""Errors carry their parts, and advice is worded for its reader."""

from __future__ import annotations

from farm_merge.errors import ShardError, for_command_line, for_python


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
