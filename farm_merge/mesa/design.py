"""Design: the runs of a batch, with the names by which they are known again."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm_merge.errors import InvalidOptionError
from farm_merge.extras import missing_extra
from farm_merge.mesa.collected import described
from farm_merge.sweep.names import abbreviations, run_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["BatchRun", "design_runs"]


@dataclass(frozen=True, slots=True)
class BatchRun:
    """One run of a batch.

    Attributes:
        number: Counted from 0, as Mesa does.
        iteration: Counted from 0.
        simulation_id: Made of the parameters that vary, and the iteration.
        arguments: What the model is made with.
        max_steps: After how many steps it ends.
        period: Of which collections the agents are written.
    """

    number: int
    iteration: int
    simulation_id: str
    arguments: dict[str, Any]
    max_steps: int
    period: int

    @property
    def record(self) -> dict[str, Any]:
        """What is stored as its parameters; a seed that is not set is none."""
        return {
            name: described(value)
            for name, value in self.arguments.items()
            if name not in {"seed", "rng"} or value is not None
        }

    @property
    def limits(self) -> dict[str, int]:
        """What else decides about its rows."""
        return {"max_steps": self.max_steps, "data_collection_period": self.period}


def design_runs(
    model_cls: type[Any],
    parameters: Mapping[str, Any | Iterable[Any]],
    iterations: int | None,
    rng: Any,
    max_steps: int,
    period: int,
) -> list[BatchRun]:
    """Return the runs of a batch, in the order of Mesa.

    Raises:
        InvalidOptionError: If options contradict each other.
        FarmMergeError: If Mesa is not installed.
    """
    if period < 1 and period != -1:
        raise InvalidOptionError(f"data_collection_period is {period}; it takes -1, or 1 and more")
    combinations = _combinations(parameters)
    made = [
        (iteration, {**seeded, **arguments})
        for iteration, seeded in enumerate(_seeds(model_cls, iterations, rng))
        for arguments in combinations
    ]
    names = _names(combinations, made)
    return [
        BatchRun(number, iteration, name, arguments, max_steps, period)
        for number, ((iteration, arguments), name) in enumerate(zip(made, names, strict=True))
    ]


def _combinations(parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    try:
        from mesa.batchrunner import _make_model_kwargs  # what Mesa takes for several values
    except ImportError as exc:
        raise missing_extra("a batch needs the package mesa", "mesa") from exc
    try:
        combinations: list[dict[str, Any]] = _make_model_kwargs(parameters)
    except ValueError as exc:
        raise InvalidOptionError(str(exc)) from exc
    return combinations


def _seeds(model_cls: type[Any], iterations: int | None, rng: Any) -> list[dict[str, Any]]:
    """Return what each iteration adds to the arguments, as this version of Mesa does it."""
    import mesa

    if iterations is not None and rng is not None:
        raise InvalidOptionError("iterations and rng are both given; leave one")
    known = inspect.signature(model_cls).parameters
    name = "seed" if "seed" in known else "rng"
    if rng is None:
        takes_it = name in known or any(it.kind is it.VAR_KEYWORD for it in known.values())
        sets_none = takes_it and "rng" in inspect.signature(mesa.batch_run).parameters
        return [{name: None} if sets_none else {} for _ in range(iterations or 1)]
    seeds = rng if isinstance(rng, Iterable) else [rng]
    return [{name: seed} for seed in seeds]


def _names(
    combinations: Sequence[dict[str, Any]], runs: Sequence[tuple[int, dict[str, Any]]]
) -> list[str]:
    """Return a name of every run, of the parameters that vary; equal ones are numbered."""
    labels = [{name: _label(value) for name, value in it.items()} for it in combinations]
    first = labels[0] if labels else {}
    varied = [name for name in first if len({label[name] for label in labels}) > 1]
    short = abbreviations(varied)
    points = [{name: label[name] for name in varied} for label in labels]
    names = [
        run_id(short, points[number % len(points)], iteration + 1)
        for number, (iteration, _) in enumerate(runs)
    ]
    seen: Counter[str] = Counter()
    for place, name in enumerate(names):
        seen[name] += 1
        if seen[name] > 1:
            names[place] = f"{name}-{seen[name]}"
    return names


def _label(value: Any) -> str:
    plain = described(value)
    return plain if isinstance(plain, str) else json.dumps(plain)
