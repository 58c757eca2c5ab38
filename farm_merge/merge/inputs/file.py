"""The file of an input: one look at its raw bytes, and reading it without leaving a trace.

SQLite writes even when it only reads: a file in WAL mode gets `-wal` and `-shm` beside it, and a
journal that a killed process left is rolled back into the file. So a file that is alone is
opened `immutable`, and one with a WAL or a journal is read from a private copy of both.

Closing any descriptor of a database drops this process's SQLite locks on it
(https://www.sqlite.org/howtocorrupt.html, section 2.2), so a file that is open here is refused, and
every raw look ends before a connection opens.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import xxhash

from farm_merge.errors import ShardError, StillWrittenError
from farm_merge.merge.inputs.formats import format_of
from farm_merge.merge.inputs.locks import is_locked, is_wal_locked
from farm_merge.merge.inputs.transcode import transcode
from farm_merge.merge.inputs.unpack import unpack
from farm_merge.merge.pages.header import HEADER_BYTES, read_header
from farm_merge.merge.tables.structure import read_structure
from farm_merge.sqlite import add_collations, connect, file_uri, sqlite3

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

    from farm_merge.merge.inputs.formats import Format
    from farm_merge.merge.pages.header import Header

__all__ = [
    "Identity",
    "InputFile",
    "NotADatabaseError",
    "companions",
    "fingerprint",
    "has_graftable_pages",
    "identify",
    "look_at",
    "look_into",
    "opened",
    "readable",
    "require_unchanged",
]

_CHUNK_BYTES = 1 << 20

_STEPS_AT_ONCE = 1_000_000
_MOST_STEPS, _MOST_STEPS_A_BYTE = 10**10, 5_000
"""What SQLite's virtual machine may do to read a file: many minutes, and hundred times of what was
seen of any real one."""


class Identity(NamedTuple):
    """Which file is at a path, and when it was changed last."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int


class InputFile(NamedTuple):
    """An input as a file.

    Attributes:
        path: Where it is.
        identity: Which file was there when it was looked at.
        header: What is in its first bytes.
        companions: The WAL and the journal beside it, where they hold anything: which files.
        snapshot: A copy that is read in its stead, since a run is writing the file.
    """

    path: Path
    identity: Identity
    header: Header
    companions: tuple[tuple[Path, Identity], ...] = ()
    snapshot: Path | None = None

    @property
    def readable_path(self) -> Path:
        """The file whose bytes are read."""
        return self.snapshot or self.path


class NotADatabaseError(ShardError):
    """A file is something else than a SQLite database.

    Attributes:
        format: What it is.
    """

    def __init__(self, path: Path, found: Format) -> None:
        super().__init__(found.name, path=path, remedy=found.remedy)
        self.format = found


def look_into(path: Path, folder: Path) -> InputFile:
    """Look at a file; if it is compressed, at what it holds.

    Args:
        path: The file.
        folder: A private folder, for what a compressed file holds; read as long as it is there.

    Raises:
        StillWrittenError: If another process is writing it.
        ShardError: If it is no SQLite database, cannot be read, or is open in this process.
    """
    try:
        return look_at(path)
    except NotADatabaseError as exc:
        if not exc.format.is_packed:
            raise
        packed = exc.format
    identity = identify(path)
    copy = folder / f"unpacked-{identity.device}-{identity.inode}.db"
    copy.unlink(missing_ok=True)
    unpack(path, packed, copy)
    try:
        return InputFile(path, identity, look_at(copy).header, snapshot=copy)
    except ShardError as exc:
        reason = f"{packed.name} that holds no SQLite database: {exc.reason}"
        raise ShardError(reason, path=path, remedy=exc.remedy) from exc


