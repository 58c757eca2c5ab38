"""Keep house: remove simulations, split a database, give space back, archive and restore it."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3 as standard_sqlite3
import struct
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from farm_merge.errors import FarmMergeError, OutputError, ShardError
from farm_merge.merge.inputs.file import companions, snapshot
from farm_merge.merge.tables.changes import index_changes, table_changes
from farm_merge.merge.tables.structure import read_structure, today
from farm_merge.merge.write.registry import column_list, remove_simulation
from farm_merge.publish import (
    building,
    existing_output,
    locked,
    new_folder,
    new_output,
    sync,
)
from farm_merge.reading import chosen_simulations, parsed_parameters, reading
from farm_merge.schema import LEDGER, create_schema
from farm_merge.sqlite import attached, file_uri, quoted, sqlite3, transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from os import PathLike

    from farm_merge.merge.tables.structure import Structure

__all__ = [
    "Vacuumed",
    "archive_database",
    "remove_simulations",
    "restore_database",
    "split_database",
    "vacuum_database",
]

_CHUNK_BYTES = 1 << 20
_SKIPPABLE_FRAME = 0x184D2A50
"""What a Zstandard reader passes over (RFC 8878, section 3.1.2); ours ends the file."""

_LONGEST_NAME_BYTES = 200


def _silent(*_: object) -> None:
    """Report to nobody."""


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Tell what SQLite or the system has against writing, with the file."""
    try:
        yield
    except (sqlite3.DatabaseError, standard_sqlite3.DatabaseError) as exc:
        raise OutputError(f"{path}: SQLite cannot write it ({exc})") from exc
    except OSError as exc:
        raise OutputError(f"{path}: cannot be written ({exc.strerror or exc})") from exc


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """The bytes of a database before and after."""

    before: int
    after: int


def remove_simulations(
    database: str | PathLike[str],
    simulations: Iterable[str],
    *,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = _silent,
) -> dict[str, int]:
    """Remove simulations, with their entries in the registry and the ledger; all or none.

    What they took stays in the file as free pages, until it is filled again or vacuumed.

    Args:
        database: An experiment database.
        simulations: Their ids.
        dry_run: Only count.
        progress: Called with the number of simulations removed, and of all.

    Returns:
        The data rows of each.

    Raises:
        FarmMergeError: If one of them is not there; nothing is removed.
        OutputError, ShardError: If the database cannot be read or written.
    """
    path, chosen = Path(database), list(dict.fromkeys(simulations))
    with reading(path) as connection:
        missing = set(chosen) - set(chosen_simulations(connection))
        if missing:
            raise FarmMergeError(
                f"{path}: has no simulation {', '.join(sorted(missing))}; see farm-merge list"
            )
        if dry_run:
            structure = read_structure(connection)
            return {each: _count(connection, structure, each) for each in chosen}
    with _told(path), locked(path, _silent), existing_output(path) as connection:
        structure = read_structure(connection)
        rows: dict[str, int] = {}
        with transaction(connection, "IMMEDIATE"):
            for number, each in enumerate(chosen, start=1):
                rows[each] = remove_simulation(connection, structure, each)
                progress(number, len(chosen))
    return rows


def split_database(
    database: str | PathLike[str],
    folder: str | PathLike[str],
    *,
    by: str | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] = _silent,
) -> dict[str, list[str]]:
    """Write each simulation, or all with one value of a parameter, into a database of its own.

    Merging them again gives the same content. The database itself stays as it is.

    Args:
        database: An experiment database.
        folder: Where they go; new, or empty. It appears whole.
        by: A parameter; None for a shard a simulation.
        dry_run: Only tell.
        progress: Called with the number of databases written, and of all.

    Returns:
        The simulations in each file, by its name.

    Raises:
        FarmMergeError: If no simulation has that parameter.
        OutputError, ShardError: If something cannot be read or written.
    """
    path, folder = Path(database), Path(folder)
    with reading(path) as connection:
        structure = read_structure(connection)
        groups = _groups(connection, by)
    files = {_file_name(name): ids for name, ids in groups.items()}
    if len({name.casefold() for name in files}) < len(groups):
        raise FarmMergeError(f"{path}: two of the files would get one name; rename a simulation")
    if dry_run:
        return files
    with _told(folder), new_folder(folder) as partial:
        for number, (name, ids) in enumerate(files.items(), start=1):
            _write_part(partial / name, path, structure, ids)
            progress(number, len(files))
    return files


