"""Databases that a simulation writes: a shard on disk, or one in memory that is persisted later."""

from __future__ import annotations

from farm_merge.database.memory import InMemorySimulationDatabase
from farm_merge.database.shard import SimulationDatabase
from farm_merge.database.writer import SimulationWriter

__all__ = ["InMemorySimulationDatabase", "SimulationDatabase", "SimulationWriter"]