def look_at(path: Path) -> InputFile:
    """Look at a file once: which it is, what is in its header, and whether it is being written.

    Raises:
        StillWrittenError: If another process is writing it.
        NotADatabaseError: If it is something else.
        ShardError: If it cannot be read, or is open in this process.
    """
    _refuse_open_here(path, identify(path))
    try:
        with path.open("rb", buffering=0) as file:
            found = _identity(path, os.fstat(file.fileno()))
            head = file.read(HEADER_BYTES)
            is_written = is_locked(file)
        is_written = is_written or is_wal_locked(path)
        header = read_header(head)
        beside = companions(path)
    except ValueError as exc:
        raise NotADatabaseError(path, format_of(head)) from exc
    except OSError as exc:
        raise ShardError(f"cannot be read ({exc.strerror})", path=path) from exc
    if is_written:
        raise _still_written(path)
    return InputFile(path, found, header, beside)


def identify(path: Path) -> Identity:
    """Return the identity of a regular file.

    Raises:
        ShardError: If there is nothing at `path` that could be read as a database.
    """
    try:
        found = path.stat()
    except FileNotFoundError as exc:
        what = "a link that points nowhere" if path.is_symlink() else "no such file"
        raise ShardError(what, path=path) from exc
    except OSError as exc:
        raise ShardError(f"cannot be looked at ({exc.strerror})", path=path) from exc
    return _identity(path, found)


def _identity(path: Path, found: os.stat_result) -> Identity:
    if not stat.S_ISREG(found.st_mode):
        raise ShardError("not a regular file", path=path)
    if found.st_size == 0:
        reason = "empty; the run that should have written it did not get that far"
        raise ShardError(reason, path=path)
    return Identity(
        *map(
            _signed,
            (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns),
        )
    )


def _signed(number: int) -> int:
    """Return a number that SQLite can store: times after 2262 and large inodes are over 63 bits."""
    return (number + 2**63) % 2**64 - 2**63


def require_unchanged(file: InputFile) -> None:
    """Check that a file is what it was when it was looked at.

    Raises:
        ShardError: If it changed, or went.
    """
    if file.snapshot is not None:
        return
    if identify(file.path) != file.identity or companions(file.path) != file.companions:
        raise ShardError(
            "changed after it was inspected",
            path=file.path,
            remedy="run the merge again when it rests",
        )


def companions(path: Path) -> tuple[tuple[Path, Identity], ...]:
    """Return the WAL and the journal beside a file, where they hold anything, and which they are.

    Raises:
        ShardError: If they cannot be looked at.
    """
    found = []
    for suffix in ("-wal", "-journal"):
        beside = f"{path}{suffix}"
        try:
            status = os.stat(beside)  # noqa: PTH116  (asked four times of each of thousands)
        except FileNotFoundError:
            continue
        except OSError as exc:
            raise ShardError(f"cannot be looked at ({exc.strerror})", path=Path(beside)) from exc
        if status.st_size > 0:
            found.append((Path(beside), _identity(Path(beside), status)))
    return tuple(found)


def fingerprint(file: InputFile) -> str:
    """Return a hash of the file and of the WAL or journal beside it, as 32 hexadecimal digits.

    Raises:
        ShardError: If the file cannot be read.
    """
    path = file.readable_path
    digest = xxhash.xxh3_128()
    try:
        for part in (path, *(companion for companion, _ in companions(path))):
            with part.open("rb", buffering=0) as opened_part:
                _update(digest, opened_part)
    except OSError as exc:
        raise ShardError(f"cannot be read ({exc.strerror})", path=file.path) from exc
    return digest.hexdigest()


@contextmanager
def opened(file: InputFile) -> Iterator[sqlite3.Connection]:
    """Yield a connection that reads a file, attached as `source`, untrusted and untouched.

    Raises:
        ShardError: If SQLite cannot read the file.
    """
    with readable(file) as uri:
        try:
            with closing(connect()) as connection:
                connection.execute("ATTACH DATABASE ? AS source", (uri,))
                _bound(connection, file.identity.size_bytes)
                connection.execute("PRAGMA query_only=ON")
                _require_names(file.path, connection)
                add_collations(connection, read_structure(connection, "source").collations)
                yield connection
        except (sqlite3.Error, UnicodeDecodeError) as exc:  # its words may be damaged too
            identify(file.path)  # it may have gone meanwhile
            raise ShardError(f"SQLite cannot read it ({exc})", path=file.path) from exc


