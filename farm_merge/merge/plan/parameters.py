"""Parameters: what lies beside a run, or in its name, about what it was given."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from farm_merge.errors import ShardError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.plan.rules import Rules

__all__ = ["with_parameters"]


def with_parameters(
    sources: Iterable[Input], rules: Rules
) -> tuple[list[Input], dict[Path, ShardError]]:
    """Return inputs with their parameters, and those whose paths do not match.

    Args:
        sources: The inputs.
        rules: How parameters are found; files beside runs that have parameters are not read.
    """
    found: list[Input] = []
    refused: dict[Path, ShardError] = {}
    for source in sources:
        parameters: dict[str, Any] = {}
        notes: tuple[str, ...] = ()
        if not all(run.has_parameters or run.is_unattributed for run in source.simulations):
            sidecar = rules.sidecars.read(source.path)
            parameters, notes = sidecar.parameters or {}, sidecar.notes
        try:
            named = rules.pattern.parameters(source.path) if rules.pattern else {}
        except ShardError as exc:
            refused[source.path] = exc
            continue
        together = {**named, **parameters}
        found.append(replace(source, parameters=together or None, notes=(*source.notes, *notes)))
    return found, refused
