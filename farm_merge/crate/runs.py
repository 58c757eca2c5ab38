"""Runs: what is known of each simulation of an experiment, as one table."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm_merge.digest import digest_simulations
from farm_merge.read.open import reading_rows
from farm_merge.read.where import flat_parameters, parsed_object

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from farm_merge.progress import ReportCount

__all__ = ["Runs", "read_runs", "write_table"]

_COLUMNS = (
    "simulation_id", "experiment_id", "status", "seed", "git_commit", "python_version",
    "package_versions", "start_time", "end_time",
)  # fmt: skip

_MODELS, _SOURCE = ("simulation", "command"), "source"
_CODE = {*_MODELS, _SOURCE}
"""What a sweep notes of its simulator, among the versions of packages."""

_MISSING = "not installed"


@dataclass(frozen=True, slots=True)
class Runs:
    """The simulations of an experiment.

    Attributes:
        experiments: What people call the experiments, and what is written about them.
        rows: One dictionary a simulation, columns of the registry by name.
        parameters: As many, parameters by name, `a.b` for one in another.
        digests: As many, the digest of its content.
    """

    experiments: tuple[tuple[str, str], ...]
    rows: tuple[dict[str, Any], ...]
    parameters: tuple[dict[str, Any], ...]
    digests: tuple[str, ...]

    def values(self, name: str) -> list[Any]:
        """Return the values that a column of the registry has, without NULL, in order."""
        return sorted({row[name] for row in self.rows if row[name] is not None})

    @property
    def names(self) -> list[str]:
        """The names of all parameters, in the order in which they are met."""
        return list(dict.fromkeys(name for values in self.parameters for name in values))

    @property
    def packages(self) -> dict[str, list[str]]:
        """The packages that simulations ran on, each with its versions."""
        found: dict[str, set[str]] = {}
        for name, version in (item for row in self.rows for item in _versions(row).items()):
            if name not in _CODE and version != _MISSING:
                found.setdefault(name, set()).add(str(version))
        return {name: sorted(versions) for name, versions in sorted(found.items())}

    @property
    def codes(self) -> list[tuple[str, str]]:
        """The simulators, as far as they are known: what each is called, and its version."""
        found = set()
        for row in self.rows:
            known = _versions(row)
            model = next((known[kind] for kind in _MODELS if kind in known), "")
            found.add((model, row["git_commit"] or known.get(_SOURCE) or ""))
        return sorted(found - {("", "")})


def _versions(row: dict[str, Any]) -> dict[str, Any]:
    return parsed_object(row["package_versions"])


def read_runs(database: Path, progress: ReportCount | bool | None) -> Runs:
    """Read the registry of a database, and digest its simulations.

    Args:
        database: A shard or experiment database that nobody changes.
        progress: Called with the number of simulations digested, and of all; True draws a bar.
    """
    with reading_rows(database) as db:
        experiments = db.query(
            "SELECT name, trim(coalesce(description, '') || ' ' || coalesce(hypothesis, ''))"
            " AS text FROM experiments ORDER BY experiment_id"
        )
        named = tuple((row["name"], row["text"]) for row in experiments)
        rows = tuple(
            db.query(
                f"SELECT {', '.join(_COLUMNS)}, parameters FROM simulations ORDER BY simulation_id"
            )
        )
    parameters = tuple(dict(flat_parameters(parsed_object(row["parameters"]))) for row in rows)
    digests = digest_simulations(database, progress=progress)
    return Runs(named, rows, parameters, tuple(digest.digest for digest in digests))


def write_table(runs: Runs, path: Path) -> None:
    """Write one line a simulation, as CSV: its registry, its digest and its parameters."""
    columns: Sequence[str] = [name for name in _COLUMNS if name != "package_versions"]
    names = runs.names
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, "digest", *(f"parameters.{name}" for name in names)])
        for row, digest, values in zip(runs.rows, runs.digests, runs.parameters, strict=True):
            known = [_cell(values.get(name)) for name in names]
            writer.writerow([*(row[name] for name in columns), digest, *known])


def _cell(value: object) -> object:
    return json.dumps(value) if isinstance(value, bool) else value
