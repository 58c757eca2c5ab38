"""A sample of `make faults`: each command once with each fault, in the middle of its work."""

from __future__ import annotations

import pytest

from tests.faults.harness import FAULTS, POWER, build, run_all
from tests.faults.scenarios import SCENARIOS


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    built = build(tmp_path_factory.mktemp("shim"))
    if isinstance(built, str):
        pytest.skip(built)
    return built


@pytest.mark.parametrize("scenario", [scenario.name for scenario in SCENARIOS])
def test_a_fault_in_the_middle_loses_nothing_and_is_made_good(scenario, shim):
    found = run_all(shim, 1, 1, scenario)
    assert {line["scenario"] for line in found} == {scenario}
    assert {line["fault"] for line in found} == {POWER, *(fault.name for fault in FAULTS)}
    assert all(line["points"] for line in found)
    assert [line for line in found if line["violations"]] == []
