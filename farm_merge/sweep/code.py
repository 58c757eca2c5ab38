"""Code: what is stored of the code that simulates, so that a change of it is seen."""

from __future__ import annotations

import subprocess
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from farm_merge.sweep.simulators import Simulator

__all__ = ["code_of"]

_NOT_CODE = ":(exclude)*.toml"  # a design that grows is no change of the code


def code_of(simulator: Simulator) -> dict[str, str | None]:
    """Return what the code of a simulation is known by.

    Returns:
        `git_commit`, where the folder is under git; `uncommitted`, a digest of the changes since,
        None without any; `simulation` or `command`, as in the sweep file; and `source`, a digest
        of its own file.
    """
    changes = _git(simulator.folder, "diff", "HEAD", "--", ".", _NOT_CODE)
    return {
        "git_commit": (_git(simulator.folder, "rev-parse", "HEAD") or b"").decode().strip() or None,
        "uncommitted": blake2b(changes, digest_size=8).hexdigest() if changes else None,
        simulator.kind: simulator.label,
        "source": simulator.source(),
    }


def _git(folder: str, *words: str) -> bytes | None:
    """Return what git prints; None where there is no git, or nothing under it."""
    try:
        found = subprocess.run(  # noqa: S603  (words of ours alone)
            ["git", *words],  # noqa: S607  (the user's own git)
            cwd=folder,
            capture_output=True,
            check=True,
            timeout=20,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout
