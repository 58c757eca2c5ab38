"""Whatever is done to an output, in whatever order and by whom, it holds the rows that it should.

farm-merge appends pages and rows, replaces, removes, vacuums and is killed. Another process has the
output open by Python's own SQLite all the while: it reads, writes, rolls back, changes the layout
and the journal, and is killed too. All is done to a second database as well, by rows alone, and
after each step both hold the same.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from farm_merge.housekeeping import remove_simulations, vacuum_database
from farm_merge.merge import merge_shards
from farm_merge.merge.write import splicer
from farm_merge.schema import DATA_TABLES
from farm_merge.sqlite import attached, file_uri, sqlite3, transaction
from tests.conftest import EXAMPLES, content, query, write_shard
from tests.merge.checks import ids, require_sound

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PEER = """
import json, os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
for line in sys.stdin:
    *statements, last = json.loads(line)
    for sql in statements:
        connection.execute(sql).fetchall()
    if last == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    print(json.dumps(connection.execute(last).fetchall()), flush=True)
"""

GROW = """
WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {rows})
INSERT INTO simulation_steps (simulation_id, step_number, total_agents)
SELECT '{name}', n, 1 FROM c
"""
GROW_CHAINS = """
INSERT INTO simulation_config (simulation_id, config_id, timestamp, config_data)
SELECT '{name}', {rows}, 0, hex(zeroblob({rows} * 10))
"""


class Peer:
    """A process that has the output open by Python's own SQLite."""

    def __init__(self, output: Path) -> None:
        self._command = [sys.executable, "-c", PEER, output]
        self._start()

    def _start(self) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, text=True)

    def __call__(self, *statements: str) -> list[list[Any]]:
        self.say(*statements)
        return self.hear()

    def killed(self, *statements: str) -> None:
        self.say(*statements, "die")
        assert self._process.wait() == -signal.SIGKILL
        self.end()
        self._start()

    def say(self, *statements: str) -> None:
        print(json.dumps(statements), file=self._process.stdin, flush=True)

    def hear(self) -> list[list[Any]]:
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