def vacuum_database(database: str | PathLike[str]) -> Vacuumed:
    """Give back the space that removed simulations left, by SQLite's own VACUUM.

    It is one transaction: a kill leaves the file as it was.

    Raises:
        OutputError: If it cannot be written, or there is no room for a second copy.
    """
    path = Path(database)
    with reading(path):
        before = path.stat().st_size
    # VACUUM builds the file anew in a temporary one, which pysqlite3's wheels keep in memory; so
    # Python's own SQLite does it, while this process has no other connection to the file. Where
    # there is room for the database, there is room for that.
    os.environ.setdefault("SQLITE_TMPDIR", str(path.absolute().parent))
    with _told(path), locked(path, _silent):
        with existing_output(path):
            pass  # now it is one file, unless others have it open
        with closing(
            standard_sqlite3.connect(path, isolation_level=None, timeout=60)
        ) as connection:
            connection.execute("PRAGMA temp_store=FILE")
            connection.execute("VACUUM")
    return Vacuumed(before, path.stat().st_size)


def archive_database(
    database: str | PathLike[str],
    archive: str | PathLike[str],
    *,
    level: int = 10,
    progress: Callable[[int, int], None] = _silent,
) -> Vacuumed:
    """Compress a database into a new file that `zstd -d` and `restore_database` read.

    The SHA-256 of the database stands at its end. It is read again before it appears.

    Args:
        database: A shard or experiment database; it stays.
        archive: The new file, `exp.db.zst` say.
        level: Of Zstandard, 1 to 22.
        progress: Called with the bytes read, and of all.

    Returns:
        The bytes of the database, and of the archive.

    Raises:
        OutputError: If the archive is there already or cannot be written.
        ShardError: If the database cannot be read.
    """
    zstandard = _zstandard()
    path, archive = Path(database), Path(archive)
    if archive.exists():
        raise OutputError(f"{archive}: is there already; choose another name")
    with reading(path):
        pass  # it is one of ours
    with _told(archive), locked(path, _silent), new_output(archive) as partial:
        copy = partial.with_name(f"{partial.name}.copy")
        try:
            source = path
            if companions(path):
                snapshot(path, copy)
                source = copy
            digest, size, total = hashlib.sha256(), 0, source.stat().st_size
            with partial.open("wb") as packed:
                compressor = zstandard.ZstdCompressor(level, write_checksum=True, threads=-1)
                with (
                    source.open("rb") as plain,
                    compressor.stream_writer(packed, size=total, closefd=False) as stream,
                ):
                    while chunk := plain.read(_CHUNK_BYTES):
                        digest.update(chunk)
                        stream.write(chunk)
                        size += len(chunk)
                        progress(size, total)
                packed.write(_seal(digest.hexdigest(), size))
        finally:
            copy.unlink(missing_ok=True)
        _unpack(partial, None)
        compressed = partial.stat().st_size
    return Vacuumed(size, compressed)


def restore_database(
    archive: str | PathLike[str],
    database: str | PathLike[str],
    *,
    progress: Callable[[int, int], None] = _silent,
) -> int:
    """Make a database of an archive again; it appears whole, and only if every byte is right.

    Returns:
        Its bytes.

    Raises:
        OutputError: If the database is there already or cannot be written.
        ShardError: If the archive is none, or damaged.
    """
    database = Path(database)
    if database.exists():
        raise OutputError(f"{database}: is there already; choose another name")
    with _told(database), locked(database, _silent), new_output(database) as partial:
        return _unpack(Path(archive), partial, progress)


def _count(connection: sqlite3.Connection, structure: Structure, simulation_id: str) -> int:
    counts = (
        connection.execute(
            f"SELECT count(*) FROM {quoted(table)} WHERE simulation_id = ?", (simulation_id,)
        ).fetchone()[0]
        for table, definition in structure.content.items()
        if definition.merged
    )
    return sum(counts)


