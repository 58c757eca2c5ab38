"""A typo in an option must not decide about rows."""

from __future__ import annotations

import inspect

import pytest

from farm_merge.errors import InvalidOptionError
from farm_merge.merge import audit, merge_shards, plan_merge
from farm_merge.merge.options import Options


@pytest.mark.parametrize(
    ("option", "value", "choices"),
    [
        ("on_conflict", "relpace", "'error', 'skip', 'replace'"),
        ("on_bad_shard", "ignore", "'stop', 'skip'"),
        ("on_duplicate_row", "newest", "'error', 'first', 'last'"),
        ("verify", "contents", "'none', 'counts', 'content'"),
        ("engine", "atach", "'auto', 'attach', 'graft'"),
        ("engine", None, "'auto', 'attach', 'graft'"),
    ],
)
def test_a_wrong_value_is_an_error_that_names_the_choices(
    make_shard, tmp_path, option, value, choices
):
    with pytest.raises(InvalidOptionError, match=f"{option} is {value!r}; .*{choices}"):
        merge_shards([make_shard("a")], tmp_path / "exp.db", **{option: value})
    assert not (tmp_path / "exp.db").exists()


@pytest.mark.parametrize("jobs", [0, -1, "two"])
def test_jobs_are_counted_from_one(tmp_path, jobs):
    with pytest.raises(InvalidOptionError, match="jobs"):
        merge_shards([tmp_path], tmp_path / "exp.db", jobs=jobs)


def test_an_unknown_option_is_an_error(tmp_path):
    with pytest.raises(TypeError, match="on_conflikt"):
        merge_shards([tmp_path], tmp_path / "exp.db", on_conflikt="skip")


def test_an_audit_checks_its_options_too(make_shard, tmp_path):
    merge_shards([make_shard("a")], tmp_path / "exp.db")
    with pytest.raises(InvalidOptionError, match="'first'"):
        audit(tmp_path / "exp.db", on_duplicate_row="frist")


def test_the_options_of_a_merge_are_spelled_where_editors_find_them():
    spelled = inspect.signature(merge_shards).parameters
    for name, option in inspect.signature(Options).parameters.items():
        assert spelled[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert spelled[name].default == option.default
        assert f"    {name}: " in inspect.getdoc(merge_shards)
    shared = inspect.signature(plan_merge).parameters.keys() - {"paths", "output", "progress"}
    assert shared <= inspect.signature(Options).parameters.keys()
