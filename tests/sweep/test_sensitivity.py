"""Sensitivity: known indices are found, from what the database alone has."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from farm_merge.errors import FarmMergeError
from farm_merge.sweep import Sweep, run_sweep, sensitivity
from tests.conftest import query
from tests.sweep.small import threads

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("SALib")

UNIT = {"low": 0.0, "high": 1.0}
CIRCLE = {"low": -math.pi, "high": math.pi}

# First-order and total indices, from the variances in Ishigami and Homma's function.
ISHIGAMI = {"x": (0.3139, 0.5576), "y": (0.4424, 0.4424), "z": (0.0, 0.2437)}


def swept(tmp_path: Path, function: str, **changes: Any) -> Path:
    """Return the experiment database of a sweep."""
    design = {"experiment_id": "s", "simulation": f"tests.sweep.models:{function}"} | changes
    output = tmp_path / "exp.db"
    with threads() as executor:
        run_sweep(Sweep.model_validate(design), tmp_path / "s", output, executor=executor)
    return output


def test_the_indices_of_ishigami_s_function_are_within_their_intervals(tmp_path: Path) -> None:
    sample = {"method": "saltelli", "points": 128, "ranges": dict.fromkeys("xyz", CIRCLE)}
    found = sensitivity(swept(tmp_path, "ishigami", sample=sample), "value")
    assert (found.method, found.simulations) == ("saltelli", 640)
    for row in found.rows:
        first, total = ISHIGAMI[row["parameter"]]
        assert abs(row["S1"] - first) <= row["S1_conf"]
        assert abs(row["ST"] - total) <= row["ST_conf"]
        assert row["S1_conf"] < 0.5


def test_elementary_effects_are_found_over_repetitions(tmp_path: Path) -> None:
    sample = {"method": "morris", "points": 4, "ranges": dict.fromkeys("xyz", UNIT)}
    output = swept(tmp_path, "linear", sample=sample, repetitions=2)
    found = sensitivity(output, "value")
    effects = {row["parameter"]: row["mu"] for row in found.rows}
    assert effects == pytest.approx({"x": 3, "y": 1, "z": 0}, abs=1e-6)
    assert all(row["sigma"] < 1e-6 for row in found.rows)


def test_ranks_are_correlated_where_the_design_allows_no_more(tmp_path: Path) -> None:
    sample = {"method": "latin_hypercube", "points": 40, "ranges": dict.fromkeys("xyz", UNIT)}
    found = sensitivity(swept(tmp_path, "linear", sample=sample), "value")
    rows = {row["parameter"]: row for row in found.rows}
    assert found.method == "rank correlation"
    assert rows["x"]["rho"] > 0.8
    assert rows["x"]["low"] < rows["x"]["rho"] < rows["x"]["high"]
    assert rows["x"]["p_value"] < 1e-6
    assert rows["z"]["low"] < 0 < rows["z"]["high"]


def test_an_outcome_may_be_a_column_or_a_statement(tmp_path: Path) -> None:
    output = swept(tmp_path, "count", grid={"n": [1, 2, 3, 4]}, repetitions=2)
    by_name = sensitivity(output, "steps")
    sql = "SELECT simulation_id, count(*) FROM simulation_steps GROUP BY 1"
    by_sql = sensitivity(output, "how many", sql=sql)
    assert by_name.rows == by_sql.rows
    assert by_name.rows[0]["rho"] == pytest.approx(1)


def test_an_outcome_that_is_none_is_refused_with_the_nearest(tmp_path: Path) -> None:
    output = swept(tmp_path, "linear", grid={"x": [1, 2], "y": [1, 2]})
    with pytest.raises(FarmMergeError, match="the nearest is value"):
        sensitivity(output, "vaule")


def test_a_design_of_which_runs_are_missing_is_not_analysed(tmp_path: Path) -> None:
    sample = {"method": "morris", "points": 2, "ranges": dict.fromkeys("xyz", UNIT)}
    output = swept(tmp_path, "linear", sample=sample)
    query(
        output,
        "UPDATE simulations SET status = 'failed' WHERE simulation_id = (SELECT min(simulation_id) FROM simulations)",
    )
    with pytest.raises(FarmMergeError, match="1 of 8 parameter sets have no value"):
        sensitivity(output, "value")
