"""The logger: what a simulation records of itself, buffered and written in bulk."""

from __future__ import annotations

from farm_merge.data_logging.logger import DataLogger

__all__ = ["DataLogger"]
