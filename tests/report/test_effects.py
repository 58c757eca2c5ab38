"""Effects: what a report shows of sensitivity, drawn from what the database alone has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from farm_merge.merge import merge_shards
from farm_merge.report import write_report
from farm_merge.report.chart import draw_pictures
from farm_merge.report.effects import draw_effects, read_effects
from farm_merge.sweep import Sweep, run_sweep
from tests.conftest import query
from tests.sweep.small import threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytest.importorskip("SALib")
pytest.importorskip("vl_convert")

UNIT = {"low": 0.0, "high": 1.0}


@pytest.mark.parametrize(
    ("method", "measures"),
    [
        ("saltelli", {"first order (S1)", "total (ST)"}),
        ("morris", {"mean of absolute effects (mu*)"}),
        ("latin_hypercube", {"rank correlation (rho)"}),
    ],
)
def test_outcomes_that_differ_are_analysed_and_drawn(
    tmp_path: Path, method: str, measures: set[str]
) -> None:
    sample = {"method": method, "points": 8, "ranges": dict.fromkeys("xyz", UNIT)}
    design = {"experiment_id": "s", "simulation": "tests.sweep.models:linear", "sample": sample}
    output = tmp_path / "exp.db"
    with threads() as executor:
        run_sweep(Sweep.model_validate(design), tmp_path / "s", output, executor=executor)
    query(output, "UPDATE simulations SET results_summary = json_set(results_summary, '$.same', 1)")
    effects = read_effects(output)
    assert set(effects["panel"]) == {"value"}
    assert set(effects["measure"]) == measures
    means = effects.groupby("parameter")["value"].max()
    assert means["x"] > means["y"] > means["z"]
    assert (effects["low"] <= effects["value"]).all()
    assert (effects["value"] <= effects["high"]).all()
    files = dict(draw_pictures(draw_effects(output)))
    picture = files["sensitivity.svg"].decode()
    assert all(f">{text}<" in picture for text in ("x", "y", "z", *measures))
    write_report(output, tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert '"sensitivity"' in page
    assert 'class="legend"' not in page, "no chart shows sets"


def test_nothing_is_shown_of_an_experiment_that_no_sweep_made(
    tmp_path: Path, make_shard: Callable[..., Path]
) -> None:
    output = tmp_path / "exp.db"
    merge_shards([make_shard("a")], output)
    assert read_effects(output).empty
    assert not [*draw_effects(output)]
