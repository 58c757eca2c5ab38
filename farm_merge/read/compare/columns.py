"""Columns: which of a comparison are parameters, which are results, and which make a set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm_merge.errors import FarmMergeError
from farm_merge.nearest import with_nearest
from farm_merge.read.where import plain_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "METADATA",
    "is_technical",
    "parameter_column",
    "parameter_columns",
    "result_columns",
    "varied_parameters",
    "varied_results",
    "without_prefix",
]

METADATA = ("experiment_id", "status", "seed", "git_commit")

_PREFIX = "parameters."

_REPETITION = frozenset({"seed", "repetition"})
"""Parameters that number repetitions, and make no set of their own."""

_TECHNICAL = frozenset({
    "cachedir", "cachesizemb", "database", "databasepath", "databaseurl", "db", "dbfile", "dbpath",
    "dburl", "debug", "device", "hostname", "jobs", "log", "logdir", "logfile", "logger",
    "logging", "loglevel", "logpath", "nprocesses", "numberprocesses", "numworkers", "nworkers",
    "outdir", "outputdir", "outputfile", "outputfolder", "outputpath", "persistdboncompletion",
    "pragmaprofile", "profiling", "progressbar", "resultsdir", "savepath", "scratchdir",
    "showplots", "sqlite", "tmpdir", "useinmemorydb", "verbose", "verbosity", "workers",
})  # fmt: skip
"""What parameters are called that say how a run was stored or printed, or where: without `_`."""

_TECHNICAL_PREFIXES = ("database_", "db_", "in_memory_db", "logging_", "logger_", "sqlite_")

_LONGEST_VALUE = 60
"""Characters of a parameter that can name a set."""


def parameter_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns of `compare_simulations` that hold parameters."""
    return [name for name in map(str, frame) if name.startswith(_PREFIX)]


def result_columns(frame: pd.DataFrame) -> list[str]:
    """Return the columns of `compare_simulations` that hold results."""
    others = (name for name in map(str, frame) if not name.startswith(_PREFIX))
    return [name for name in others if name not in METADATA]


def varied_results(frame: pd.DataFrame) -> list[str]:
    """Return the results in which simulations differ; all of them where there is one simulation."""
    results = result_columns(frame)
    return [name for name in results if len(frame) == 1 or frame[name].nunique(dropna=False) > 1]


def is_technical(parameter: str) -> bool:
    """Return whether a parameter says how a run was stored or printed, and not what it simulated.

    Args:
        parameter: Its name, `a.b` for one in another: `database.cache_size_mb`, `log_level`.
    """
    parts = parameter.removeprefix(_PREFIX).lower().split(".")
    return any(
        plain_name(part) in _TECHNICAL or part.startswith(_TECHNICAL_PREFIXES) for part in parts
    )


def varied_parameters(frame: pd.DataFrame) -> list[str]:
    """Return the parameters in which simulations differ, and that all of them have.

    Those that number repetitions are not among them, nor those that are technical, which cause no
    outcome, nor whole structures: where configurations of different years meet, nearly everything
    differs, and nothing would be grouped.
    """
    return [
        name
        for name in parameter_columns(frame)
        if frame[name].nunique() > 1
        and frame[name].notna().all()
        and name.rpartition(".")[2] not in _REPETITION
        and not is_technical(name)
        and frame[name].map(lambda value: len(str(value))).max() <= _LONGEST_VALUE
    ]


def parameter_column(frame: pd.DataFrame, name: str) -> str:
    """Return the column of a parameter, which may be called with or without `parameters.`.

    Raises:
        FarmMergeError: If there is no such parameter.
    """
    full = name if name.startswith(_PREFIX) else f"{_PREFIX}{name}"
    if full not in frame:
        known = (column.removeprefix(_PREFIX) for column in parameter_columns(frame))
        raise FarmMergeError(with_nearest(f"no simulation has a parameter {name}", name, known))
    return full


def without_prefix(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose parameters are called by their names, as far as these are free."""
    taken = {frame.index.name, *frame}
    short = {name: name.removeprefix(_PREFIX) for name in parameter_columns(frame)}
    return frame.rename(columns={name: to for name, to in short.items() if to not in taken})
