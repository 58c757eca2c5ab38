"""Reading an input without leaving a trace in its folder.

SQLite writes even when it only reads: a file in WAL mode gets `-wal` and `-shm` beside it, and a
journal that a killed process left is rolled back into the file. So a file that stands alone is
opened `immutable`, and one with a WAL or a journal is read from a private copy of both.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import xxhash

from farm_merge.driver import file_uri, sqlite3
from farm_merge.errors import ShardError, StillWrittenError
from farm_merge.merge.transcode import transcode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

__all__ = [
    "MAGIC",
    "STILL_WRITTEN",
    "Identity",
    "attached",
    "companions",
    "connect_untrusted",
    "fingerprint",
    "identify",
    "opened",
    "readable",
    "refuse_open_here",
    "snapshot",
]

_CHUNK_BYTES = 1 << 20
MAGIC = b"SQLite format 3\0"
"""What every database file starts with."""

STILL_WRITTEN = "its run is writing it; --include-running takes what is committed"


@dataclass(frozen=True, slots=True)
class Identity:
    """Which file stands at a path, and when it was changed last."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


def identify(path: Path) -> Identity:
    """Return the identity of a regular file.

    Raises:
        ShardError: If there is nothing at `path` that could be read as a database.
    """
    try:
        found = path.stat()
    except FileNotFoundError as exc:
        what = "a link that points nowhere" if path.is_symlink() else "no such file"
        raise ShardError(f"{path}: {what}") from exc
    except OSError as exc:
        raise ShardError(f"{path}: cannot be looked at ({exc.strerror})") from exc
    if not stat.S_ISREG(found.st_mode):
        raise ShardError(f"{path}: not a regular file")
    if found.st_size == 0:
        raise ShardError(f"{path}: empty; the run that should have written it did not get that far")
    return Identity(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def fingerprint(path: Path) -> str:
    """Return a hash of the file and of the WAL or journal beside it, as 32 hexadecimal digits.

    Raises:
        ShardError: If the file cannot be read, is no SQLite database, or is open in this process,
            where reading it would drop the locks of the other connection
            (https://www.sqlite.org/howtocorrupt.html, section 2.2).
    """
    refuse_open_here(path)
    digest = xxhash.xxh3_128()
    try:
        with path.open("rb", buffering=0) as file:
            head = file.read(100)
            if not head.startswith(MAGIC):
                raise ShardError(f"{path}: not a SQLite database (or an encrypted one)")
            digest.update(head)
            _update(digest, file)
        for companion in companions(path):
            with companion.open("rb", buffering=0) as file:
                _update(digest, file)
    except OSError as exc:
        raise ShardError(f"{path}: cannot be read ({exc.strerror})") from exc
    return digest.hexdigest()


@contextmanager
def readable(path: Path) -> Iterator[str]:
    """Yield a URI under which SQLite reads what is committed in `path`, and touches nothing else.

    Text in UTF-16 comes as UTF-8, since SQLite attaches no database of another encoding.

    Raises:
        ShardError: If the file is damaged or changes while it is copied.
    """
    beside = companions(path)
    with ExitStack() as stack:
        uri = file_uri(path, mode="ro", immutable=1)
        if beside:
            folder = stack.enter_context(TemporaryDirectory(prefix="farm-merge-"))
            before = [identify(file) for file in (path, *beside)]
            for file in (path, *beside):
                shutil.copyfile(file, Path(folder, file.name))
            if [identify(file) for file in (path, *beside)] != before:
                raise StillWrittenError(f"{path}: {STILL_WRITTEN}")
            uri = file_uri(Path(folder, path.name))
        if _is_utf16(path):
            folder = stack.enter_context(TemporaryDirectory(prefix="farm-merge-"))
            twin = Path(folder, "utf-8.db")
            try:
                transcode(uri, twin)
            except sqlite3.DatabaseError as exc:
                raise ShardError(f"{path}: SQLite cannot read it ({exc})") from exc
            uri = file_uri(twin)
        yield uri


def snapshot(path: Path, copy: Path) -> None:
    """Copy what is committed in a file that a run is writing, as any reader of it would see it.

    This is the one way in which an input is opened together with its run: SQLite's own locks keep
    the two apart.

    Raises:
        ShardError: If SQLite cannot read the file.
    """
    try:
        with (
            closing(sqlite3.connect(file_uri(path, mode="ro"), uri=True, timeout=60)) as live,
            closing(sqlite3.connect(file_uri(copy), uri=True)) as taken,
        ):
            live.backup(taken)
            taken.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.DatabaseError as exc:
        raise ShardError(f"{path}: SQLite cannot read it ({exc})") from exc


def connect_untrusted(uri: str = ":memory:") -> sqlite3.Connection:
    """Open a database to which files are attached whose code must not run."""
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    for pragma in ("trusted_schema=OFF", "cell_size_check=ON", "mmap_size=0"):
        connection.execute(f"PRAGMA {pragma}")
    # CHECK expressions of a file are data too: neither a health check nor a copy runs them.
    connection.execute("PRAGMA ignore_check_constraints=ON")
    return connection


@contextmanager
def attached(connection: sqlite3.Connection, uri: str, schema: str) -> Iterator[None]:
    """Attach a database; one at a time, so SQLite's limit of ten is never met."""
    connection.execute(f"ATTACH DATABASE ? AS {schema}", (uri,))
    try:
        yield
    finally:
        connection.execute(f"DETACH DATABASE {schema}")


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that reads `path`, attached as `source`, untrusted and untouched.

    Raises:
        ShardError: If SQLite cannot read the file.
    """
    with readable(path) as uri:
        try:
            with closing(connect_untrusted()) as connection:
                connection.execute("ATTACH DATABASE ? AS source", (uri,))
                connection.execute("PRAGMA query_only=ON")
                yield connection
        except (sqlite3.DatabaseError, UnicodeDecodeError) as exc:  # its words may be damaged too
            identify(path)  # it may have gone meanwhile
            raise ShardError(f"{path}: SQLite cannot read it ({exc})") from exc


def companions(path: Path) -> list[Path]:
    """Return the WAL and the journal beside a file, where they hold anything."""
    beside = [path.with_name(path.name + suffix) for suffix in ("-wal", "-journal")]
    return [each for each in beside if each.exists() and each.stat().st_size > 0]


def _is_utf16(path: Path) -> bool:
    """Read the text encoding in the header (https://www.sqlite.org/fileformat2.html, 1.3.13)."""
    with path.open("rb", buffering=0) as file:
        file.seek(56)
        return int.from_bytes(file.read(4), "big") in {2, 3}


def _update(digest: xxhash.xxh3_128, file: FileIO) -> None:
    chunk = memoryview(bytearray(_CHUNK_BYTES))
    while count := file.readinto(chunk):
        digest.update(chunk[:count])


def refuse_open_here(path: Path) -> None:
    """Refuse a file that this process has open: reading it would drop that connection's locks.

    Raises:
        ShardError: If it is open.
    """
    wanted = path.stat()
    for descriptor in Path("/dev/fd").iterdir():
        try:
            found = os.fstat(int(descriptor.name))
        except OSError:  # the descriptor of the listing itself
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            raise ShardError(f"{path}: is open in this process; close it before merging it")
