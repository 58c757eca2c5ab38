"""AgentFarm's own simulation on the databases of this package, with changed imports only.

    from farm_merge.agentfarm import InMemorySimulationDatabase, SimulationDatabase, setup_db

The classes are those of this package, with AgentFarm's calls, arguments and results on top;
`docs/agentfarm.md` lists what differs.
"""

from __future__ import annotations

from farm_merge.agentfarm.databases import (
    ExperimentDatabase,
    InMemorySimulationDatabase,
    SimulationContext,
    SimulationDatabase,
)
from farm_merge.agentfarm.logger import DataLogger, DataLoggingConfig
from farm_merge.agentfarm.sessions import SessionManager
from farm_merge.agentfarm.setup import setup_db

__all__ = [
    "DataLogger",
    "DataLoggingConfig",
    "ExperimentDatabase",
    "InMemorySimulationDatabase",
    "SessionManager",
    "SimulationContext",
    "SimulationDatabase",
    "setup_db",
]
