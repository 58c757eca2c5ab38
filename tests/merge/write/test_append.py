"""Pages get into an output that exists: all at once, and only where nobody could see a mix."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
from contextlib import closing

import pytest

from farm_merge.errors import OutputError
from farm_merge.merge import merge_shards
from farm_merge.merge.write import append, splicer, write
from farm_merge.sqlite import sqlite3
from tests.conftest import content, query, union, vacuumed
from tests.merge.checks import ids, require_sound


@pytest.fixture
def rows_by_row(monkeypatch):
    """List the simulations whose rows are copied, so that no test passes by copying them."""
    copied = []
    honest = write.copy_simulation

    def copy(connection, planned, *others):
        copied.append(planned.simulation_id)
        honest(connection, planned, *others)

    monkeypatch.setattr(write, "copy_simulation", copy)
    return copied


@pytest.fixture
def held(make_shard, tmp_path):
    """Make an output with two simulations; return it, and the shards of both."""
    shards = [make_shard("b", steps=40), make_shard("f", steps=40)]
    merge_shards(shards, tmp_path / "exp.db")
    return tmp_path / "exp.db", shards


def merged(paths, output, **options):
    events = []
    report = merge_shards(paths, output, engine="graft", progress=events.append, **options)
    reasons = [event.message for event in events if "row by row" in event.message]
    require_sound(output)
    return report, reasons


def test_pages_get_between_those_that_are_there(held, make_shard, rows_by_row):
    output, shards = held
    new = [make_shard(name, steps=300) for name in "aceg"]
    report, reasons = merged(new, output)
    assert (rows_by_row, reasons) == ([], [])
    assert content(output) == union(*shards, *new)
    assert ids(output) == list("abcefg")
    assert report.rows == sum(map(len, union(*new).values()))
    assert query(output, "PRAGMA journal_mode") == [("delete",)]
    assert query(output, "SELECT count(*) FROM merged_shards") == [(6,)]


def test_pages_get_into_an_output_if_there_are_many_or_that_is_asked_for(
    held, make_shard, monkeypatch
):
    output, _ = held
    honest, inserted = append.Addition.insert, []

    def insert(self, counts):
        inserted.extend(counts)
        honest(self, counts)

    monkeypatch.setattr(append.Addition, "insert", insert)
    merge_shards([make_shard("m", steps=300)], output)
    merge_shards([make_shard("n", steps=300)], output, engine="attach")
    assert inserted == []
    merge_shards([make_shard("o", steps=300)], output, engine="graft")
    assert inserted == ["o"]
    more = [make_shard("p", steps=300), make_shard("q", steps=300)]
    enough = sum(path.stat().st_size for path in more)
    monkeypatch.setattr(write, "_LITTLE_ADDITION_BYTES", enough)
    merge_shards([make_shard("r", steps=300)], output)
    assert inserted == ["o"]
    merge_shards(more, output)
    assert inserted == ["o", "p", "q"]


def test_experiments_that_the_output_has_stay_and_others_come(tmp_path, make_shard, rows_by_row):
    """Their texts are longer than a page."""
    output = tmp_path / "exp.db"
    first, same, other = (
        make_shard(name, experiment=experiment)
        for name, experiment in (("a", ("e", "old")), ("b", ("e", "new")), ("c", ("d", "other")))
    )
    for path in (first, same, other):
        query(path, "UPDATE experiments SET description = hex(zeroblob(9000)) || name")
    merge_shards([first], output)
    rows_by_row.clear()
    merged([same, other], output)
    assert rows_by_row == []
    text = "0" * 18_000
    assert query(output, "SELECT experiment_id, name, description FROM experiments") == [
        ("d", "other", text + "other"),
        ("e", "old", text + "old"),
    ]


def test_what_is_joined_or_replaced_comes_by_rows_and_the_rest_by_pages(
    held, make_shard, rows_by_row
):
    output, shards = held
    new = [make_shard("m", steps=300), make_shard("f", folder="other", shift=9.0)]
    merged(new, output, on_conflict="replace")
    assert rows_by_row == ["f"]
    assert content(output) == union(shards[0], *new)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("CREATE INDEX mine ON agents (agent_id)", "table agents is in another order"),
        ("CREATE INDEX mine ON agents (simulation_id DESC)", "table agents is in another order"),
    ],
)
def test_an_output_whose_trees_are_in_another_order_gets_rows(
    held, make_shard, rows_by_row, change, reason
):
    output, shards = held
    query(output, change)
    new = make_shard("m")
    _, reasons = merged([new], output)
    assert rows_by_row[-1] == "m"
    assert reasons == [f"copying row by row, since {reason}"]
    assert content(output) == union(*shards, new)


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("TABLE notes (n INTEGER PRIMARY KEY AUTOINCREMENT, note TEXT UNIQUE)", "1, 'good'"),
        (
            "TABLE notes (run TEXT REFERENCES simulations, note ANY, PRIMARY KEY (run)) STRICT",
            "'b', 1",
        ),
        ("TABLE notes AS SELECT simulation_id, 1 AS n FROM simulations", "'b', 2"),
        ("VIRTUAL TABLE notes USING fts5(note)", "'good'"),
        ("VIRTUAL TABLE notes USING rtree(n, low, high)", "1, 0, 2"),
    ],
)
def test_tables_that_a_user_made_in_an_output_are_left_alone(
    held, make_shard, rows_by_row, table, row
):
    output, shards = held
    for sql in (f"CREATE {table}", f"INSERT INTO notes VALUES ({row})", "ANALYZE"):
        query(output, sql)
    before = query(output, "SELECT * FROM notes")
    new = make_shard("m", steps=300)
    _, reasons = merged([new], output)
    assert (rows_by_row, reasons) == ([], [])
    assert content(output) == union(*shards, new)
    assert query(output, "SELECT * FROM notes") == before


def test_a_damaged_output_is_left_to_sqlite(held, make_shard):
    output, _ = held
    ((root,),) = query(output, "SELECT rootpage FROM sqlite_schema WHERE name = 'agents'")
    with output.open("r+b") as file:
        file.seek((root - 1) * 4096 + 8)
        file.write(b"\0")  # the first cell is not where one can be
    events = []
    merge_shards([make_shard("a")], output, engine="graft", progress=events.append)
    assert "copying row by row, since its pages are damaged" in [it.message for it in events]


def test_an_output_of_another_form_gets_rows(tmp_path, make_shard, rows_by_row):
    output = tmp_path / "exp.db"
    merge_shards([make_shard("a")], output)
    with closing(sqlite3.connect(str(output), isolation_level=None)) as connection:
        connection.execute("PRAGMA auto_vacuum = FULL")
        connection.execute("VACUUM")
    _, reasons = merged([make_shard("b")], output)
    assert reasons == ["copying row by row, since the output's pages are of another form"]
    assert ids(output) == ["a", "b"]


def test_a_reader_who_does_not_end_is_not_kept_waiting(held, make_shard, rows_by_row):
    """In this process or another: rows are added beside what it reads."""
    output, shards = held
    new = make_shard("m")
    with closing(sqlite3.connect(str(output), isolation_level=None)) as reader:

        def read(event):
            if event.phase == "copy" and not reader.in_transaction:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM agents").fetchone()

        merge_shards([new], output, engine="graft", progress=read)
        assert rows_by_row == ["m"]
        assert reader.execute("SELECT count(*) FROM simulations").fetchone() == (2,)
    assert content(output) == union(*shards, new)
    require_sound(output)


READER = """
import json, sqlite3, sys
seen = set()
while True:
    connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
    connection.execute("BEGIN")
    seen.add(tuple(
        connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        for table in ("agents", "agent_states", "simulations", "merged_shards", "agent_actions")
    ))
    connection.close()
    print("read", flush=True)
    if sys.stdin.readline() == "end\\n":
        break
