"""Datasette: an experiment in a browser, with labels, facets by parameter, and ready questions.

https://docs.datasette.io/en/stable/metadata.html describes what Datasette is told.
"""

from __future__ import annotations

import json
import signal
import threading
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from farm_merge.errors import InvalidOptionError
from farm_merge.extras import missing_extra
from farm_merge.read.listing import list_simulations
from farm_merge.read.open import reading
from farm_merge.read.where import flat_parameters
from farm_merge.sqlite import column_types, quoted, sqlite3, table_names

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike
    from types import FrameType

__all__ = ["datasette_metadata", "serve_database"]

_MOST_FACET_VALUES = 50
_HIGHEST_PORT = 65535
_AGAIN_SECONDS = 0.1
"""When to look again whether the server listens to signals."""

_SETTINGS = {
    "sql_time_limit_ms": 10_000,
    "facet_time_limit_ms": 2_000,
    "max_returned_rows": 5_000,
    "allow_download": "off",
}
"""Datasette's own are for the public and small tables."""

_QUERIES = {
    "simulation_steps": {
        "steps_of_a_simulation": """
            SELECT * FROM simulation_steps WHERE simulation_id = :simulation_id
            ORDER BY step_number""",
        "last_step_of_every_simulation": """
            SELECT s.simulation_id, s.status, t.*
            FROM simulations AS s
            CROSS JOIN simulation_steps AS t
              ON t.simulation_id = s.simulation_id
              AND t.step_number = (SELECT max(step_number) FROM simulation_steps
                                   WHERE simulation_id = s.simulation_id)""",
        "population_by_parameter": """
            SELECT s.parameters ->> :parameter AS value, count(*) AS simulations,
              avg(t.total_agents) AS agents
            FROM simulations AS s
            CROSS JOIN simulation_steps AS t
              ON t.simulation_id = s.simulation_id AND t.step_number = :step
            GROUP BY value""",
    },
    "agents": {
        "longest_lives_in_a_simulation": """
            SELECT *, death_time - birth_time AS lifetime FROM agents
            WHERE simulation_id = :simulation_id ORDER BY lifetime DESC LIMIT 20""",
    },
    "merged_shards": {
        "where_every_simulation_came_from": """
            SELECT simulation_id, source_path, source_schema, merged_at FROM merged_shards
            ORDER BY simulation_id""",
    },
}
"""By table, what can be asked of it: SQL, which the key keeps fast."""


def datasette_metadata(database: str | PathLike[str]) -> dict[str, Any]:
    """Return what lets Datasette open a database well, as its `metadata.json`.

    Args:
        database: A shard or experiment database. The metadata are also of a second one, called
            like it with `-runs` behind, which `serve_database` makes.

    Raises:
        ShardError: If the file is not a database of today's schema.
    """
    path = Path(database)
    return _metadata(path, _runs(path))


def serve_database(
    database: str | PathLike[str], *, host: str = "127.0.0.1", port: int = 8001
) -> None:
    """Let Datasette show a database until it is interrupted, or terminated.

    Beside the database it shows a table `runs`, with a column for each parameter, so that
    simulations can be filtered and counted by them.

    Args:
        database: A shard or experiment database.
        host: Who may look: by default this machine only; "0.0.0.0" is everybody.
        port: Where, from 0 (any that is free) to 65535.

    Raises:
        InvalidOptionError: If there is no such port.
        FarmMergeError: If Datasette is not installed.
        ShardError: If the file is not a database of today's schema.
    """
    if not isinstance(port, int) or not 0 <= port <= _HIGHEST_PORT:
        raise InvalidOptionError(f"port is {port!r}; it takes a number from 0 to {_HIGHEST_PORT}")
    try:
        from datasette.cli import cli
    except ImportError as exc:
        raise missing_extra("a browser needs the package datasette", "datasette") from exc
    path = Path(database)
    runs = _runs(path)
    with TemporaryDirectory(prefix="farm-merge-") as name:
        folder = Path(name)
        metadata = folder / "metadata.json"
        metadata.write_text(json.dumps(_metadata(path, runs)), encoding="utf-8")
        beside = folder / f"{_runs_name(path)}.db"
        _write_runs(beside, runs)
        words = ["serve", str(path), str(beside), "--metadata", str(metadata)]
        words += ["--host", host, "--port", str(port)]
        for setting, value in _SETTINGS.items():
            words += ["--setting", setting, str(value)]
        with _ended_by_signals():
            cli.main(words, standalone_mode=False)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let a signal end the server, and no more: then there is a folder to be removed.

    What is raised while uvicorn starts, it takes for an error of Datasette's, and goes on. When it
    has ended at a signal, it sends it once more to whoever handled it before
    (https://github.com/Kludex/uvicorn, `Server.capture_signals`).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handle(number: int, _: FrameType | None) -> None:
        serves = signal.getsignal(signal.SIGTERM) is not handle
        if number == signal.SIGALRM and serves:
            signal.raise_signal(signal.SIGTERM)
        else:
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = [(number, signal.signal(number, handle)) for number in numbers]
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, earlier in before:
            signal.signal(number, earlier)


def _runs_name(path: Path) -> str:
    return f"{path.stem}-runs"


def _runs(path: Path) -> list[dict[str, Any]]:
    """Return the simulations, each with its parameters side by side with what is known of it."""
    rows = []
    for simulation in list_simulations(path):
        known = {name: value for name, value in simulation.items() if name != "parameters"}
        parameters = flat_parameters(simulation["parameters"])
        # What is known of a run keeps its name where a parameter is called alike.
        rows.append({**dict(parameters), **known})
    return rows


def _metadata(path: Path, runs: list[dict[str, Any]]) -> dict[str, Any]:
    with reading(path) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM experiments ORDER BY 1")]
        queries = {
            name: {"title": name.replace("_", " ").capitalize(), "sql": dedent(sql).strip()}
            for table, questions in _QUERIES.items()
            if _can_answer(connection, table)
            for name, sql in questions.items()
        }
    tables = {
        "simulations": {"label_column": "simulation_id", "facets": ["status", "experiment_id"]},
        "experiments": {"label_column": "name"},
    }
    seen = {"label_column": "simulation_id", "sort": "simulation_id", "facets": _facets(runs)}
    return {
        "title": ", ".join(names[:3]) or path.stem,
        "databases": {
            path.stem: {"queries": queries, "tables": tables},
            _runs_name(path): {"tables": {"runs": seen}},
        },
    }


def _can_answer(connection: sqlite3.Connection, table: str) -> bool:
    """Return whether a table is AgentFarm's, or ours, and has rows."""
    if table not in table_names(connection) or "simulation_id" not in column_types(
        connection, table
    ):
        return False
    (found,) = connection.execute(f"SELECT EXISTS (SELECT 1 FROM {quoted(table)})").fetchone()
    return bool(found)


def _facets(runs: list[dict[str, Any]]) -> list[str]:
    """Return the columns in which runs differ, in few values."""
    names = dict.fromkeys(name for run in runs for name in run)
    counts = {name: len({run.get(name) for run in runs}) for name in names}
    few = min(_MOST_FACET_VALUES, max(len(runs) - 1, 1))
    return [
        name
        for name, number in counts.items()
        if 1 < number <= few and name not in {"simulation_id", "steps", "agents"}
    ]


def _write_runs(path: Path, runs: list[dict[str, Any]]) -> None:
    from sqlite_utils import Database

    with closing(sqlite3.connect(str(path))) as connection:
        db = Database(connection, execute_plugins=False)
        db.table("runs").insert_all(runs, pk="simulation_id", alter=True)
        connection.commit()
