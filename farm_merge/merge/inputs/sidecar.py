"""Sidecar: the parameters of a run, as simulators leave them in a file beside its database."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any

from farm_merge.merge.inputs.find import SUFFIXES

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["json_object", "read_sidecar"]

_SIDECAR = "config.json"
"""What AgentFarm writes beside its database."""


def read_sidecar(database: Path) -> dict[str, Any] | None:
    """Return the parameters beside a run; None where several runs share a folder.

    Args:
        database: The run's file.
    """
    path = database.with_name(_SIDECAR)
    if not path.is_file():
        return None
    databases = (it for it in path.parent.iterdir() if it.name.endswith(SUFFIXES))
    if len(list(islice(databases, 2))) > 1:
        return None  # nobody knows whose it is
    try:
        return json_object(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None


def json_object(text: object) -> dict[str, Any] | None:
    """Return a JSON object; None where a text is something else."""
    try:
        value = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
