"""A whole database is looked through, by two threads beside whoever asked."""

from __future__ import annotations

from contextlib import closing, contextmanager

import pytest

from farm_merge.health import Findings, examining
from farm_merge.read.open import reading
from farm_merge.sqlite import connect, sqlite3
from tests.conftest import query
from tests.merge.damage import damaged, swap_pointers

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"


def findings(path, check="integrity_check"):
    with examining(lambda: reading(path), check) as found:
        return found()


def test_what_is_sound_has_no_findings(make_shard):
    assert findings(make_shard("a")) == Findings((), {})


def test_references_to_nothing_are_counted_by_table(make_shard):
    shard = make_shard("a", agents=3)
    query(shard, "DELETE FROM agents WHERE agent_id = 'agent_1'")
    assert findings(shard).dangling == {("agent_states", "agents"): 5}


def test_damage_is_told_in_the_words_of_sqlite(make_shard):
    shard = damaged(make_shard("a", steps=200), swap_pointers)
    assert "PRIMARY KEY order" in findings(shard).damage[0]
    assert findings(shard, "quick_check").damage == ()


def test_who_no_longer_waits_does_not_wait_for_the_rest():
    """Else the test would not end."""

    class Endless:
        def __init__(self, connection):
            self.set_progress_handler = connection.set_progress_handler
            self._connection = connection

        def execute(self, _):
            return self._connection.execute(ENDLESS)

    @contextmanager
    def connecting():
        with closing(connect()) as connection:
            yield Endless(connection)

    with pytest.raises(KeyboardInterrupt), examining(connecting, "integrity_check"):
        raise KeyboardInterrupt


def test_what_sqlite_raises_is_raised(tmp_path):
    path = tmp_path / "text.db"
    path.write_text("no database" * 1000)
    with (
        pytest.raises(sqlite3.DatabaseError),
        examining(lambda: closing(connect(path.as_uri())), "quick_check") as found,
    ):
        found()
