"""The errors that farm-merge raises, all children of one base."""

__all__ = [
    "ConflictError",
    "FarmMergeError",
    "InvalidRecordError",
    "OutputError",
    "ShardError",
    "SimulationExistsError",
    "StillWrittenError",
]


class FarmMergeError(Exception):
    """Something a user can put right; the message says what, where and how."""


class ShardError(FarmMergeError):
    """An input file cannot be read as it stands."""


class StillWrittenError(ShardError):
    """An input is being written by its run at this moment."""


class OutputError(FarmMergeError):
    """The output cannot be written, or is not an experiment database of today's schema."""


class ConflictError(FarmMergeError):
    """Inputs contradict the output or each other, and nobody chose what should win."""


class SimulationExistsError(FarmMergeError):
    """A simulation_id is taken already."""


class InvalidRecordError(FarmMergeError, ValueError):
    """A value handed to the logger does not fit the row it is meant for."""
