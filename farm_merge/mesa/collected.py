"""Collected: what a DataCollector holds, as the tables that it becomes."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

from farm_merge.data_logging.records import as_json, as_value
from farm_merge.errors import FarmMergeError, InvalidRecordError
from farm_merge.schema import OUR_TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from farm_merge.data_logging import DataLogger

__all__ = [
    "AGENT_VARS",
    "MODEL_VARS",
    "collector_of",
    "described",
    "forget_model",
    "log_agents",
    "log_model",
    "log_tables",
    "parameters_of",
    "plain_step",
    "seed_of",
    "steps_of",
]

MODEL_VARS, AGENT_VARS = "model_vars", "agent_vars"

_PLAIN = frozenset({bool, int, float, str, bytes, type(None)})
_LARGEST = 2**63 - 1
_ROWS_AT_ONCE = 5_000


def collector_of(model: Any) -> Any:
    """Return the DataCollector of a model.

    Raises:
        FarmMergeError: If it has none.
    """
    collector = getattr(model, "datacollector", None)
    if not hasattr(collector, "model_vars"):
        raise FarmMergeError(
            f"{type(model).__name__} has no DataCollector, so nothing can be recorded",
            remedy="set self.datacollector = mesa.DataCollector(…) in the model",
        )
    return collector


def forget_model(model: Any) -> None:
    """Let Mesa forget a model that is of no more use: until 3.3, it keeps all of them.

    Models are the keys of the numbers that agents get, and cells those of their neighbourhoods.
    """
    import mesa
    from mesa.discrete_space import Cell

    getattr(mesa.Agent, "_ids", {}).pop(model, None)
    for method in vars(Cell).values():
        if clear := getattr(method, "cache_clear", None):
            clear()


def parameters_of(model: Any) -> dict[str, Any]:
    """Return what a model was made with, as far as it shows.

    That is its scenario, and the arguments of its `__init__` that are its attributes, too.
    """
    scenario = getattr(model, "scenario", None)
    if scenario is not None and len(of_scenario := _scenario(scenario)):
        return of_scenario
    names = [name for name in inspect.signature(type(model)).parameters if name not in _SEEDS]
    found = {name: getattr(model, name) for name in names if hasattr(model, name)}
    return {name: value for name, value in found.items() if type(value) in _PLAIN}


def _scenario(scenario: Any) -> dict[str, Any]:
    """Return the parameters of a scenario of Mesa 3.5."""
    return {name: value for name, value in vars(scenario).items() if name not in {"model", "rng"}}


_SEEDS = frozenset({"self", "seed", "rng", "scenario", "args", "kwargs"})


def seed_of(model: Any) -> int | None:
    """Return what a model's randomness starts from, where it is one number."""
    seed: Any = getattr(model, "_seed", None)
    try:
        number = seed.__index__()  # NumPy's are among them
    except AttributeError:
        return None
    return int(number) if abs(number) <= _LARGEST else None


def described(value: Any) -> Any:
    """Return a parameter as JSON can hold it: a function or a class by its name."""
    if hasattr(value, "_scenario_id"):
        return {name: described(it) for name, it in _scenario(value).items()}
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    try:
        return json.loads(as_json([value]) or "")[0]
    except (InvalidRecordError, ValueError):
        return str(value)


def plain_step(step: Any) -> int | float:
    """Return a step as a whole number, where it is one: Mesa's time is a float."""
    return int(step) if step == int(step) else float(step)


def steps_of(model: Any) -> list[int | float]:
    """Return the step of each collection of a model's reporters.

    Older versions of Mesa do not know them. A model that collects as it is made, or in every step,
    shows by their number which they are.
    """
    collector = collector_of(model)
    known = getattr(collector, "_collection_steps", None)
    if known is not None:
        return [plain_step(step) for step in known]
    number = max((len(values) for values in collector.model_vars.values()), default=0)
    agents = list(collector._agent_records)  # noqa: SLF001  (Mesa has no other access to them)
    if len(agents) == number:
        return [plain_step(step) for step in agents]
    first = 1 if number == model.steps else 0
    return list(range(first, first + number))


