"""What is there already: runs whose shards or simulations exist are not simulated again."""

from __future__ import annotations

from array import array
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from farm_merge.errors import ConflictError, FarmMergeError
from farm_merge.publish import reading_output, require_experiment, require_usable
from farm_merge.read.where import parsed_object
from farm_merge.sqlite import connect, file_uri, sqlite3

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from farm_merge.sweep.places import Places
    from farm_merge.sweep.runs import Run

__all__ = ["Found", "find_runs"]

_COLUMNS = "experiment_id, status, parameters, seed, git_commit, package_versions"
_MOST_NAMED = 20
_MODELS = ("simulation", "command")

_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """What is there of a sweep.

    Attributes:
        present: The places of the runs that are there.
        due: The places of the runs that have to be simulated.
        notes: What a reader should know: runs of other code.
    """

    present: Sequence[int]
    due: Sequence[int]
    notes: tuple[str, ...]


def find_runs(
    runs: Sequence[Run],
    places: Places,
    output: Path,
    experiment_id: str,
    code: Mapping[str, str | None],
    *,
    tolerant: bool = False,
) -> Found:
    """Find out which runs of a sweep are there, as shards or in the experiment database.

    Args:
        runs: The sweep, or a part of it.
        places: Where the shards are.
        output: The experiment database, which may not exist.
        experiment_id: What the runs belong to.
        code: What is stored of the code that simulates, to be compared.
        tolerant: Whether it is no conflict that the output has a run's name for something else.

    Raises:
        ConflictError: If a shard or a simulation is there that is not of this sweep.
        OutputError: If something is in the way of a shard, such as a WAL without its database.
    """
    require_experiment(output)
    present, due = array("q"), array("q")
    differing: list[FarmMergeError] = []
    others: Counter[str] = Counter()
    wanted = _Wanted(experiment_id, code)
    with ExitStack() as stack:
        merged = stack.enter_context(reading_output(output)) if output.exists() else None
        for place, run in enumerate(runs):
            shard = places.path(run)
            path, row = output, _merged(merged, run, wanted, tolerant=tolerant)
            if row is None:
                path, row = shard, _in_shard(shard, run)
            if row is None:
                due.append(place)
            elif difference := wanted.difference(row, run):
                differing.append(FarmMergeError(difference, path=path))
            else:
                present.append(place)
                others.update(wanted.other_code(row))
    if differing:
        raise ConflictError(
            "simulations are there that are not of this sweep, and nothing was run:",
            causes=differing[:_MOST_NAMED],
            remedy="Move them away, or choose another folder for the shards and another output.",
        )
    return Found(present, due, tuple(_notes(others)))


def _merged(
    connection: sqlite3.Connection | None, run: Run, wanted: _Wanted, *, tolerant: bool
) -> _Row | None:
    """Return the row of a simulation that was merged, if it is there and has not failed."""
    row = None if connection is None else _row(connection, run)
    if row is None or row["status"] == "failed":
        return None
    return None if tolerant and wanted.difference(row, run) else row


def _in_shard(shard: Path, run: Run) -> _Row | None:
    """Return the row of the simulation in a shard, if that is there."""
    if not shard.exists():
        require_usable(shard)
        return None
    try:
        with closing(connect(file_uri(shard, mode="ro"), read_only=True)) as connection:
            row = _row(connection, run)
    except sqlite3.Error as exc:
        return {"wrong": f"cannot be read ({exc})"}
    return row or {"wrong": f"holds no simulation {run.simulation_id}"}


def _row(connection: sqlite3.Connection, run: Run) -> _Row | None:
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM simulations WHERE simulation_id = ?", (run.simulation_id,)
    ).fetchone()
    return None if found is None else dict(zip(_COLUMNS.split(", "), found, strict=True))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a run of the sweep is known by, besides its parameters."""

    experiment_id: str
    code: Mapping[str, str | None]

    def difference(self, row: _Row, run: Run) -> str | None:
        """Return in what a simulation differs from what a run would write, if it does."""
        if "wrong" in row:
            return str(row["wrong"])
        if row["status"] != "completed":
            return f"{run.simulation_id} is {row['status']}"
        found = {**parsed_object(row["parameters"]), "seed": row["seed"], **self._model(row)}
        wanted = {**run.record, "seed": run.seed, **self._model_wanted(row)}
        found["experiment_id"], wanted["experiment_id"] = row["experiment_id"], self.experiment_id
        differing = [
            f"{name} is {found.get(name)}, not {wanted.get(name)}"
            for name in sorted(found.keys() | wanted.keys())
            if found.get(name) != wanted.get(name)
        ]
        return f"{run.simulation_id}: {', '.join(differing)}" if differing else None

    def other_code(self, row: _Row) -> list[str]:
        """Return in what the code that simulated a run differs from today's."""
        stored = {**_versions(row), "git_commit": row["git_commit"]}
        return [
            f"{name} was {stored.get(name)}, now {now}"
            for name, now in self.code.items()
            if stored.get(name) != now
        ]

    def _model(self, row: _Row) -> dict[str, str]:
        """Return what a simulation was made by, if that is known."""
        return {key: value for key, value in _versions(row).items() if key in _MODELS}

    def _model_wanted(self, row: _Row) -> dict[str, str | None]:
        if not self._model(row):
            return {}
        return {key: value for key, value in self.code.items() if key in _MODELS}


def _versions(row: _Row) -> dict[str, str]:
    return parsed_object(row["package_versions"])


def _notes(others: Counter[str]) -> list[str]:
    return [
        f"{number:,} runs that are there were simulated by other code: {difference}"
        for difference, number in others.most_common()
    ]
