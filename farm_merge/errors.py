"""The errors that farm-merge raises, all children of one base.

An error carries its parts, so that nobody has to take a message apart. Advice names options in
backquotes, as `on_bad_shard=skip`, and is worded for its reader when it is shown: a program reads
`on_bad_shard='skip'`, a terminal `--on-bad-shard skip`.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from os import PathLike

__all__ = [
    "ConflictError",
    "DamagedGraftError",
    "FarmMergeError",
    "InvalidOptionError",
    "InvalidRecordError",
    "OutputError",
    "RefusedRowsError",
    "ShardError",
    "SimulationExistsError",
    "StillWrittenError",
    "for_command_line",
    "for_python",
    "require_choice",
    "yielding_to",
]

_OPTION = re.compile(r"`(\w+)(=?)([^`]*)`")
"""`include_running` is a flag, `on_bad_shard=skip` has a value, `jobs=` has one of the reader's."""

_FLAGS = {"schema": "as", "sidecars": "sidecar"}
"""Options that are called otherwise on the command line."""


def for_python(advice: str) -> str:
    """Return advice with its options as keyword arguments."""

    def keyword(found: re.Match[str]) -> str:
        name, equals, value = found.groups()
        if not equals:
            return f"{name}=True"
        return f"{name}={value!r}" if value else name

    return _OPTION.sub(keyword, advice)


def for_command_line(advice: str) -> str:
    """Return advice with its options as they are typed."""

    def flag(found: re.Match[str]) -> str:
        name, _, value = found.groups()
        option = _FLAGS.get(name, name.replace("_", "-"))
        return f"--{option} {value}".rstrip()

    return _OPTION.sub(flag, advice)


def require_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    """Refuse a value that an option does not know.

    Raises:
        InvalidOptionError: If it is not among the choices.
    """
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise InvalidOptionError(f"{name} is {value!r}; it takes one of {known}")


class FarmMergeError(Exception):
    """Something a user can put right; the message is about what, where and how.

    Attributes:
        reason: What is wrong.
        path: The file it is about.
        table: The table of that file.
        remedy: What to do about it; options are in backquotes.
        causes: What it is made of, where several things are wrong at once.
    """

    def __init__(
        self,
        reason: str,
        *,
        path: str | PathLike[str] | None = None,
        table: str | None = None,
        remedy: str = "",
        causes: Iterable[FarmMergeError] = (),
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.table = table
        self.remedy = remedy
        self.causes = tuple(causes)

    def __str__(self) -> str:
        return self.message()

    def message(self, worded: Callable[[str], str] = for_python) -> str:
        """Return the whole message, with advice as its reader writes it."""
        where = "" if self.path is None else f"{self.path}: "
        table = "" if self.table is None else f"table {self.table}: "
        lines = [f"{where}{table}{self.reason}"]
        lines += [f"  {cause.message(worded)}" for cause in self.causes]
        if self.remedy:
            advice = worded(self.remedy)
            lines = [*lines, advice] if self.causes else [f"{lines[0]}; {advice}"]
        return "\n".join(lines)


class ShardError(FarmMergeError):
    """An input file cannot be read as it is."""


class StillWrittenError(ShardError):
    """An input is being written by its run at this moment."""


class OutputError(FarmMergeError):
    """The output cannot be written, or is not an experiment database of today's schema."""


class DamagedGraftError(FarmMergeError):
    """What was built from pages is not sound; the same merge row by row finds who is to blame."""


class ConflictError(FarmMergeError):
    """Inputs contradict the output or each other, and nobody chose what should win."""


class RefusedRowsError(FarmMergeError):
    """A run has ended of which rows were refused, and are not stored."""


class SimulationExistsError(FarmMergeError):
    """A simulation_id is taken already."""


class InvalidOptionError(FarmMergeError, ValueError):
    """An option has a value that it does not know."""


class InvalidRecordError(FarmMergeError, ValueError):
    """A value handed to the logger does not fit the row it is meant for."""


@contextmanager
def yielding_to(error: BaseException | None) -> Iterator[None]:
    """Let an error that ended a run be seen, and not that rows of it were refused before."""
    try:
        yield
    except RefusedRowsError:
        if error is None:
            raise
