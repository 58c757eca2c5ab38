"""A name that is wrong is named with the nearest that is right."""

from __future__ import annotations

import pytest

from farm_merge.errors import FarmMergeError, ShardError
from farm_merge.nearest import require_known, with_nearest


@pytest.mark.parametrize(
    ("name", "known", "words"),
    [
        ("agnets", ["agents", "steps"], "no agnets; the nearest is agents"),
        ("AGENTS", ["agents", "steps"], "no AGENTS; the nearest is agents"),
        ("x", ["agents", "steps"], "no x; there are agents, steps"),
        ("x", ["agents"], "no x; there is agents"),
        ("x", [], "no x"),
        ("x", [f"run_{number}" for number in range(100)], "no x"),
    ],
)
def test_the_nearest_is_named_or_the_few_that_there_are(name, known, words):
    assert with_nearest(f"no {name}", name, known) == words


def test_all_unknown_names_are_named_at_once():
    require_known("table", ["a"], ["a", "b"])
    with pytest.raises(FarmMergeError, match=r"^there is no table agnts; the nearest is agents; "):
        require_known("table", ["agnts", "a", "stps"], ["agents", "steps", "a"])
    with pytest.raises(ShardError, match=r"^x\.db: has no table c; there is b$"):
        require_known("table", ["c", "c"], iter(["b"]), path="x.db", error=ShardError)
