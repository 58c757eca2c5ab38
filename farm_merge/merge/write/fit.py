"""Fit: the tables of the output hold the rows of all inputs, tried where they could refuse some."""

from __future__ import annotations

from typing import TYPE_CHECKING

from farm_merge.merge.plan.target import make_target
from farm_merge.merge.write.rewrite import try_rewriting

if TYPE_CHECKING:
    from pathlib import Path

    from farm_merge.errors import ShardError
    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.plan.output import Output
    from farm_merge.merge.plan.target import Target

__all__ = ["fitting_target"]


def fitting_target(
    sources: list[Input], output: Output, folder: Path, *, alone: bool
) -> tuple[Target, dict[Path, ShardError]]:
    """Return the tables that hold the rows of inputs, and the inputs whose rows have no place.

    Args:
        sources: The inputs.
        output: The output.
        folder: A private folder.
        alone: Whether the output has no tables of today's schema but the registry.
    """
    target, misfits = make_target(sources, output, alone=alone)
    for source in sources:
        is_doubtful = source.path in target.to_try and source.path not in misfits
        if is_doubtful and (error := try_rewriting(source, target, folder)):
            misfits[source.path] = error
    if misfits:
        fitting = [source for source in sources if source.path not in misfits]
        target, _ = make_target(fitting, output, alone=alone)
    return target, misfits
