"""What a simulation ran on: commit, host, versions."""

from __future__ import annotations

import json
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from farm_merge import __version__
from farm_merge.sqlite import sqlite3

__all__ = ["provenance"]

_PACKAGES = ("numpy", "pandas", "pydantic", "sqlalchemy")


@cache
def provenance() -> dict[str, str | None]:
    """Return columns of `simulations`: git_commit, host, python_version, package_versions."""
    versions = {"farm-merge": __version__, "sqlite": sqlite3.sqlite_version}
    versions |= {name: _version(name) for name in _PACKAGES}
    return {
        "git_commit": _git_commit(),
        "host": platform.node(),
        "python_version": platform.python_version(),
        "package_versions": json.dumps(versions),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _git_commit() -> str | None:
    """Return the commit checked out in the working directory, where there is one."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607  (the user's own git)
            capture_output=True,
            text=True,
            check=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
