"""Output: what may become an experiment database, and how one is read, built and extended."""

from __future__ import annotations

import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from farm_merge.errors import OutputError
from farm_merge.schema import SCHEMA_VERSION, is_current, is_experiment
from farm_merge.sqlite import (
    BUSY_TIMEOUT_SECONDS,
    COMPANION_SUFFIXES,
    connect,
    file_uri,
    make_disposable,
    sqlite3,
    transaction,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "HALF_WRITTEN",
    "HALF_WRITTEN_REMEDY",
    "building",
    "existing_output",
    "read_output",
    "reading_output",
    "require_experiment",
    "require_free",
    "require_usable",
    "settle",
    "settle_output",
    "writing",
]


HALF_WRITTEN = "was being written by a process that was killed, and SQLite may not undo that here"
HALF_WRITTEN_REMEDY = (
    "make the file and its folder writable, or copy it with its -journal to where they are"
)


def require_usable(output: Path) -> None:
    """Refuse an output that cannot become, or is not, an experiment database of today's schema.

    Raises:
        OutputError: With what is in the way, and the remedy.
    """
    if output.exists():
        _require_current(output)
    else:
        require_free(output)


def require_free(output: Path) -> None:
    """Refuse a name under which a new database would not be what it is.

    Raises:
        OutputError: With what is in the way, and the remedy.
    """
    if output.is_symlink() and not output.exists():
        raise OutputError(
            "is a link that points nowhere", path=output, remedy="remove it or mend it"
        )
    for suffix in COMPANION_SUFFIXES:
        beside = output.with_name(output.name + suffix)
        if beside.exists() or beside.is_symlink():
            raise OutputError(
                "is there without its database, and SQLite would replay it over the new one",
                path=beside,
                remedy="move it away, or put its database back",
            )


def require_experiment(output: Path) -> None:
    """Refuse an output that cannot become, or is not, an experiment database.

    Raises:
        OutputError: With what is in the way, and the remedy.
    """
    require_usable(output)
    if not output.exists():
        return
    with read_output(output) as connection:
        _require_no_triggers(output, connection)
        if not is_experiment(connection):
            raise OutputError(
                "is the shard of a simulation, and a merge would put the others into it",
                path=output,
                remedy=f"choose another output: farm-merge {output} … -o NEW.db",
            )


def _require_current(output: Path) -> None:
    if not output.is_file():
        raise OutputError("not a regular file, so it cannot be the output", path=output)
    try:
        with read_output(output) as connection:
            if is_current(connection):
                return
        why = ""
    except sqlite3.OperationalError as exc:
        if "readonly" in str(exc):
            raise OutputError(HALF_WRITTEN, path=output, remedy=HALF_WRITTEN_REMEDY) from exc
        raise OutputError(f"SQLite cannot read it ({exc})", path=output) from exc
    except sqlite3.DatabaseError as exc:
        why = f" ({exc})"
    raise OutputError(
        "not an experiment database of today's schema"
        f" (version {SCHEMA_VERSION}){why}, so it can be an input, but not an output",
        path=output,
        remedy=f"choose another: farm-merge {output} … -o NEW.db",
    )


@contextmanager
def read_output(output: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that only reads the output, as any other reader would."""
    # Not mode=ro: the WAL of a killed merge has to be recovered before it can be read.
    with closing(connect(file_uri(output, mode="rw"), read_only=True)) as connection:
        yield connection


@contextmanager
def reading_output(output: Path) -> Iterator[sqlite3.Connection]:
    """Yield what `read_output` does, and name the output in what SQLite raises.

    Raises:
        OutputError: In the place of its errors.
    """
    try:
        with read_output(output) as connection:
            yield connection
    except sqlite3.Error as exc:
        raise OutputError(f"SQLite cannot read it ({exc})", path=output) from exc


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Name the file in what SQLite or the system raises against writing it.

    Raises:
        OutputError: In the place of their errors.
    """
    try:
        yield
    except sqlite3.Error as exc:
        raise OutputError(f"SQLite cannot write it ({exc})", path=path) from exc
    except OSError as exc:
        raise OutputError(f"cannot be written ({exc.strerror or exc})", path=path) from exc
    except MemoryError as exc:
        raise OutputError("there is not enough memory to write it", path=path) from exc


@contextmanager
def building(partial: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to a database that nobody else can have open, and nobody would miss."""
    partial.touch()  # as the umask says; SQLite would let its owner alone write it
    with closing(connect(file_uri(partial))) as connection:
        make_disposable(connection)
        # Without a journal, to roll back what was spilled from the cache would destroy the file:
        # an input that turns out damaged must cost itself alone.
        connection.execute("PRAGMA main.journal_mode=MEMORY")
        connection.execute("PRAGMA cache_size=-65536")
        yield connection


@contextmanager
def existing_output(output: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that extends an existing database; its readers go on reading (WAL).

    Raises:
        OutputError: If it has triggers.
    """
    with closing(connect(file_uri(output, mode="rw"))) as connection:
        _require_no_triggers(output, connection)
        _share(connection)
        connection.execute("PRAGMA synchronous=NORMAL")
        try:
            yield connection
        finally:
            settle(connection)


def _share(connection: sqlite3.Connection) -> None:
    """Let others read what is written meanwhile; wait for who writes it now.

    SQLite does not wait when a database changes to WAL mode, but when a transaction begins it does.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc) or time.monotonic() > deadline:
                raise
            with transaction(connection, "IMMEDIATE"):
                pass
        else:
            return


def _require_no_triggers(output: Path, connection: sqlite3.Connection) -> None:
    """Refuse a database that would run what somebody wrote into it; SQLite has no PRAGMA for that.

    Raises:
        OutputError: If it has a trigger.
    """
    found = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchone()
    if found:
        raise OutputError(
            f"has a trigger ({found[0]}), which would run when it is written",
            path=output,
            remedy=f"merge it into one without: farm-merge {output} -o NEW.db",
        )


def settle_output(output: Path) -> None:
    """Make one file again of a database that a killed merge left in WAL mode."""
    with closing(connect(file_uri(output, mode="rw"))) as connection:
        if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
            settle(connection)


def settle(connection: sqlite3.Connection) -> None:
    """Move the WAL into the file and leave the file alone, unless others have it open."""
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA busy_timeout=1000")
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.OperationalError:
        pass  # it stays in WAL mode, which is as safe; the last one to close it cleans up