print(json.dumps(sorted(seen)))
"""


def test_readers_see_what_was_or_what_is(held, make_shard):
    """They open it again and again, while it is written: nobody sees a part, nobody is refused."""
    output, _ = held
    new = [make_shard(name, steps=40) for name in "adz"]
    command = [sys.executable, "-m", "farm_merge", *new, "-o", output, "--engine", "graft", "-v"]
    with (
        subprocess.Popen(
            [sys.executable, "-c", READER, output], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True,
        ) as reader,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as merging,
    ):  # fmt: skip
        while merging.poll() is None:
            assert reader.stdout.readline() == "read\n"
            reader.stdin.write("again\n")
            reader.stdin.flush()
        assert merging.returncode == 0
        said = merging.stdout.read()
        seen = json.loads(reader.communicate("end\n")[0].splitlines()[-1])
    # All five simulations are alike, so what was seen tells how many.
    numbers = [it[2] for it in seen]
    assert seen == [[3 * n, 120 * n, n, n, 40 * n] for n in numbers]
    assert {2, 5} >= set(numbers) if b"row by row" not in said else set(numbers) <= {2, 3, 4, 5}
    require_sound(output)


WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
number = 0
print("writes", flush=True)
while sys.stdin.readline() != "end\\n":
    number += 1
    connection.execute(
        "INSERT INTO simulation_steps (simulation_id, step_number, total_agents)"
        " VALUES ('writer', ?, 1)", (number,)
    )
print(number)
"""


