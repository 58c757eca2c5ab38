"""Archive: a database becomes a compressed file that holds its own checksum, and back.

An archive is one frame of Zstandard (RFC 8878), which `zstd -d` reads, and behind it the seal: a
skippable frame with the SHA-256 and the size of the database as JSON.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.errors import FarmMergeError, InvalidOptionError, OutputError, ShardError
from farm_merge.housekeeping import Sizes, writing
from farm_merge.merge.inputs.file import look_at, snapshot
from farm_merge.progress import silent
from farm_merge.publish import locked, new_output
from farm_merge.read.open import reading

if TYPE_CHECKING:
    from os import PathLike

    from farm_merge.merge.inputs.file import InputFile
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
    progress: ReportCount | None = None,
) -> Sizes:
    """Compress a database into a new file that `zstd -d` and `restore_database` read.

    It is read again before it appears, and compared with the SHA-256 of the database at its end.

    Args:
        database: A shard or experiment database; it stays.
        archive: The new file, such as `exp.db.zst`.
        level: Of Zstandard, 1 to 22.
        progress: Called with the bytes read, and of all.

    Returns:
        The bytes of the database, and of the archive.

    Raises:
        InvalidOptionError: If there is no such level.
        OutputError: If the archive is there already or cannot be written.
        ShardError: If the database cannot be read, or changes meanwhile.
    """
    if not isinstance(level, int) or not 1 <= level <= _HIGHEST_LEVEL:
        raise InvalidOptionError(f"level is {level!r}; it takes a number from 1 to 22")
    path, archive = Path(database), Path(archive)
    _require_zstandard()
    _require_new(archive)
    with reading(path):
        pass  # it is one of ours
    with (
        writing(archive),
        locked(path, silent),
        locked(archive, silent),
        new_output(archive) as partial,
    ):
        copy = partial.with_name(f"{partial.name}.copy")
        try:
            resting = _resting(path)
            if resting is None:
                snapshot(path, copy)
            size = _pack(copy if resting is None else path, partial, level, progress or silent)
            if resting is not None and _resting(path) != resting:
                raise ShardError(
                    "changed while it was archived", path=path, remedy="archive it again"
                )
        finally:
            copy.unlink(missing_ok=True)
        _unpack(partial, None, silent)
        compressed = partial.stat().st_size
    return Sizes(size, compressed)


def restore_database(
    archive: str | PathLike[str],
    database: str | PathLike[str],
    *,
    progress: ReportCount | None = None,
) -> int:
    """Make a database of an archive again; it appears whole, and only if every byte is right.

    Args:
        archive: What `archive_database` made.
        database: The new database.
        progress: Called with the bytes written, and of all.

    Returns:
        Its bytes.

    Raises:
        OutputError: If the database is there already or cannot be written.
        ShardError: If the archive is not one, or damaged.
    """
    database = Path(database)
    _require_zstandard()
    _require_new(database)
    with writing(database), locked(database, silent), new_output(database) as partial:
        return _unpack(Path(archive), partial, progress or silent)


def _require_zstandard() -> None:
    try:
        import zstandard  # noqa: F401
    except ImportError as exc:
        raise FarmMergeError(
            "archives need the package zstandard", remedy="pip install 'farm-merge[parquet]'"
        ) from exc


def _require_new(path: Path) -> None:
    if path.exists():
        raise OutputError("is there already", path=path, remedy="choose another name")


def _resting(path: Path) -> InputFile | None:
    """Return a database whose bytes are all there is; None if it is open, or has a WAL."""
    try:
        file = look_at(path)
    except ShardError:
        return None  # what is wrong with it, its snapshot reports
    return None if file.companions else file


def _pack(source: Path, packed: Path, level: int, progress: ReportCount) -> int:
    """Compress a file, and seal it; return its bytes."""
    import zstandard

    digest, size, total = hashlib.sha256(), 0, source.stat().st_size
    compressor = zstandard.ZstdCompressor(level, write_checksum=True, threads=-1)
    with packed.open("wb") as file:
        with (
            source.open("rb") as plain,
            compressor.stream_writer(file, size=total, closefd=False) as stream,
        ):
            while chunk := plain.read(_CHUNK_BYTES):
                digest.update(chunk)
                stream.write(chunk)
                size += len(chunk)
                progress(size, total)
        seal = json.dumps({"sha256": digest.hexdigest(), "size_bytes": size}).encode()
        file.write(struct.pack("<II", _SKIPPABLE_FRAME, len(seal)) + seal)
    return size


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
                plain.write(chunk)
                size += len(chunk)
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
