"""What a Mesa model collects is in the shard, after a run or while it goes on."""

from __future__ import annotations

import mesa
import pytest
from mesa.examples import BoltzmannWealth, Schelling, SugarscapeG1mt, WolfSheep

from farm_merge.errors import FarmMergeError, InvalidOptionError
from farm_merge.mesa import Recorder, record
from farm_merge.read.compare import compare_simulations
from farm_merge.read.open import frame
from tests.conftest import query
from tests.mesa.models import Walkers, shipped

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

TABLES = (
    "SELECT name FROM sqlite_schema WHERE type = 'table'"
    " AND name NOT IN ('experiments', 'simulations', 'merged_shards')"
)


def run(model, steps):
    for _ in range(steps):
        if model.running:
            model.step()
    return model


def rows(path):
    """Return the rows of all tables, but for the names of simulations."""
    return {
        table: sorted((row[1:] for row in query(path, f'SELECT * FROM "{table}"')), key=repr)
        for (table,) in query(path, TABLES)
    }


@pytest.mark.parametrize("model_cls", [BoltzmannWealth, Schelling, SugarscapeG1mt, WolfSheep])
def test_models_that_mesa_ships_are_recorded_as_they_are_collected(tmp_path, model_cls):
    model = run(shipped(model_cls, 3), 12)
    record(model, tmp_path / "after.db")
    variables = model.datacollector.get_model_vars_dataframe()
    stored = frame(tmp_path / "after.db", "model_vars")
    for name in variables:
        assert list(stored[name]) == list(variables[name]), name
    first = stored["step"].iloc[0]
    assert list(stored["step"]) == list(range(first, model.steps + 1))
    if model.datacollector.agent_reporters:
        agents = model.datacollector.get_agent_vars_dataframe().reset_index()
        found = frame(tmp_path / "after.db", "agent_vars")
        assert list(zip(found["step"], found["agent_id"], strict=True)) == sorted(
            zip(agents["Step"], agents["AgentID"], strict=True)
        )
    while_it_runs = shipped(model_cls, 3)
    with Recorder(while_it_runs, tmp_path / "during.db", every=5):
        run(while_it_runs, 12)
    assert rows(tmp_path / "during.db") == rows(tmp_path / "after.db")
    ((seed, status),) = query(tmp_path / "after.db", "SELECT seed, status FROM simulations")
    assert (seed, status) == (3, "completed")


def test_names_and_types_are_as_they_are(tmp_path):
    record(run(Walkers(n=2, seed=1), 2), tmp_path / "run.db", parameters={"n": 2, "f": run})
    found = rows(tmp_path / "run.db")
    assert [row[1:] for row in found["model_vars"]] == [
        (0, 0, 0.0, None, '{"width": 5}'),
        (1, found["model_vars"][1][2], 0.5, None, '{"width": 5}'),
        (2, found["model_vars"][2][2], 1.0, None, '{"width": 5}'),
    ]
    assert found["agent_vars"][0] == (0, 1, 0, "walker 1")
    assert found["agent_vars_Walker"][0] == (0, 1, 0)
    assert len(found["Births"]) == 4
    assert found["agents"] == []  # it is AgentFarm's
    assert found["agents_table"] == [(1, "{1, 2}", str(2**70))]
    parameters = query(tmp_path / "run.db", "SELECT parameters FROM simulations")
    assert parameters == [('{"n": 2, "f": "run"}',)]


def test_what_a_model_was_made_with_is_known_without_being_given(tmp_path):
    record(run(Walkers(n=4, width=7, seed=5), 3), tmp_path / "run.db")
    found = compare_simulations(tmp_path / "run.db").iloc[0]
    assert (found["parameters.n"], found["parameters.width"], found["seed"]) == (4, 7, 5)
    assert found["final_model_vars.Half"] == 1.5
    assert found["final_agent_vars.agents"] == 4
    assert found["steps"] == 4


def test_memory_stays_flat_while_a_model_runs(tmp_path):
    model = Walkers(seed=1)
    most = 0
    with Recorder(model, tmp_path / "run.db", every=10, keep=2):
        for _ in range(100):
            model.step()
            collector = model.datacollector
            held = (
                *collector.model_vars.values(),
                collector._agent_records,
                collector.tables["Births"]["at"],
            )
            most = max(most, *map(len, held))
    assert most <= 13
    assert len(frame(tmp_path / "run.db", "agent_vars")) == 303
    assert list(frame(tmp_path / "run.db", "Births")["at"])[3:] == list(range(1, 101))
    model.step()  # the DataCollector collects as before
    assert model.datacollector.model_vars["Half"][-1] == 50.5
    assert len(frame(tmp_path / "run.db", "model_vars")) == 101


def test_a_step_that_is_collected_again_replaces_its_agents_as_in_mesa(tmp_path):
    model = Walkers(n=1, seed=1)
    with Recorder(model, tmp_path / "run.db", every=1):
        for _ in range(3):
            model.step()
            for agent in model.agents:
                agent.x = 100 + model.steps
            model.datacollector.collect(model)
    assert list(frame(tmp_path / "run.db", "agent_vars")["X"]) == [0, 101, 102, 103]
    assert len(frame(tmp_path / "run.db", "model_vars")) == 7


def test_a_run_that_raises_has_failed_and_is_there_as_far_as_it_got(tmp_path):
    model = Walkers(fault="raise", seed=1)
    with (
        pytest.raises(RuntimeError, match="walked away"),
        Recorder(model, tmp_path / "run.db", every=1),
    ):
        run(model, 5)
    assert query(tmp_path / "run.db", "SELECT status FROM simulations") == [("failed",)]
    assert list(frame(tmp_path / "run.db", "model_vars")["step"]) == [0, 1]


def test_a_reporter_that_is_called_like_the_index_keeps_its_name(tmp_path):
    model = mesa.Model()
    model.datacollector = mesa.DataCollector(model_reporters={"step": lambda m: m.steps * 10})
    model.datacollector.collect(model)
    model.step()
    model.datacollector.collect(model)
    record(model, tmp_path / "run.db")
    stored = frame(tmp_path / "run.db", "model_vars")
    assert list(stored["step"]) == [0, 10]
    assert list(stored["step_"]) == [0, 1]


def test_what_cannot_be_recorded_is_an_error(tmp_path):
    with pytest.raises(FarmMergeError, match="Model has no DataCollector"):
        record(mesa.Model(), tmp_path / "run.db")
    with pytest.raises(InvalidOptionError, match="every is 0"):
        Recorder(Walkers(), tmp_path / "run.db", every=0)
    assert not (tmp_path / "run.db").exists()