@pytest.mark.parametrize("engine", ["graft", "auto"])
def test_a_writer_loses_nothing(held, make_shard, engine):
    output, _ = held
    new = [make_shard(name, steps=300) for name in "ax"]
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, output], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    ) as writer:  # fmt: skip
        assert writer.stdout.readline() == "writes\n"

        def write_on(_):
            writer.stdin.write("one more\n")
            writer.stdin.flush()

        merge_shards(new, output, engine=engine, progress=write_on)
        number = int(writer.communicate("end\n")[0])
    assert number
    rows = "SELECT count(*) FROM simulation_steps WHERE simulation_id = 'writer'"
    assert query(output, rows) == [(number,)]
    assert ids(output) == ["a", "b", "f", "x"]
    require_sound(output)


GROWER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=0)
try:
    connection.execute("PRAGMA cache_size = 10")
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "INSERT INTO simulation_steps (simulation_id, step_number, total_agents)"
        " VALUES ('writer', ?, 1)", [(number,) for number in range(5_000)]
    )
    connection.execute(sys.argv[2])
    print(sys.argv[2])
except sqlite3.OperationalError as error:
    print(error)
"""


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_nobody_writes_between_the_two_locks(held, make_shard, monkeypatch, tmp_path, end):
    """Another process tries, while readers are asked to go. Its pages would be where those of the
    addition are; and what it writes before it rolls back, SQLite puts back only where rows were."""
    output, shards = held
    said = tmp_path / "said"

    def rival():
        with said.open("a") as file:
            subprocess.run([sys.executable, "-c", GROWER, output, end], check=True, stdout=file)

    class Rivalled:
        """A connection of which the lock is taken by another when it is given back."""

        def __init__(self, connection):
            self._connection = connection

        def execute(self, sql):
            found = self._connection.execute(sql)
            if sql == "COMMIT":
                rival()
            return found

        def __getattr__(self, name):
            return getattr(self._connection, name)

    honest_open, honest_lock = splicer._open, splicer._is_locked

    def opened(*arguments):
        found = honest_open(*arguments)
        found.connection = Rivalled(found.connection)
        return found

    def is_locked(*arguments):
        rival()
        found = honest_lock(*arguments)
        rival()
        return found

    monkeypatch.setattr(splicer, "_open", opened)
    monkeypatch.setattr(splicer, "_is_locked", is_locked)
    new = make_shard("x", steps=300)
    merge_shards([new], output, engine="graft", verify="none")
    assert said.read_text().splitlines() == ["database is locked"] * 4
    require_sound(output)
    assert content(output) == union(*shards, new)


IN_WAL_MODE = """
import sqlite3, sys
writer, reader = (sqlite3.connect(sys.argv[1], isolation_level=None) for _ in range(2))
writer.execute("PRAGMA journal_mode = WAL")
writer.execute("PRAGMA wal_autocheckpoint = 0")

def grow(name):
    writer.execute("BEGIN")
    writer.executemany(
        "INSERT INTO simulation_steps (simulation_id, step_number, total_agents) VALUES (?, ?, 1)",
        [(name, number) for number in range(5_000)]
    )
    writer.execute("COMMIT")

grow("w1")
reader.execute("BEGIN")
reader.execute("SELECT count(*) FROM simulations").fetchone()
grow("w2")
print("reads", flush=True)
sys.stdin.readline()
"""


def test_an_output_that_others_have_in_wal_mode_is_not_cut(held, make_shard, rows_by_row):
    """While one of them reads, only a part of the WAL gets into the file, and what its header says
    of its length is what was before."""
    output, _ = held
    with subprocess.Popen(
        [sys.executable, "-c", IN_WAL_MODE, output], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    ) as others:  # fmt: skip
        assert others.stdout.readline() == "reads\n"
        merge_shards([make_shard("m", steps=300)], output, engine="graft")
        others.communicate("end\n")
    assert rows_by_row == ["m"]
    steps = "SELECT simulation_id, count(*) FROM simulation_steps GROUP BY 1"
    counts = [("b", 40), ("f", 40), ("m", 300), ("w1", 5_000), ("w2", 5_000)]
    assert query(output, steps) == counts
    require_sound(output)


def test_what_is_moved_to_the_name_of_an_output_stays_as_it_is(
    held, make_shard, monkeypatch, rows_by_row
):
    """The journal would be another file's."""
    output, shards = held
    honest = splicer.Splicer._insert

    def moved(self, counts):
        shutil.copy(output, output.with_name("other.db"))
        output.rename(output.with_name("old.db"))
        output.with_name("other.db").rename(output)
        honest(self, counts)

    monkeypatch.setattr(splicer.Splicer, "_insert", moved)
    new = make_shard("m", steps=300)
    merged([new], output)
    assert rows_by_row == ["m"]
    assert content(output) == union(*shards, new)
    assert content(output.with_name("old.db")) == union(*shards)


