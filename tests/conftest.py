"""What many tests need: real shards, and a look at what a database holds."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING, Any

import pytest

from farm_merge.schema import DATA_TABLES, create_schema
from farm_merge.sqlite import file_uri, sqlite3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = int(os.environ.get("FARM_MERGE_EXAMPLES", "15"))
"""How many examples a property that takes whole merges is tried on; `make fuzz` asks for more."""


_MEMORY = Path("/dev/shm")
_ROOM_BYTES = 8 << 30
_FOLDER = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Keep what tests write in memory where there is room: else they wait for a disk."""
    is_worker = hasattr(config, "workerinput")
    if is_worker or config.option.basetemp or not os.access(_MEMORY, os.W_OK):
        return
    if shutil.disk_usage(_MEMORY).free >= _ROOM_BYTES:
        config.option.basetemp = mkdtemp(prefix="farm-merge-tests-", dir=_MEMORY)
        config.stash[_FOLDER] = config.option.basetemp


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Give the memory back; what failed can be looked at."""
    if not session.testsfailed and (folder := session.config.stash.get(_FOLDER, None)):
        shutil.rmtree(folder)


def write_simulation(
    connection: sqlite3.Connection, simulation_id: str, *, steps: int, agents: int, shift: float
) -> None:
    """Write rows into every data table; `shift` makes data differ under the same keys."""
    ids = [f"agent_{number}" for number in range(agents)]
    times = range(steps)
    for sql, rows in {
        "agents (simulation_id, agent_id, birth_time, position_x, action_weights)": [
            (simulation_id, agent, 0, shift, '{"move": 0.5}') for agent in ids
        ],
        "agent_states (simulation_id, step_number, agent_id, position_x, is_defending)": [
            (simulation_id, step, agent, step + shift, step % 2) for step in times for agent in ids
        ],
        "resource_states (simulation_id, id, step_number, resource_id, amount)": [
            (simulation_id, step, step, "resource_0", 1.5 * step) for step in times
        ],
        "simulation_steps (simulation_id, step_number, total_agents, total_resources)": [
            (simulation_id, step, agents, 0.1 * step) for step in times
        ],
        "agent_actions (simulation_id, action_id, step_number, agent_id, action_type, reward)": [
            (simulation_id, step + 1, step, ids[0], "move", None) for step in times
        ],
        "health_incidents (simulation_id, incident_id, step_number, agent_id, cause)": [
            (simulation_id, 1, 0, ids[0], "starvation")
        ],
        "simulation_config (simulation_id, config_id, timestamp, config_data)": [
            (simulation_id, 1, 0, '{"seed": 1}')
        ],
    }.items():
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(f"INSERT INTO {sql} VALUES ({marks})", rows)


def write_shard(
    path: Path,
    simulation_id: str,
    *more_ids: str,
    steps: int = 5,
    agents: int = 3,
    shift: float = 0.0,
    status: str = "completed",
    experiment: tuple[str, str] | None = None,
    journal_mode: str = "DELETE",
) -> Path:
    """Write a real shard with rows in every table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode={journal_mode}")
        connection.execute("BEGIN")
        create_schema(connection)
        if experiment:
            connection.execute(
                "INSERT INTO experiments (experiment_id, name) VALUES (?, ?)", experiment
            )
        for name in (simulation_id, *more_ids):
            connection.execute(
                "INSERT INTO simulations"
                " (simulation_id, experiment_id, status, parameters, simulation_db_path)"
                " VALUES (?, ?, ?, ?, ?)",
                (name, experiment and experiment[0], status, '{"rate": 0.1}', str(path)),
            )
            write_simulation(connection, name, steps=steps, agents=agents, shift=shift)
        connection.execute("COMMIT")
    return path


@pytest.fixture
def make_shard(tmp_path: Path) -> Callable[..., Path]:
    """Make real shards with rows in every table, as `write_shard` does."""

    def make(
        simulation_id: str,
        *more_ids: str,
        folder: str = "shards",
        file: str | None = None,
        **options: Any,
    ) -> Path:
        path = tmp_path / folder / (file or f"{simulation_id}.db")
        return write_shard(path, simulation_id, *more_ids, **options)

    return make


@pytest.fixture
def public() -> Iterator[Path]:
    """Make a folder that every user can look into, as pytest's are not."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextmanager
def as_nobody() -> Iterator[None]:
    """Be a user whom permissions keep out, though the tests may run as root.

    What is imported late has to be imported before: Python itself may lie where nobody may look.
    """
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let children be interrupted, though a shell's `&` lets this process ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def query(path: Path | str, sql: str, *values: object) -> list[tuple[Any, ...]]:
    """Run SQL in a database that nobody else has open."""
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        return connection.execute(sql, values).fetchall()


def vacuumed(path: Path, *pragmas: str) -> Path:
    """Write a database anew, with pragmas that only count for the connection that vacuums."""
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        for statement in (*pragmas, "VACUUM"):
            connection.execute(statement)
    return path


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return every data row with the types of its values, by table."""
    with closing(sqlite3.connect(file_uri(path, mode="ro"), uri=True)) as connection:
        return {table: _rows(connection, table) for table in DATA_TABLES}


def _rows(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    columns = [row[1] for row in connection.execute(f"PRAGMA table_xinfo({table})")]
    typed = ", ".join(f'"{name}", typeof("{name}")' for name in columns)
    return sorted(connection.execute(f"SELECT {typed} FROM {table}"), key=repr)


def union(*paths: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Return what a merge of these shards must hold."""
    parts = [content(path) for path in paths]
    return {
        table: sorted((row for part in parts for row in part[table]), key=repr)
        for table in DATA_TABLES
    }