def _index_names(reporters: Iterable[str], *names: str) -> tuple[str, ...]:
    """Return names for the columns of an index that no reporter has."""
    taken = {str(reporter).lower() for reporter in reporters}
    free = []
    for name in names:
        while name in taken:
            name += "_"  # noqa: PLW2901
        free.append(name)
    return tuple(free)


def _type_table(agent_type: type) -> str:
    """Return the table of the reporters of a type of agents."""
    return f"{AGENT_VARS}_{agent_type.__name__}"


def log_model(logger: DataLogger, collector: Any, steps: Sequence[int | float], first: int) -> None:
    """Log model reporters, a row a collection.

    Args:
        logger: Where.
        collector: The DataCollector.
        steps: The step of each collection that it holds.
        first: Which of them is the first that is not logged.
    """
    reporters = [str(name) for name in collector.model_vars]
    (step,) = _index_names(reporters, "step")
    columns = [steps[first:], *(values[first:] for values in collector.model_vars.values())]
    _log(logger, MODEL_VARS, (step, *reporters), columns)


def log_agents(logger: DataLogger, collector: Any, wanted: Callable[[int | float], bool]) -> None:
    """Log agent reporters, a row an agent and step.

    Args:
        logger: Where.
        collector: The DataCollector.
        wanted: Whether a step is logged.
    """
    records = collector._agent_records  # noqa: SLF001
    reporters = [str(name) for name in collector.agent_reporters]
    _log_records(logger, AGENT_VARS, reporters, records.items(), wanted)
    by_type = collector._agenttype_records  # noqa: SLF001
    for agent_type, functions in collector.agenttype_reporters.items():
        of_type = ((step, found.get(agent_type, ())) for step, found in by_type.items())
        _log_records(logger, _type_table(agent_type), [*functions], of_type, wanted)


def _log_records(
    logger: DataLogger,
    table: str,
    reporters: list[str],
    records: Iterable[tuple[Any, Sequence[tuple[Any, ...]]]],
    wanted: Callable[[int | float], bool],
) -> None:
    index = _index_names(reporters, "step", "agent_id")
    names = (*index, *reporters)
    waiting: list[tuple[Any, ...]] = []
    for step, rows in records:
        number = plain_step(step)
        if wanted(number):
            waiting += [(number, *row[1:]) for row in rows]
        if len(waiting) >= _ROWS_AT_ONCE:
            _log(logger, table, names, [*zip(*waiting, strict=True)], key=index)
            waiting.clear()
    _log(logger, table, names, [*zip(*waiting, strict=True)], key=index)


def log_tables(logger: DataLogger, collector: Any, first: Callable[[str], int]) -> None:
    """Log tables.

    Args:
        logger: Where.
        collector: The DataCollector.
        first: Which row of a table is the first that is not logged.
    """
    taken = {MODEL_VARS, AGENT_VARS}
    for name, columns in collector.tables.items():
        start = first(name)
        table = _free_table(str(name), taken)
        _log(logger, table, [str(it) for it in columns], [it[start:] for it in columns.values()])


def _free_table(name: str, taken: Collection[str]) -> str:
    lower = name.lower()
    return f"{name}_table" if lower in OUR_TABLES or lower in taken else name


def _log(
    logger: DataLogger,
    table: str,
    names: Sequence[str],
    columns: Sequence[Sequence[Any]],
    key: Sequence[str] = (),
) -> None:
    if columns:
        logger.log_columns(table, dict(zip(names, _storable(columns), strict=True)), key=key)


def _storable(columns: Iterable[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """Yield columns in which everything can be stored; what SQLite does not know becomes text."""
    for column in columns:
        types = set(map(type, column))
        if types <= _PLAIN and (int not in types or _fit(column)):
            yield column
        else:
            yield [_storable_value(value) for value in column]


def _fit(column: Iterable[Any]) -> bool:
    """Return whether SQLite stores all integers of a column as such."""
    numbers = [value for value in column if type(value) is int]
    return max(numbers) <= _LARGEST and min(numbers) >= -_LARGEST


def _storable_value(value: Any) -> Any:
    try:
        plain = as_value(value)
    except InvalidRecordError:
        return str(value)
    is_long = isinstance(plain, int) and not -_LARGEST <= plain <= _LARGEST
    return str(plain) if is_long else plain
