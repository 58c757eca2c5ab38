"""Options about names and parameters are checked before anything is read."""

from __future__ import annotations

import pytest

from farm_merge.errors import InvalidOptionError
from farm_merge.merge.options import Options
from farm_merge.merge.plan.rules import Rules


def test_nothing_is_looked_for_by_default_but_sidecars(tmp_path):
    rules = Rules(Options())
    assert (rules.pattern, rules.template) == (None, None)
    (tmp_path / "run.json").write_text('{"a": 1}')
    assert rules.sidecars.read(tmp_path / "run.db").parameters == {"a": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parameters_from_name": "lr("}, "parameters_from_name 'lr\\('"),
        ({"simulation_id": "{nothing}"}, "knows no {nothing}"),
        ({"sidecars": ("../x.json",)}, "takes the name of a file beside the run"),
    ],
)
def test_what_is_none_is_refused(options, message):
    with pytest.raises(InvalidOptionError, match=message):
        Rules(Options(**options))


def test_a_template_may_use_the_groups_of_the_pattern():
    rules = Rules(Options(simulation_id="{lr}", parameters_from_name="lr(?P<lr>[0-9]+)"))
    assert rules.template.text == "{lr}"
    with pytest.raises(InvalidOptionError, match=r"knows no \{lr\}"):
        Rules(Options(simulation_id="{lr}"))
