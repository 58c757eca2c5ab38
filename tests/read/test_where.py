"""Conditions choose simulations."""

from __future__ import annotations

import pytest

from farm_merge import SimulationDatabase
from farm_merge.errors import FarmMergeError
from farm_merge.read.listing import explain_selection
from farm_merge.read.open import frame, reading
from farm_merge.read.shapes import read_shapes
from farm_merge.read.where import chosen_simulations, selection, step_column
from tests.conftest import query


def chosen(database, *conditions):
    with reading(database) as connection:
        return chosen_simulations(connection, conditions)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], "a1 a2 b1 b2"),
        (["learning_rate>=0.5"], "b1 b2"),
        (["learning_rate < 0.5", "repetition=2"], "a2"),
        (["status!=completed"], "b2"),
        (["world.size=10"], "a1 a2 b1 b2"),
        (["simulation_id~b"], "b1 b2"),
        (["learning_rate>1"], ""),
    ],
)
def test_conditions_choose_simulations(four_runs, conditions, expected):
    assert chosen(four_runs, *conditions) == expected.split()


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("learning_rate", "not a condition; write it as"),
        ("rate>1", "no simulation has a parameter rate"),
    ],
)
def test_a_wrong_condition_is_an_error(four_runs, condition, message):
    with pytest.raises(FarmMergeError, match=message):
        chosen(four_runs, condition)


def test_parameters_that_are_no_json_meet_no_condition(four_runs):
    query(four_runs, "UPDATE simulations SET parameters = '{' WHERE simulation_id = 'a1'")
    assert chosen(four_runs, "learning_rate>0") == ["a2", "b1", "b2"]


def test_a_dot_may_be_part_of_a_name(four_runs):
    query(
        four_runs, """UPDATE simulations SET parameters = '{"a.b": 1}' WHERE simulation_id = 'a1'"""
    )
    assert chosen(four_runs, "a.b=1") == ["a1"]


def test_a_selection_binds_its_values(four_runs):
    with reading(four_runs) as connection:
        where, values = selection(connection, "simulation_steps", ["a"], range(10, 20, 5))
        assert values == {"simulations": '["a"]', "first": 10, "end": 20, "stride": 5}
        assert where.startswith(" WHERE ")
        assert selection(connection, "experiments", ["a"], range(3)) == ("", {})


@pytest.mark.parametrize(
    ("column", "values", "is_step"),
    [
        ("Step", (0, 1), True),
        ("[step]", (0, 1), True),  # as NetLogo calls it
        ("t", (0.5, 1), True),
        ("time", ("2026-01-01", "2026-01-02"), False),
        ("steps", (100, 100), False),
    ],
)
def test_a_column_of_steps_is_known_by_its_name_and_its_values(tmp_path, column, values, is_step):
    with SimulationDatabase(tmp_path / "run.db") as db:
        db.logger.log_many("model", [{column: value, "x": 1} for value in values])
    with reading(tmp_path / "run.db") as connection:
        assert step_column(connection, "model") == (column if is_step else None)
        (shape,) = read_shapes(connection, ["run"])
    assert shape.step == (column if is_step else None)
    if is_step:
        assert len(frame(tmp_path / "run.db", "model", steps=range(1))) == 1


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        (["status=complete"], "no simulation has status=complete; the nearest is completed"),
        (["learning_rate>=0.1", "learning_rate>2"], "no simulation has learning_rate>2"),
        (["simulation_id=a1", "simulation_id=b1"], "has all of simulation_id=a1, simulation_id=b1"),
    ],
)
def test_why_nothing_is_chosen_is_explained(four_runs, conditions, words):
    assert chosen(four_runs, *conditions) == []
    assert words in explain_selection(four_runs, conditions)


def test_simulations_are_named_and_meet_conditions(four_runs):
    with reading(four_runs) as connection:
        named = ["b1", "a2", "a2"]
        assert chosen_simulations(connection, (), named) == ["a2", "b1"]
        assert chosen_simulations(connection, ["learning_rate<0.5"], named) == ["a2"]
        with pytest.raises(FarmMergeError, match=r"x\.db: has no simulation b9; there are a1"):
            chosen_simulations(connection, (), ["a1", "b9"], path="x.db")