def _bound(connection: sqlite3.Connection, size_bytes: int) -> None:
    """Let SQLite stop when it works longer than a file of this size explains."""
    left = (_MOST_STEPS + _MOST_STEPS_A_BYTE * size_bytes) // _STEPS_AT_ONCE

    def count() -> int:
        nonlocal left
        left -= 1
        return left < 0  # then the statement is interrupted

    connection.set_progress_handler(count, _STEPS_AT_ONCE)


def _require_names(path: Path, connection: sqlite3.Connection) -> None:
    """Refuse a name that cannot be written in a statement.

    Raises:
        ShardError: If there is one.
    """
    (nul,) = connection.execute(
        "SELECT EXISTS (SELECT 1 FROM source.sqlite_schema WHERE instr(name, char(0)))"
    ).fetchone()
    if nul:
        raise ShardError("a name in its schema holds a NUL character", path=path)


@contextmanager
def readable(file: InputFile) -> Iterator[str]:
    """Yield a URI under which SQLite reads what is committed in a file, and touches nothing else.

    Text in UTF-16 comes as UTF-8, since SQLite attaches no database of another encoding.

    Raises:
        ShardError: If the file is damaged or changes while it is copied.
    """
    path = file.readable_path
    beside = companions(path)
    with ExitStack() as stack:
        uri = file_uri(path, mode="ro", immutable=1)
        if beside:
            folder = stack.enter_context(TemporaryDirectory(prefix="farm-merge-"))
            before = identify(path)
            for part in (path, *(companion for companion, _ in beside)):
                _copy(file.path, part, Path(folder, part.name))
            if identify(path) != before or companions(path) != beside:
                raise _still_written(file.path)
            uri = file_uri(Path(folder, path.name))
        if file.header.is_utf16:
            folder = stack.enter_context(TemporaryDirectory(prefix="farm-merge-"))
            twin = Path(folder, "utf-8.db")
            try:
                transcode(uri, twin)
            except (sqlite3.Error, sqlite3.Warning, ValueError) as exc:  # a name with a NUL
                raise ShardError(f"SQLite cannot read it ({exc})", path=file.path) from exc
            uri = file_uri(twin)
        yield uri


def _copy(path: Path, part: Path, copy: Path) -> None:
    try:
        shutil.copyfile(part, copy)
    except OSError as exc:
        raise ShardError(
            f"cannot be copied, which it takes to read it ({exc.strerror})",
            path=path,
            remedy="let the environment's TMPDIR name a folder with more room",
        ) from exc


def has_graftable_pages(file: InputFile) -> bool:
    """Return whether a file's pages can be copied into a file that this SQLite made."""
    return (
        file.header.allows_grafting
        and file.header.size_bytes == file.identity.size_bytes
        and not file.companions
        and file.snapshot is None
    )


def _refuse_open_here(path: Path, wanted: Identity) -> None:
    for descriptor in os.listdir("/dev/fd"):  # noqa: PTH208  (asked of each of thousands)
        try:
            found = os.fstat(int(descriptor))
        except OSError:  # the descriptor of the listing itself
            continue
        if (found.st_dev, found.st_ino) == (wanted.device, wanted.inode):
            raise ShardError(
                "is open in this process", path=path, remedy="close it before merging it"
            )


def _still_written(path: Path) -> StillWrittenError:
    return StillWrittenError(
        "its run is writing it", path=path, remedy="`include_running` takes what is committed"
    )


def _update(digest: xxhash.xxh3_128, file: FileIO) -> None:
    size = os.fstat(file.fileno()).st_size
    chunk = memoryview(bytearray(min(_CHUNK_BYTES, size + 1)))
    while count := file.readinto(chunk):
        digest.update(chunk[:count])
