"""Splicer: a process that puts the pages of an addition into an output.

Whatever is done to the bytes of the output is done here: to close a descriptor of it elsewhere
would drop the locks that SQLite may hold on it in that process. Wherever this one is killed, SQLite
makes good what it left.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from farm_merge.errors import DamagedGraftError, OutputError
from farm_merge.merge.pages.header import HEADER_BYTES, Header, read_header
from farm_merge.merge.pages.journal import MARK_BYTES, journal_of
from farm_merge.merge.pages.splice import Run, Splice
from farm_merge.merge.pages.transplant import write_at
from farm_merge.merge.tables.definition import SIMULATION_ID
from farm_merge.merge.tables.structure import read_structure
from farm_merge.merge.write.check import require_counts
from farm_merge.merge.write.load import read_roots
from farm_merge.publish import sync
from farm_merge.sqlite import connect, file_uri, quoted, sqlite3
from farm_merge.workers import taken_from

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = [
    "Counts",
    "Made",
    "Request",
    "Splicer",
    "ddl_of",
    "require_led",
    "roll_back",
    "tables_written",
]

_PATIENCE_SECONDS = 1
"""So long others are waited for; then rows are added, which takes no lock that readers notice."""

_PAUSE_SECONDS = 0.005

_PENDING, _SHARED = (1 << 30, 1), ((1 << 30) + 2, 510)
"""Which bytes SQLite locks to keep new readers out, and which every reader locks: where they start,
and how many they are (https://www.sqlite.org/lockingv3.html, and its `os_unix.c`)."""

_COPIED_AT_ONCE = 1 << 20

_DAMAGE = (LookupError, ArithmeticError, RecursionError, TypeError, struct.error)
"""What reading an output raises whose pages are not as SQLite leaves them."""

_KEYS = {"experiments": "experiment_id"}
"""What the keys of a table begin with, where that is not `simulation_id`."""

Counts: TypeAlias = "Mapping[str, Mapping[str, int]]"
"""Rows by simulation and table."""

Request: TypeAlias = (
    "tuple[Literal['prepare'], Made] | tuple[Literal['insert'], Counts] | tuple[Literal['forget']]"
)


@dataclass(frozen=True, slots=True)
class Made:
    """What an addition was made for.

    Attributes:
        pages: How many pages the output has.
        statements: The tables and indexes of the output: table, name and SQL.
    """

    pages: int
    statements: list[tuple[str, str, str]]


def ddl_of(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Return the statements that made the tables and indexes of a database, tables first."""
    return connection.execute(
        "SELECT tbl_name, name, sql FROM sqlite_schema WHERE type IN ('table', 'index')"
        " AND sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type DESC, name"
    ).fetchall()


def tables_written(connection: sqlite3.Connection) -> set[str]:
    """Return the tables with rows of simulations; others may be a user's own notes."""
    structure = read_structure(connection)
    return {name for name in structure.content if structure.tables[name].merged}


@dataclass(slots=True)
class _Opened:
    """The output, as the process that writes to it has it.

    Attributes:
        connection: SQLite's, which holds the lock.
        descriptor: Its bytes.
        closing: Closes both; the descriptor last, since that drops the lock.
        path: The file itself, beside which SQLite looks for its journal; no link to it.
        head: Its first bytes, as they were when the lock was taken.
        header: What they say.
    """

    connection: sqlite3.Connection
    descriptor: int
    closing: ExitStack
    path: Path
    head: bytes
    header: Header

    @property
    def journal(self) -> Path:
        """Where SQLite looks for its journal."""
        return self.path.with_name(f"{self.path.name}-journal")

    @property
    def is_as_it_was(self) -> bool:
        """Whether it is still there, under the lock, and pages of it did not change."""
        return (
            self.connection.in_transaction
            and self.path.exists()
            and os.path.samestat(self.path.stat(), os.fstat(self.descriptor))
            and os.pread(self.descriptor, HEADER_BYTES, 0) == self.head
        )

    def lock_readers_out(self) -> None:
        """Take SQLite's exclusive lock besides the lock of a writer, which is held.

        SQLite would have to let go of that one before. Who took it then could write over what is
        behind the end, and roll back, and nothing would tell. A process has its POSIX locks by
        whatever descriptor it took them, so SQLite gives these back with its own.

        Raises:
            ValueError: If others read for too long.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        for start, length in (_PENDING, _SHARED):
            while not _is_locked(self.descriptor, start, length):
                if time.monotonic() > deadline:
                    raise ValueError("others are reading the output")
                time.sleep(_PAUSE_SECONDS)


class Splicer:
    """Writes to the output, in a process of its own.

    Args:
        output: The output.
        addition: The addition.
    """

    def __init__(self, output: Path, addition: Path) -> None:
        self._output = output
        self._addition = addition
        self._opened: _Opened | None = None
        self._changed: dict[int, bytes] = {}

    def __call__(self, request: Request) -> None:
        """Do what is asked; whatever goes wrong, the output is as it was."""
        try:
            if request[0] == "prepare":
                self._prepare(request[1])
            elif request[0] == "insert":
                self._insert(request[1])
            else:
                self._forget()
        except BaseException as exc:
            with suppress(sqlite3.Error, OSError):
                self._forget()
            if isinstance(exc, sqlite3.OperationalError) and "locked" in str(exc):
                raise ValueError("others are reading or writing the output") from exc
            raise

    def _prepare(self, made: Made) -> None:
        """Take the lock of a writer, who leaves readers alone, and write behind the end."""
        self._opened = opened = _open(self._output, made)
        os.ftruncate(opened.descriptor, opened.header.size_bytes)
        with _descriptor(self._addition) as addition:
            _copy_behind(addition, opened)
            try:
                self._changed = self._splice(opened, addition)
            except _DAMAGE as exc:
                raise ValueError("its pages are damaged") from exc
        os.fsync(opened.descriptor)

    def _splice(self, opened: _Opened, addition: int) -> dict[int, bytes]:
        """Put every tree of the addition into its like; return the pages that have to change."""
        splice = Splice(opened.descriptor, addition, opened.header, _header(addition))
        with closing(connect(file_uri(self._addition, mode="ro", immutable=1))) as coming:
            runs = {
                key: _runs(opened.connection, coming, table, key)
                for table, key in (("simulations", SIMULATION_ID), *_KEYS.items())
            }
            mine, theirs = read_roots(opened.connection), read_roots(coming)
            for name, root in theirs.items():
                if coming.execute(f"SELECT 1 FROM {quoted(root.table)} LIMIT 1").fetchone():
                    require_led(coming, root.table)
                    key = _KEYS.get(root.table, SIMULATION_ID)
                    splice.insert(mine[name].page, root.page, runs[key])
        return splice.finish()

    def _insert(self, counts: Counts) -> None:
        """Let the pages change at once, as SQLite does: what they were is in a journal first."""
        opened = self._opened
        assert opened is not None  # noqa: S101  (it was prepared)
        opened.lock_readers_out()
        if not opened.is_as_it_was:
            raise ValueError("another process wrote to the output")
        self._write_journal(opened, journal_of(opened.descriptor, opened.header, self._changed))
        for number, page in self._changed.items():
            write_at(opened.descriptor, page, number * opened.header.page_size)
        os.fsync(opened.descriptor)
        self._require(counts)
        opened.journal.unlink()
        sync(opened.path.parent)
        self._close(opened)

    def _write_journal(self, opened: _Opened, journal: bytes) -> None:
        """Write the journal as SQLite does: of the database's owner and mode, and synced.

        That it is a journal is said when all of it is on the disk: its checksums look at few bytes.
        """
        status = os.fstat(opened.descriptor)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
        descriptor = os.open(opened.journal, flags, status.st_mode & 0o777)
        try:
            os.fchmod(descriptor, status.st_mode & 0o777)
            if os.geteuid() == 0:
                os.fchown(descriptor, status.st_uid, status.st_gid)
            for start in (bytes(MARK_BYTES) + journal[MARK_BYTES:], journal[:MARK_BYTES]):
                write_at(descriptor, start, 0)
                os.fsync(descriptor)
            sync(opened.path.parent)
        except BaseException:
            opened.journal.unlink(missing_ok=True)  # no page changed yet
            raise
        finally:
            os.close(descriptor)

    def _require(self, counts: Counts) -> None:
        """Let SQLite count what arrived, as it would if the journal were gone."""
        left = deque(counts.items())

        def count() -> None:
            with closing(connect(file_uri(self._output, mode="ro", immutable=1))) as connection:
                tables = tables_written(connection)
                for simulation_id, rows in taken_from(left):
                    require_counts(connection, simulation_id, tables, rows)

        with ThreadPoolExecutor() as pool:
            work = [pool.submit(count) for _ in range(os.cpu_count() or 1)]
        for done in work:
            try:
                done.result()
            except (OutputError, sqlite3.DatabaseError) as exc:
                raise DamagedGraftError(str(exc)) from exc

    def _forget(self) -> None:
        """Let go of the output, as it was before."""
        opened = self._opened
        if opened is None:
            return
        with suppress(OSError):
            if opened.is_as_it_was and not opened.journal.exists():
                os.ftruncate(opened.descriptor, opened.header.size_bytes)
        self._close(opened)
        roll_back(self._output)

    def _close(self, opened: _Opened) -> None:
        self._opened = None
        opened.closing.close()


def _open(output: Path, made: Made) -> _Opened:
    """Take the lock of a writer.

    Raises:
        ValueError: If the output is none that an addition can be put into. Then not a byte of it
            changes: in WAL mode, what is behind the end by its header may be others' rows.
    """
    path = Path(os.path.realpath(output))
    with ExitStack() as stack:
        descriptor = os.open(path, os.O_RDWR)
        stack.callback(os.close, descriptor)
        uri = file_uri(path, mode="rw")
        connection = stack.enter_context(closing(connect(uri, timeout=_PATIENCE_SECONDS)))
        connection.execute("BEGIN IMMEDIATE")
        head = os.pread(descriptor, HEADER_BYTES, 0)
        header = read_header(head)
        if header.is_wal or connection.execute("PRAGMA journal_mode").fetchone() != ("delete",):
            raise ValueError("others have the output open")
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        if not header.pages == pages == made.pages or ddl_of(connection) != made.statements:
            raise ValueError("another process wrote to the output")
        if not header.allows_grafting:
            raise ValueError("the output's pages are of another form")
        return _Opened(connection, descriptor, stack.pop_all(), path, head, header)


def _is_locked(descriptor: int, start: int, length: int) -> bool:
    """Lock some bytes of a file; return whether nobody else has a lock on any of them."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
    except (BlockingIOError, PermissionError):  # one or the other, says POSIX
        return False
    return True


def roll_back(output: Path) -> None:
    """Let SQLite roll back what a process left; it does so when somebody reads."""
    uri = file_uri(output, mode="rw")
    with closing(connect(uri, timeout=_PATIENCE_SECONDS)) as connection:
        connection.execute("SELECT 1 FROM sqlite_schema")


def _copy_behind(addition: int, opened: _Opened) -> None:
    """Copy the pages of an addition that are behind the end of an output to their places there."""
    at, end = opened.header.size_bytes, os.fstat(addition).st_size
    while at < end:
        data = os.pread(addition, min(_COPIED_AT_ONCE, end - at), at)
        write_at(opened.descriptor, data, at)
        at += len(data)


def _runs(
    output: sqlite3.Connection, coming: sqlite3.Connection, table: str, key: str
) -> list[Run]:
    """Return which keys of the addition follow each other, with none of the output's between."""
    keys = [
        (found, connection is coming)
        for connection in (output, coming)
        for (found,) in connection.execute(f"SELECT CAST({key} AS BLOB) FROM {table}")
    ]
    runs: list[Run] = []
    goes_on = False
    for found, is_coming in sorted(keys):
        if is_coming:
            runs.append(Run(runs.pop().first if goes_on else found, found))
        goes_on = is_coming
    return runs


def require_led(connection: sqlite3.Connection, table: str) -> None:
    """Refuse a table of which a tree is not in the order of simulations, by the bytes of their ids.

    Raises:
        ValueError: If there is one.
    """
    led = connection.execute(
        "SELECT found.name, found.desc, found.coll FROM pragma_index_list(?) AS tree,"
        " pragma_index_xinfo(tree.name) AS found WHERE found.seqno = 0",
        (table,),
    ).fetchall()
    if not led or set(led) != {(_KEYS.get(table, SIMULATION_ID), 0, "BINARY")}:
        raise ValueError(f"table {table} is in another order")


def _header(descriptor: int) -> Header:
    return read_header(os.pread(descriptor, HEADER_BYTES, 0))


@contextmanager
def _descriptor(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
