"""The logger, with what AgentFarm's environment asks of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from farm_merge import data_logging

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["DataLogger", "DataLoggingConfig"]


@dataclass
class DataLoggingConfig:
    """How rows are buffered.

    Attributes:
        buffer_size: Rows that are held before they are written.
        commit_interval: After how many seconds they are written in any case.
    """

    buffer_size: int = 1000
    commit_interval: float = 30


class DataLogger(data_logging.DataLogger):
    """Takes the rows of one simulation and writes them in bulk."""

    metric_defaults: ClassVar[Mapping[str, float]] = {"resources_consumed": 0.0}
    added_types: ClassVar[Mapping[str, str]] = {  # metrics of older versions, as they declared them
        "system_agents": "INTEGER",
        "independent_agents": "INTEGER",
        "control_agents": "INTEGER",
        "combat_encounters": "INTEGER",
        "combat_encounters_this_step": "INTEGER",
        "successful_attacks": "INTEGER",
        "successful_attacks_this_step": "INTEGER",
        "resources_shared": "FLOAT",
        "resources_shared_this_step": "FLOAT",
    }

    def _distinct(self, states: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        return list({state[0]: state for state in states}.values())  # the last one counts

    @property
    def needs_flush(self) -> bool:
        """Whether rows are held."""
        return self._buffers.held > 0

    def flush_action_buffer(self) -> None:
        """Write everything that is held."""
        self.flush_all_buffers()

    def flush_health_buffer(self) -> None:
        """Write everything that is held."""
        self.flush_all_buffers()

    def discard_pending_agents(self, agent_ids: Iterable[str]) -> int:
        """Drop what is held of agents that failed to be made, and return the number of rows."""
        gone, held = set(agent_ids), self._buffers.held
        self._agents -= self._buffers.discard("agents", gone)
        for table in ("agent_actions", "health_incidents"):
            self._buffers.discard(table, gone)
        return held - self._buffers.held
