"""What a configuration of AgentFarm's means here: an object or a dictionary, of any version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from farm_merge.config import DatabaseConfig, SimulationConfig
from farm_merge.errors import InvalidOptionError

__all__ = ["database_settings", "setting", "stored_parameters"]


def database_settings(config: Any) -> DatabaseConfig:
    """Return how a database is written.

    Args:
        config: AgentFarm's configuration, or this package's; None for the defaults.

    Raises:
        InvalidOptionError: If a setting has a value that is unknown.
    """
    if isinstance(config, SimulationConfig):
        return config.database
    profile, timeout = setting(config, "db_pragma_profile"), setting(config, "connection_timeout")
    synchronous = setting(config, "db_synchronous_mode")
    journal_mode = setting(config, "db_journal_mode")
    chosen = {
        "pragma_profile": profile,
        # What AgentFarm has where nothing was chosen; the profile decides then.
        "synchronous": None if synchronous == "NORMAL" else synchronous,
        "journal_mode": None if journal_mode == "WAL" else journal_mode,
        "cache_size_mb": None if profile == "memory" else setting(config, "db_cache_size_mb"),
        "custom_pragmas": setting(config, "db_custom_pragmas"),
        "busy_timeout_ms": None if timeout is None else int(timeout * 1000),
        "buffer_size": setting(config, "log_buffer_size"),
        "commit_interval_seconds": setting(config, "commit_interval_seconds"),
    }
    try:
        return DatabaseConfig(
            **{name: value for name, value in chosen.items() if value is not None}
        )
    except ValidationError as exc:
        raise InvalidOptionError(f"the configuration's database settings: {exc}") from exc


def setting(config: Any, name: str) -> Any:
    """Return a database setting, or None: of `database`, or in older versions of the whole."""
    value = _member(_member(config, "database"), name)
    return _member(config, name) if value is None else value


def _member(source: Any, name: str) -> Any:
    return source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)


def stored_parameters(config: Any) -> dict[str, Any] | None:
    """Return a configuration as it is stored with a simulation."""
    if config is None or isinstance(config, Mapping):
        return None if config is None else dict(config)
    if isinstance(config, SimulationConfig):
        return config.model_dump(exclude={"database"})
    return dict(config.to_dict() if hasattr(config, "to_dict") else vars(config))
