"""Archive: a database becomes a compressed file that holds its own checksum, and back.

An archive is one frame of Zstandard (RFC 8878), which `zstd -d` reads, and behind it the seal: a
skippable frame with the SHA-256 and the size of the database as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.errors import InvalidOptionError, ShardError, StillWrittenError
from farm_merge.extras import missing_extra
from farm_merge.housekeeping import Sizes
from farm_merge.merge.inputs.locks import is_locked
from farm_merge.merge.inputs.snapshot import held, snapshot
from farm_merge.progress import counting, silent
from farm_merge.publish import locked, new_output, require_new, workshop, writing
from farm_merge.read.open import reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO
    from os import PathLike

    from farm_merge.progress import ReportCount

__all__ = ["archive_database", "restore_database"]

_CHUNK_BYTES = 1 << 20
_SKIPPABLE_FRAME = 0x184D2A50
"""What a Zstandard reader passes over (RFC 8878, section 3.1.2)."""

_LONGEST_SEAL_BYTES = 4096
_HIGHEST_LEVEL = 22


def archive_database(
    database: str | PathLike[str],
    archive: str | PathLike[str],
    *,
    level: int = 10,
    dry_run: bool = False,
    progress: ReportCount | bool | None = None,
) -> Sizes:
    """Compress a database into a new file that `zstd -d` and `restore_database` read.

    It is read again before it appears, and compared with the SHA-256 of the database at its end.

    Args:
        database: A shard or experiment database; it stays.
        archive: The new file, such as `exp.db.zst`.
        level: Of Zstandard, 1 to 22.
        dry_run: Only look whether it can be made; how large it would be is not known.
        progress: Called with the bytes read, and of all; True draws a bar.

    Returns:
        The bytes of the database, and of the archive.

    Raises:
        InvalidOptionError: If there is no such level.
        OutputError: If the archive is there already or cannot be written.
        ShardError: If the database cannot be read.
    """
    if not isinstance(level, int) or not 1 <= level <= _HIGHEST_LEVEL:
        raise InvalidOptionError(f"level is {level!r}; it takes a number from 1 to 22")
    path, archive = Path(database), Path(archive)
    _require_zstandard()
    with reading(path):
        pass  # it is one of ours
    if dry_run:
        require_new(archive)
        return Sizes(path.stat().st_size, 0)
    with (
        writing(archive),
        locked(archive, silent),
        workshop(archive) as folder,
        new_output(archive, folder) as partial,
        counting(progress, "archive", "B") as report,
    ):
        size = _pack_database(path, partial, folder, level, report)
        _unpack(partial, None, silent)
        compressed = partial.stat().st_size
    return Sizes(size, compressed)


def restore_database(
    archive: str | PathLike[str],
    database: str | PathLike[str],
    *,
    dry_run: bool = False,
    progress: ReportCount | bool | None = None,
) -> int:
    """Make a database of an archive again; it appears whole, and only if every byte is right.

    Args:
        archive: What `archive_database` made.
        database: The new database.
        dry_run: Only check every byte of the archive.
        progress: Called with the bytes written, and of all; True draws a bar.

    Returns:
        Its bytes.

    Raises:
        OutputError: If the database is there already or cannot be written.
        ShardError: If the archive is not one, or damaged.
    """
    database = Path(database)
    _require_zstandard()
    if dry_run:
        require_new(database)
        with counting(progress, "check", "B") as report:
            return _unpack(Path(archive), None, report)
    with (
        writing(database),
        locked(database, silent),
        workshop(database) as folder,
        new_output(database, folder) as partial,
        counting(progress, "restore", "B") as report,
    ):
        return _unpack(Path(archive), partial, report)


def _require_zstandard() -> None:
    try:
        import zstandard  # noqa: F401
    except ImportError as exc:
        raise missing_extra("archives need the package zstandard", "parquet") from exc


def _pack_database(
    path: Path, packed: Path, folder: Path, level: int, progress: ReportCount
) -> int:
    """Compress what one commit left in a database; return its bytes.

    Its own bytes, as long as nobody wants to write them; then a copy, so that nobody waits long.
    """
    with suppress(ShardError), held(path) as file:
        return _pack(file, packed, level, progress)
    copy = folder / "copy.db"
    snapshot(path, copy)
    with copy.open("rb", buffering=0) as file:
        return _pack(file, packed, level, progress)


def _pack(source: FileIO, packed: Path, level: int, progress: ReportCount) -> int:
    """Compress a file, and seal it; return its bytes."""
    import zstandard

    digest, size, total = hashlib.sha256(), 0, os.fstat(source.fileno()).st_size
    compressor = zstandard.ZstdCompressor(level, write_checksum=True, threads=-1)
    with packed.open("wb") as file:
        # Not its context: that would compress the end of what somebody wants to write.
        stream = compressor.stream_writer(file, size=total, closefd=False)
        for chunk in _chunks(source):
            digest.update(chunk)
            stream.write(chunk)
            size += len(chunk)
            progress(size, total)
        stream.close()  # type: ignore[no-untyped-call]
        seal = json.dumps({"sha256": digest.hexdigest(), "size_bytes": size}).encode()
        file.write(struct.pack("<II", _SKIPPABLE_FRAME, len(seal)) + seal)
    return size


def _chunks(file: FileIO) -> Iterator[bytes]:
    """Yield the bytes of a file.

    Raises:
        StillWrittenError: If a process wants to write it.
    """
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk
        if is_locked(file):
            raise StillWrittenError("is to be written")


def _unpack(archive: Path, target: Path | None, progress: ReportCount) -> int:
    """Unpack an archive into a file, or only read it; compare it with its seal."""
    import zstandard

    seal = _read_seal(archive)
    digest, size = hashlib.sha256(), 0
    descriptor = os.open(target or os.devnull, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as plain, archive.open("rb") as packed:
            for chunk in zstandard.ZstdDecompressor().read_to_iter(packed):
                digest.update(chunk)
                size += len(chunk)
                if size > seal["size_bytes"]:
                    raise ShardError("damaged; it holds more than was archived", path=archive)
                plain.write(chunk)
                progress(size, seal["size_bytes"])
    except zstandard.ZstdError as exc:
        raise ShardError(f"damaged ({exc})", path=archive) from exc
    if {"sha256": digest.hexdigest(), "size_bytes": size} != seal:
        raise ShardError("damaged; its bytes are not those that were archived", path=archive)
    return size


def _read_seal(archive: Path) -> dict[str, Any]:
    """Read the frame that ends an archive."""
    try:
        with archive.open("rb") as file:
            file.seek(max(0, archive.stat().st_size - _LONGEST_SEAL_BYTES))
            end = file.read()
    except OSError as exc:
        raise ShardError(f"cannot be read ({exc.strerror})", path=archive) from exc
    at = end.rfind(struct.pack("<I", _SKIPPABLE_FRAME))
    try:
        (length,) = struct.unpack_from("<I", end, at + 4)
        seal = json.loads(end[at + 8 : at + 8 + length])
        return {"sha256": str(seal["sha256"]), "size_bytes": int(seal["size_bytes"])}
    except (ValueError, KeyError, TypeError, struct.error) as exc:
        raise ShardError(
            "not an archive of farm-merge, or its end is missing", path=archive
        ) from exc