def test_an_interrupt_leaves_no_journal(held, make_shard, monkeypatch, interruptible):
    """A file that is copied without its journal would be a mix of what was and what is."""
    output, shards = held

    def interrupt(self, counts):
        os.kill(os.getppid(), signal.SIGINT)
        signal.pause()

    monkeypatch.setattr(splicer.Splicer, "_require", interrupt)
    before = output.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        merge_shards([make_shard("m", steps=300)], output, engine="graft")
    assert {path.name for path in output.parent.iterdir()} == {"exp.db", "shards"}
    assert content(output) == union(*shards)
    assert output.stat().st_size == len(before)


class Forgotten:
    """A file that is open as long as nobody collects garbage."""

    def __init__(self, path):
        self.itself = self
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self):
        os.close(self.descriptor)


def test_a_file_that_was_forgotten_takes_no_lock_away(held, make_shard, monkeypatch, tmp_path):
    """Python would close it when it happens to look for garbage, and with it the locks would go."""
    output, _ = held
    said = tmp_path / "said"
    honest = splicer.Splicer._write_journal

    def write(self, *arguments):
        gc.collect()
        with said.open("w") as file:
            subprocess.run(
                [sys.executable, "-c", GROWER, output, "COMMIT"], check=True, stdout=file
            )
        honest(self, *arguments)

    monkeypatch.setattr(splicer.Splicer, "_write_journal", write)
    gc.disable()
    try:
        Forgotten(output)
        merge_shards([make_shard("m", steps=300)], output, engine="graft")
    finally:
        gc.enable()
    assert said.read_text() == "database is locked\n"
    require_sound(output)


def test_a_process_with_threads_adds_rows(held, make_shard, rows_by_row):
    """It cannot be forked safely."""
    output, shards = held
    new = make_shard("m")
    thread = threading.Thread(target=merge_shards, args=([new], output), kwargs={"engine": "graft"})
    thread.start()
    thread.join()
    assert rows_by_row == ["m"]
    assert content(output) == union(*shards, new)


@pytest.mark.parametrize("step", ["_prepare", "_write_journal", "_require"])
def test_a_writing_process_that_is_killed_leaves_what_was(held, make_shard, monkeypatch, step):
    output, shards = held
    honest = getattr(splicer.Splicer, step)

    def killed(self, *arguments):
        honest(self, *arguments)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(splicer.Splicer, step, killed)
    new = make_shard("m", steps=300)
    with pytest.raises(OutputError, match="was killed"):
        merge_shards([new], output, engine="graft")
    assert content(output) == union(*shards)
    require_sound(output)
    monkeypatch.undo()
    merged([new], output)
    assert content(output) == union(*shards, new)


def test_the_journal_counts_when_all_of_it_is_on_the_disk(held, make_shard, monkeypatch, tmp_path):
    """Else a part of it, after the power went, could be put over pages that are as they were."""
    output, _ = held
    log, journal = tmp_path / "log", output.with_name("exp.db-journal")
    honest = os.fsync

    def fsync(descriptor):
        honest(descriptor)
        if journal.exists():
            content = journal.read_bytes()
            with log.open("a") as file:
                print(content[:8].hex(), len(content) > 4096, file=file)

    monkeypatch.setattr(splicer.os, "fsync", fsync)
    merge_shards([make_shard("m", steps=300)], output, engine="graft")
    first, *others = log.read_text().splitlines()
    assert first == "0000000000000000 True"
    assert set(others) == {"d9d505f920a163d7 True"}


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_journal_that_cannot_be_written_leaves_what_was(held, make_shard, monkeypatch, number):
    output, shards = held
    before = output.stat().st_size
    honest = splicer.Splicer._write_journal

    def full(self, *arguments):
        left = iter(range(number - 1))

        def fsync(_):
            if next(left, None) is None:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            honest(self, *arguments)

    monkeypatch.setattr(splicer.Splicer, "_write_journal", full)
    with pytest.raises(OutputError, match="No space left"):
        merge_shards([make_shard("m", steps=300)], output, engine="graft")
    assert {path.name for path in output.parent.iterdir()} == {"exp.db", "shards"}
    assert output.stat().st_size == before
    assert content(output) == union(*shards)


