"""farm-merge: the shards of parallel simulations become one experiment database.

Public names are resolved on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module

__version__ = "0.1.0"

_HOME = {
    "ExperimentDatabase": "experiment_database",
    "FarmMergeError": "errors",
    "InMemorySimulationDatabase": "database",
    "MergeReport": "merge",
    "SimulationConfig": "config",
    "SimulationContext": "experiment_database",
    "SimulationDatabase": "database",
    "archive_database": "archive",
    "audit": "merge",
    "compare_simulations": "read.compare",
    "compare_two": "read.compare",
    "datasette_metadata": "read.datasette",
    "describe_database": "read.listing",
    "describe_simulations": "describe",
    "digest_simulations": "digest",
    "export_tables": "read.export",
    "frame": "read.open",
    "group_repetitions": "read.compare",
    "inspect_shard": "merge",
    "list_simulations": "read.listing",
    "load_sweep": "sweep",
    "merge_shards": "merge",
    "plan_merge": "merge",
    "plan_sweep": "sweep",
    "publish_database": "crate",
    "query": "read.open",
    "remove_simulations": "housekeeping",
    "rerun_simulation": "sweep",
    "restore_database": "archive",
    "run_simulation": "simulation",
    "run_sweep": "sweep",
    "sensitivity": "sweep",
    "serve_database": "read.datasette",
    "split_database": "housekeeping",
    "vacuum_database": "housekeeping",
    "watch_shards": "sweep",
    "write_report": "report",
}

__all__ = ["__version__", *_HOME]  # noqa: PLE0604  (its names are the table above)


def __getattr__(name: str) -> object:
    """Import a public name where it is first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