class Mixture:
    """An output, another process, and what the output has to hold."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.output, self.model = folder / "exp.db", folder / "model.db"
        self.random = random.Random(seed)
        self._shards = folder / "shards"
        self._number = 0
        merge_shards(self._new_shards(), self.output)
        with closing(sqlite3.connect(str(self.output))) as connection:
            connection.execute("VACUUM INTO ?", (str(self.model),))
        self.peer = Peer(self.output)
        self.merged: Counter[str] = Counter()

    def _shard(self, name: str) -> Path:
        self._number += 1
        steps = self.random.choice([1, 5, 60, 400])
        path = self._shards / f"{self._number}.db"
        write_shard(path, name, steps=steps, shift=self.random.random())
        if self.random.random() < 0.3:  # rows with overflow chains
            query(path, "UPDATE agents SET action_weights = hex(randomblob(?))", steps * 20)
        return path

    def _new_shards(self) -> list[Path]:
        number = self.random.choice([1, 1, 3, 9])
        names = [f"{self.random.randrange(1 << 32):08x}" for _ in range(number)]
        return [self._shard(name) for name in names]

    def _merge(self, shards: list[Path], **options: Any) -> None:
        events: list[str] = []
        verify = self.random.choice(["none", "counts"])
        merge_shards(
            shards, self.output, verify=verify,
            progress=lambda event: events.append(event.message), **options,
        )  # fmt: skip
        rows = options["engine"] != "graft" or any("row by row" in event for event in events)
        self.merged["rows" if rows else "pages"] += 1
        self._mirror(shards)

    def _mirror(self, shards: list[Path]) -> None:
        with closing(sqlite3.connect(str(self.model), uri=True, isolation_level=None)) as model:
            for path in shards:
                ((name,),) = query(path, "SELECT simulation_id FROM simulations")
                with attached(model, file_uri(path, mode="ro"), "shard"), transaction(model):
                    for table in ("simulations", *DATA_TABLES):
                        model.execute(f"DELETE FROM {table} WHERE simulation_id = ?", (name,))
                        names = [
                            name for _, name, *_ in model.execute(f"PRAGMA table_info({table})")
                        ]
                        columns = ", ".join(names)
                        model.execute(
                            f"INSERT INTO {table} ({columns}) SELECT {columns} FROM shard.{table}"
                        )

    def _any_engine(self) -> str:
        return self.random.choice(["graft", "graft", "graft", "auto", "attach"])

    def _both(self, *statements: str) -> None:
        self.peer(*statements)
        for sql in statements:
            query(self.model, sql)

    def _some(self) -> str | None:
        """Return a simulation, if there is one."""
        return self.random.choice(ids(self.model) or [None])

    def _grow(self) -> str:
        # Pages do not get between rows of which the registry knows nothing.
        name = f"{self.random.choice('~~~5')}{self.random.randrange(1 << 32):08x}"
        sql = self.random.choice([GROW, GROW_CHAINS])
        return sql.format(name=name, rows=self.random.choice([10, 300, 4000]))

    def append(self) -> None:
        self._merge(self._new_shards(), engine=self._any_engine())

    def append_pages(self) -> None:
        assert self.peer("PRAGMA journal_mode = DELETE") == [["delete"]]
        self._merge(self._new_shards(), engine="graft")

    def replace(self) -> None:
        name = self._some()
        shards = [*self._new_shards(), *([self._shard(name)] if name else [])]
        self._merge(shards, engine=self._any_engine(), on_conflict="replace")

    def remove(self) -> None:
        names = ids(self.model)
        chosen = self.random.sample(names, len(names) // 3)
        remove_simulations(self.output, chosen)
        for table in ("simulations", *DATA_TABLES):
            for name in chosen:
                query(self.model, f"DELETE FROM {table} WHERE simulation_id = ?", name)

    def vacuum(self) -> None:
        assert self.peer("PRAGMA journal_mode = DELETE") == [["delete"]]
        vacuum_database(self.output)

    def append_and_be_killed(self) -> None:
        """All of it is there then, or nothing."""
        shards, before = self._new_shards(), ids(self.output)
        step, number = self.random.choice(
            [
                *(("write_at", number) for number in range(1, 40, 3)),
                *((step, number) for step in ("sync", "_is_locked") for number in (1, 2)),
                ("_open", 1),
                ("journal_of", 1),
            ]
        )
        process = os.fork()
        if not process:
            os.setpgrp()
            _kill_group_at(step, number)
            merge_shards(shards, self.output, engine="graft", verify="none")
            os._exit(0)
        _, status = os.waitpid(process, 0)
        assert status in {0, signal.SIGKILL}
        after = ids(self.output)
        self.merged["killed" if status else "not killed"] += 1
        assert (after != before) or status
        if after != before:
            self._mirror(shards)

    def append_while_one_reads(self) -> None:
        """The WAL gets into the file only in part, while the other process goes on writing."""
        self.peer("PRAGMA journal_mode = WAL", "PRAGMA wal_autocheckpoint = 0")
        self._both(self._grow())
        reader = Peer(self.output)
        try:
            count = "SELECT count(*), total(step_number) FROM simulation_steps"
            seen = reader("BEGIN", count)
            self._both(self._grow())
            self.append()
            assert reader(count) == seen
        finally:
            reader.end()
        assert self.peer("PRAGMA journal_mode = DELETE") == [["delete"]]

    def append_while_one_writes(self) -> None:
        """And rolls back every other time."""
        grown = [self._grow() for _ in range(6)]
        self.peer.say("PRAGMA cache_size = 5", *(
            sql
            for number, grow in enumerate(grown)
            for sql in ("BEGIN IMMEDIATE", grow, "ROLLBACK" if number % 2 else "COMMIT")
        ))  # fmt: skip
        self.append()
        self.peer.hear()
        for sql in grown[::2]:
            query(self.model, sql)

    def write(self) -> None:
        self._both(*(self._grow() for _ in range(self.random.choice([1, 5]))))

    def thin_out(self) -> None:
        table = self.random.choice(["agent_states", "simulation_steps", "agent_actions"])
        divisor, rest = self.random.choice([(2, 0), (3, 1), (1, 0)])
        chosen = (
            f"simulation_id >= '{self.random.randrange(16):x}' AND step_number % {divisor} = {rest}"
        )
        self._both(f"DELETE FROM {table} WHERE {chosen}")

    def roll_back(self) -> None:
        self.peer("PRAGMA cache_size = 5", "BEGIN IMMEDIATE", *self._growing(), "ROLLBACK")

    def be_killed(self) -> None:
        """A hot journal is left; with one in memory alone, SQLite promises nothing."""
        if self.peer("PRAGMA journal_mode") == [["memory"]]:
            self.peer("PRAGMA journal_mode = DELETE")
        self.peer.killed("PRAGMA cache_size = 5", "BEGIN IMMEDIATE", *self._growing())

    def be_killed_in_wal_mode(self) -> None:
        """What was committed is in a WAL that is left."""
        grow = self._grow()
        self.peer.killed("PRAGMA journal_mode = WAL", "PRAGMA wal_autocheckpoint = 0", grow)
        query(self.model, grow)

    def _growing(self) -> list[str]:
        return [GROW.format(name=name, rows=2000) for name in ("0", "8", "g")]

    def take_notes(self) -> None:
        notes = (
            "TABLE notes (n INTEGER PRIMARY KEY AUTOINCREMENT, run REFERENCES simulations, note)"
        )
        self.peer(f"CREATE {notes}", "INSERT INTO notes (note) VALUES (zeroblob(50000))")
        self.append()
        assert self.peer("SELECT n, length(note) FROM notes") == [[1, 50_000]]
        self.peer("DROP TABLE notes")

    def lay_out(self) -> None:
        none = "PRAGMA auto_vacuum = NONE"
        self.peer(
            *self.random.choice(
                [
                    (f"PRAGMA page_size = {self.random.choice([512, 4096, 65536])}", none),
                    (none,),
                    ("PRAGMA auto_vacuum = INCREMENTAL",),
                ]
            ),
            "VACUUM",
        )
        self.append()
        self.peer("PRAGMA incremental_vacuum", none, "VACUUM")

    def keep_journals_otherwise(self) -> None:
        mode = self.random.choice(["PERSIST", "TRUNCATE", "MEMORY", "DELETE"])
        self.peer(f"PRAGMA journal_mode = {mode}")
        self._both(self._grow())

    def require_as_it_should_be(self) -> None:
        assert self.peer("PRAGMA integrity_check") == [["ok"]]
        require_sound(self.output)
        assert content(self.output) == content(self.model)
        assert ids(self.output) == ids(self.model)
        peers = self.peer("SELECT simulation_id FROM simulations ORDER BY 1")
        assert [name for (name,) in peers] == ids(self.model)
        ledger = query(self.output, "SELECT DISTINCT simulation_id FROM merged_shards ORDER BY 1")
        assert [name for (name,) in ledger] == ids(self.model)


def _kill_group_at(step: str, number: int) -> None:
    honest: Callable[..., Any] = getattr(splicer, step)
    left = iter(range(number - 1))

    def fatal(*arguments: Any) -> Any:
        found = honest(*arguments)
        if next(left, None) is None:
            os.killpg(0, signal.SIGKILL)
        return found

    setattr(splicer, step, fatal)


@pytest.mark.parametrize("seed", range(max(2, EXAMPLES // 10)))
def test_an_output_holds_what_it_should_whatever_is_done_to_it(tmp_path, seed):
    mixture = Mixture(tmp_path, seed)
    steps = [name for name in vars(Mixture) if not name.startswith("_")]
    steps.remove("require_as_it_should_be")
    steps += ["append_pages", "append_and_be_killed"] * 2
    done = []
    try:
        for step in mixture.random.choices(steps, k=8):
            done.append(step)
            getattr(mixture, step)()
            mixture.require_as_it_should_be()
    except BaseException as exc:
        exc.add_note(f"seed {seed}: {done}, {mixture.merged}")
        raise
    finally:
        mixture.peer.end()
