"""Template: names and parameters of runs, made of the paths of their files."""

from __future__ import annotations

import json
import re
import string
from typing import TYPE_CHECKING, Any

from farm_merge.errors import InvalidOptionError, ShardError
from farm_merge.merge.inputs.formats import without_known_ending
from farm_merge.merge.inputs.mapping import UNATTRIBUTED
from farm_merge.merge.ledger import path_text
from farm_merge.sqlite import storable

if TYPE_CHECKING:
    from pathlib import Path

    from farm_merge.merge.inputs.input import Input, SimulationInFile

__all__ = ["PathPattern", "Template"]

_FIELDS = ("name", "stem", "parent", "grandparent", "id")


class PathPattern:
    """A regular expression that finds parts of a path.

    Args:
        text: The expression, with groups; those with names are parameters of the run.

    Raises:
        InvalidOptionError: If it is none, or has no groups.
    """

    def __init__(self, text: str) -> None:
        try:
            self._pattern = re.compile(text)
        except re.error as exc:
            raise InvalidOptionError(f"parameters_from_name {text!r}: {exc}") from exc
        if not self._pattern.groups:
            raise InvalidOptionError(
                f"parameters_from_name {text!r}: has no groups; write lr(?P<lr>[0-9.]+)"
            )

    @property
    def fields(self) -> list[str]:
        """The names and numbers of its groups."""
        numbers = map(str, range(1, self._pattern.groups + 1))
        return [*self._pattern.groupindex, *numbers]

    def groups(self, path: Path) -> dict[str, str]:
        """Return what the groups find in a path, by name and by number.

        Raises:
            ShardError: If the path does not match.
        """
        found = self._pattern.search(path_text(path))
        if found is None:
            raise ShardError(
                f"its path does not match {self._pattern.pattern!r}",
                path=path,
                remedy="change `parameters_from_name=`, or leave the file out with"
                " `on_bad_shard=skip`",
            )
        numbered = {str(n): text or "" for n, text in enumerate(found.groups(), start=1)}
        return {**{name: text or "" for name, text in found.groupdict().items()}, **numbered}

    def parameters(self, path: Path) -> dict[str, Any]:
        """Return what the named groups find in a path: numbers as numbers, all else as text.

        Raises:
            ShardError: If the path does not match.
        """
        groups = self.groups(path)
        return {name: _value(groups[name]) for name in self._pattern.groupindex}


class Template:
    """What to call runs, such as `{parent}_{stem}`.

    Args:
        text: The template, with `{name}` (of the file), `{stem}` (without a known ending),
            `{parent}` and `{grandparent}` (folders), `{id}` (what the file calls the run), and the
            groups of a pattern.
        pattern: Where the groups come from.
        joins: Whether files of one name are one simulation.

    Raises:
        InvalidOptionError: If it knows other fields.
    """

    def __init__(self, text: str, pattern: PathPattern | None, *, joins: bool) -> None:
        self.text = text
        self.joins = joins
        self._pattern = pattern
        fields = [*_FIELDS, *(pattern.fields if pattern else ())]
        try:
            used = [field for _, field, *_ in string.Formatter().parse(text) if field is not None]
        except ValueError as exc:
            raise InvalidOptionError(f"simulation_id {text!r}: {exc}") from exc
        if unknown := [field for field in used if field not in fields]:
            known = ", ".join(f"{{{field}}}" for field in fields)
            raise InvalidOptionError(
                f"simulation_id {text!r}: knows no {{{unknown[0]}}}; may hold {known}"
            )
        self._has_id = "id" in used

    def name(self, source: Input, simulation: SimulationInFile) -> str:
        """Return what a run is called.

        Raises:
            ShardError: If the pattern does not find its groups.
        """
        unattributed = UNATTRIBUTED if simulation.is_unattributed else None
        return self.name_of(source.path, simulation.own_id, unattributed)

    def name_of(self, path: Path, own_id: str | None, unattributed: str | None = None) -> str:
        """Return what a run is called.

        Args:
            path: Its file.
            own_id: What the file calls it.
            unattributed: What rows of nobody are called; None if it is a run.

        Raises:
            ShardError: If the pattern does not find its groups.
        """
        whole = path.absolute()
        stem = without_known_ending(path.name)
        values = {
            **(self._pattern.groups(path) if self._pattern else {}),
            "name": path.name,
            "stem": stem,
            "parent": whole.parent.name,
            "grandparent": whole.parent.parent.name,
            "id": own_id or unattributed or stem,
        }
        pieces = string.Formatter().parse(self.text)
        name = "".join(
            literal + (values[field] if field is not None else "") for literal, field, *_ in pieces
        )
        if unattributed and not self._has_id:
            name += f"_{unattributed}"
        return storable(name)


def _value(text: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, int | float) else text