def test_a_link_in_the_place_of_the_journal_is_not_followed(
    held, make_shard, monkeypatch, tmp_path
):
    output, shards = held
    precious, honest = tmp_path / "precious", splicer.journal_of
    precious.write_text("precious")

    def journal_of(*arguments):
        output.with_name("exp.db-journal").symlink_to(precious)
        return honest(*arguments)

    monkeypatch.setattr(splicer, "journal_of", journal_of)
    with pytest.raises(OutputError, match="cannot be written"):
        merged([make_shard("d", steps=300)], output)
    assert precious.read_text() == "precious"
    output.with_name("exp.db-journal").unlink()
    require_sound(output)
    assert content(output) == union(*shards)


def test_rows_that_do_not_arrive_are_noticed_and_come_by_rows(
    held, make_shard, monkeypatch, rows_by_row
):
    """As if leaves had gone: SQLite counts before the journal goes, and puts back what was."""
    output, shards = held
    honest = splicer.require_counts

    def strict(connection, simulation_id, tables, expected):
        honest(connection, simulation_id, tables, {**expected, "agents": 99})

    monkeypatch.setattr(splicer, "require_counts", strict)
    new = make_shard("m", steps=300)
    _, reasons = merged([new], output)
    assert rows_by_row == ["m"]
    assert "table agents: 99 rows in the shard, 3 in the output" in reasons[0]
    assert content(output) == union(*shards, new)


def test_what_was_cut_off_is_nobodys(held, make_shard, monkeypatch):
    """What a killed merge wrote behind the end does not stay."""
    output, shards = held
    whole = output.stat().st_size
    with output.open("ab") as file:
        file.write(os.urandom(1 << 20))
    require_sound(output)
    new = make_shard("m", steps=300)
    merged([new], output)
    assert output.stat().st_size == query(output, "PRAGMA page_count")[0][0] * 4096
    assert whole < output.stat().st_size < whole + (1 << 20)
    assert content(output) == union(*shards, new)


def test_a_link_to_an_output_is_followed(held, make_shard, tmp_path, rows_by_row, monkeypatch):
    """The journal is beside the file, so that folder has to be on the disk before pages change."""
    output, shards = held
    synced = tmp_path / "synced"

    def sync(path):
        with synced.open("a") as file:
            print(path, file=file)

    monkeypatch.setattr(splicer, "sync", sync)
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(output)
    new = make_shard("m", steps=300)
    merged([new], link)
    assert rows_by_row == []
    assert link.is_symlink()
    assert synced.read_text().splitlines() == [str(output.parent)] * 2
    assert content(output) == union(*shards, new)


def lengthen(path, pages, page_size):
    """Let a database have so many pages, of which those at the end are free, and holes in the file."""
    with path.open("r+b") as file:
        head = bytearray(file.read(100))
        (first,) = struct.unpack_from(">I", head, 28)
        free = [page for page in range(first + 1, pages + 1) if page != (1 << 30) // page_size + 1]
        trunk, *others = free
        struct.pack_into(">I", head, 28, pages)
        struct.pack_into(">II", head, 32, trunk, len(free))
        file.seek(0)
        file.write(head)
        file.truncate(pages * page_size)
        file.seek((trunk - 1) * page_size)
        file.write(struct.pack(f">II{len(others)}I", 0, len(others), *others))


@pytest.mark.parametrize("before", [7, 3, 2, 1, 0, -2])
def test_the_page_of_sqlites_locks_stays_unused(held, make_shard, rows_by_row, before):
    """That page is where a file has its second gigabyte."""
    output, shards = held
    vacuumed(output, "PRAGMA page_size = 65536")
    lengthen(output, (1 << 30) // 65536 - before, 65536)
    require_sound(output)
    new = [vacuumed(make_shard(name, steps=3000), "PRAGMA page_size = 65536") for name in "aeg"]
    _, reasons = merged(new, output)
    assert (rows_by_row, reasons) == ([], [])
    assert query(output, "PRAGMA page_count")[0][0] > (1 << 30) // 65536 + 1
    assert content(output) == union(*shards, *new)
