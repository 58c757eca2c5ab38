"""Opening: the settings of a configuration hold, and only a lock is waited for."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import text

from farm_merge.config import DatabaseConfig
from farm_merge.database import SimulationDatabase
from farm_merge.database.opening import _set_pragmas, open_session
from farm_merge.errors import OutputError
from farm_merge.sqlite import connect, file_uri, sqlite3

PRAGMAS = ("journal_mode", "synchronous", "cache_size")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"pragma_profile": "balanced"}, ("wal", 1, -64 * 1024)),
        ({"pragma_profile": "performance"}, ("wal", 0, -256 * 1024)),
        ({"pragma_profile": "safety"}, ("wal", 2, -64 * 1024)),
        ({"pragma_profile": "memory"}, ("wal", 1, -4 * 1024)),
        ({"journal_mode": "TRUNCATE", "cache_size_mb": 1}, ("truncate", 1, -1024)),
    ],
)
def test_a_live_connection_has_the_settings_of_its_profile(tmp_path, settings, expected):
    with SimulationDatabase(tmp_path / "run.db", settings=DatabaseConfig(**settings)) as db:
        found = [db._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in PRAGMAS]
        assert tuple(found) == expected
        (patience,) = db._connection.execute("PRAGMA busy_timeout").fetchone()
        assert patience == DatabaseConfig().busy_timeout_ms


@pytest.fixture
def other(tmp_path):
    """Have a database in WAL mode open, which it cannot leave meanwhile."""
    SimulationDatabase(tmp_path / "run.db").close()
    path = str(tmp_path / "run.db")
    with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("SELECT count(*) FROM agents").fetchone()
        yield connection


def test_a_lock_is_waited_for(tmp_path, other):
    timer = threading.Timer(0.2, other.close)
    timer.start()
    settings = DatabaseConfig(journal_mode="DELETE")
    with SimulationDatabase(tmp_path / "run.db", settings=settings, resume=True) as db:
        assert db._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    timer.join()


def test_a_lock_that_stays_is_given_up(tmp_path, other):
    settings = DatabaseConfig(journal_mode="DELETE", busy_timeout_ms=50)
    with pytest.raises(OutputError, match=r"run\.db: cannot be written \(.*locked\)"):
        SimulationDatabase(tmp_path / "run.db", settings=settings, resume=True)


def test_what_is_no_lock_is_not_waited_for(tmp_path):
    SimulationDatabase(tmp_path / "run.db").close()
    started = time.monotonic()
    with (
        closing(connect(file_uri(tmp_path / "run.db", mode="ro"))) as connection,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        _set_pragmas(connection, DatabaseConfig())
    assert time.monotonic() - started < DatabaseConfig().busy_timeout_ms / 1000 / 2


def test_a_session_can_be_handed_to_another_thread(tmp_path):
    SimulationDatabase(tmp_path / "run.db").close()
    asked = text("SELECT simulation_id FROM simulations")
    with open_session(file_uri(tmp_path / "run.db")) as session, ThreadPoolExecutor(1) as pool:
        assert session.scalar(asked) == "run"
        assert pool.submit(session.scalar, asked).result() == "run"


def test_every_connection_of_a_session_begins_with_what_prepares_it(tmp_path):
    SimulationDatabase(tmp_path / "run.db").close()
    view = "CREATE TEMP VIEW runs AS SELECT simulation_id AS name FROM simulations"
    with open_session(file_uri(tmp_path / "run.db"), [view]) as session:
        for _ in range(2):
            assert session.scalar(text("SELECT name FROM runs")) == "run"
            session.rollback()  # its connection is closed