def _groups(connection: sqlite3.Connection, by: str | None) -> dict[str, list[str]]:
    if by is None:
        return {each: [each] for each in chosen_simulations(connection)}
    groups: dict[str, list[str]] = {}
    known = False
    for simulation_id, parameters in connection.execute(
        "SELECT simulation_id, parameters FROM simulations ORDER BY simulation_id"
    ):
        value: Any = parsed_parameters(parameters)
        for name in [by] if by in value else by.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        known = known or value is not None
        text = value if isinstance(value, str) else json.dumps(value)
        groups.setdefault(f"{by}={text}", []).append(simulation_id)
    if not known:
        raise FarmMergeError(f"no simulation has a parameter {by}")
    return groups


def _file_name(name: str) -> str:
    """Return a name for a file, in which what a file system may not like is percent-encoded."""
    encoded = quote(name, safe=" =,+()[]@#")
    if len(encoded) > _LONGEST_NAME_BYTES:
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        encoded = f"{encoded[: _LONGEST_NAME_BYTES - 17]}-{digest}"
    return f"{encoded}.db"


def _write_part(part: Path, database: Path, structure: Structure, ids: list[str]) -> None:
    chosen = json.dumps(ids)
    where = "simulation_id IN (SELECT value FROM json_each(:ids))"
    with (
        building(part) as connection,
        attached(connection, file_uri(database, mode="ro"), "whole"),
        transaction(connection),
    ):
        create_schema(connection)
        for statement in (*table_changes(today(), structure), *index_changes(today(), structure)):
            connection.execute(statement)
        for table in (*structure.content, "simulations", LEDGER):
            definition = structure.tables[table]
            if not (definition.merged or table in {"simulations", LEDGER}):
                continue
            columns = ", ".join(dict.fromkeys(column_list(definition)))
            connection.execute(
                f"INSERT INTO main.{quoted(definition.name)} ({columns}) SELECT {columns}"
                f" FROM whole.{quoted(definition.name)} WHERE {where}",
                {"ids": chosen},
            )
        columns = ", ".join(column_list(structure.tables["experiments"]))
        connection.execute(
            f"INSERT INTO main.experiments ({columns}) SELECT {columns} FROM whole.experiments"
            " WHERE experiment_id IN (SELECT experiment_id FROM main.simulations)"
        )
    sync(part)


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError as exc:
        raise FarmMergeError(
            "archives need the package zstandard: pip install 'farm-merge[parquet]'"
        ) from exc
    return zstandard


def _seal(digest: str, size: int) -> bytes:
    told = json.dumps({"sha256": digest, "size_bytes": size}).encode()
    return struct.pack("<II", _SKIPPABLE_FRAME, len(told)) + told


def _read_seal(archive: Path) -> dict[str, Any]:
    """Read the frame that ends an archive."""
    with archive.open("rb") as file:
        file.seek(max(0, archive.stat().st_size - 4096))
        end = file.read()
    at = end.rfind(struct.pack("<I", _SKIPPABLE_FRAME))
    try:
        (length,) = struct.unpack_from("<I", end, at + 4)
        told = json.loads(end[at + 8 : at + 8 + length])
        return {"sha256": str(told["sha256"]), "size_bytes": int(told["size_bytes"])}
    except (ValueError, KeyError, TypeError, struct.error) as exc:
        raise ShardError(f"{archive}: not an archive of farm-merge, or its end is missing") from exc


def _unpack(
    archive: Path, target: Path | None, progress: Callable[[int, int], None] = _silent
) -> int:
    """Unpack an archive into a file, or only read it; compare it with its checksum."""
    zstandard = _zstandard()
    try:
        seal = _read_seal(archive)
        digest, size = hashlib.sha256(), 0
        descriptor = os.open(target or os.devnull, os.O_WRONLY | os.O_CREAT, 0o666)
        with os.fdopen(descriptor, "wb") as plain, archive.open("rb") as packed:
            for chunk in zstandard.ZstdDecompressor().read_to_iter(packed):
                digest.update(chunk)
                plain.write(chunk)
                size += len(chunk)
                progress(size, seal["size_bytes"])
    except zstandard.ZstdError as exc:
        raise ShardError(f"{archive}: damaged ({exc})") from exc
    except OSError as exc:
        raise ShardError(f"{exc.filename or archive}: {exc.strerror}") from exc
    if {"sha256": digest.hexdigest(), "size_bytes": size} != seal:
        raise ShardError(f"{archive}: damaged; its bytes are not those that were archived")
    return size
