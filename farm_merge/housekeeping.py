"""Keep house in a database: remove simulations, give their space back, split it."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.errors import FarmMergeError
from farm_merge.merge.inputs.running import OpenFiles
from farm_merge.merge.tables.changes import change
from farm_merge.merge.tables.structure import read_structure, registry
from farm_merge.merge.write.registry import column_list, remove_simulation
from farm_merge.nearest import with_nearest
from farm_merge.progress import counting, silent
from farm_merge.publish import (
    building,
    existing_output,
    file_name,
    locked,
    new_folder,
    require_empty,
    workshop,
    writing,
)
from farm_merge.read.open import at_rest, reading, reading_rows
from farm_merge.read.where import chosen_simulations, parameter_names, parsed_object
from farm_merge.schema import LEDGER, create_schema
from farm_merge.sqlite import attached, connect, file_uri, quoted, sqlite3, transaction

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from os import PathLike

    from sqlite_utils import Database

    from farm_merge.merge.tables.structure import Structure
    from farm_merge.progress import ReportCount

__all__ = ["Sizes", "remove_simulations", "split_database", "vacuum_database"]

_SAFE = " =,+()[]@#"
"""What the name of a file keeps beside letters and digits."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes before and after."""

    before: int
    after: int


def remove_simulations(
    database: str | PathLike[str],
    simulations: Iterable[str] = (),
    *,
    where: Iterable[str] = (),
    dry_run: bool = False,
    progress: ReportCount | bool | None = None,
) -> dict[str, int]:
    """Remove simulations, with their entries in the registry and the ledger; all or none.

    Their space stays in the file as free pages, until it is filled again or vacuumed.

    Args:
        database: An experiment database.
        simulations: Their ids; without any, all that meet the conditions, or none.
        where: Conditions that all have to hold, as `compare_simulations` takes them.
        dry_run: Only count.
        progress: Called with the number of simulations removed, and of all; True draws a bar.

    Returns:
        The data rows of each.

    Raises:
        FarmMergeError: If one of them is not there; nothing is removed.
        OutputError, ShardError: If the database cannot be read or written.
    """
    path, named, conditions = Path(database), list(simulations), list(where)
    if not named and not conditions:
        return {}
    with reading_rows(path) as db:
        chosen = chosen_simulations(db.conn, conditions, named, path=path)
        if dry_run:
            return {simulation_id: _count(db, simulation_id) for simulation_id in chosen}
    with (
        writing(path),
        locked(path, silent),
        existing_output(path) as connection,
        counting(progress, "remove", "simulations") as report,
    ):
        structure = read_structure(connection)
        rows: dict[str, int] = {}
        with transaction(connection, "IMMEDIATE"):
            for number, simulation_id in enumerate(chosen, start=1):
                rows[simulation_id] = remove_simulation(connection, structure, simulation_id)
                report(number, len(chosen))
    return rows


def vacuum_database(database: str | PathLike[str]) -> Sizes:
    """Give back the space that removed simulations left.

    The file is written in one transaction: a kill leaves it as it was. Meanwhile nobody else can
    read or write it.

    Raises:
        ShardError: If it is not a database of today's schema.
        OutputError: If it cannot be written, others have it open in WAL mode, or there is no room
            for a second copy.
    """
    path = Path(database)
    with reading(path):
        before = path.stat().st_size
    with writing(path), locked(path, silent), workshop(path) as folder, _alone(path) as connection:
        # A plain VACUUM would build the new database in memory, where pysqlite3's wheels are used.
        anew = folder / "vacuumed.db"
        connection.execute("VACUUM INTO ?", (file_uri(anew),))
        with closing(connect(file_uri(anew, mode="ro"))) as vacuumed:
            vacuumed.backup(connection)
    return Sizes(before, path.stat().st_size)


@contextmanager
def _alone(path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection that keeps all others out, from one transaction to the next."""
    with closing(connect(file_uri(path, mode="rw"))) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        with transaction(connection, "EXCLUSIVE"):
            pass  # the lock is taken, and kept
        yield connection


def split_database(
    database: str | PathLike[str],
    folder: str | PathLike[str],
    *,
    by: str | None = None,
    dry_run: bool = False,
    progress: ReportCount | bool | None = None,
) -> dict[str, list[str]]:
    """Write each simulation, or all with one value of a parameter, into a database of its own.

    Merging them again gives the same content. The database itself stays as it is.

    Args:
        database: An experiment database.
        folder: Where they go; new, or empty. It appears whole.
        by: A parameter; None for a shard a simulation.
        dry_run: Only report what would be written.
        progress: Called with the number of databases written, and of all; True draws a bar.

    Returns:
        The simulations in each file, by its name.

    Raises:
        FarmMergeError: If no simulation has that parameter.
        OutputError, ShardError: If something cannot be read or written.
    """
    path, folder = Path(database), Path(folder)
    if dry_run:
        require_empty(folder)
        return _parts(path, path, by)
    with (
        writing(folder),
        new_folder(folder) as partial,
        at_rest(path, partial.parent, OpenFiles()) as whole,
        counting(progress, "split", "files") as report,
    ):
        files = _parts(path, whole, by)
        with reading(whole) as connection:
            structure = read_structure(connection)
        for number, (name, ids) in enumerate(files.items(), start=1):
            _write_part(partial / name, whole, structure, ids)
            report(number, len(files))
    return files


def _parts(path: Path, whole: Path, by: str | None) -> dict[str, list[str]]:
    """Return the simulations that belong into each file, by its name.

    Args:
        path: The database.
        whole: Where it is read.
        by: A parameter.

    Raises:
        FarmMergeError: If no simulation has that parameter, or two files would get one name.
    """
    with reading_rows(whole) as db:
        groups = _groups(db, by)
    files = {f"{file_name(name, _SAFE)}.db": ids for name, ids in groups.items()}
    if len({name.casefold() for name in files}) < len(groups):
        raise FarmMergeError(
            "two of the files would get one name", path=path, remedy="rename a simulation"
        )
    return files


def _count(db: Database, simulation_id: str) -> int:
    """Return the number of data rows of a simulation."""
    return sum(
        db.table(definition.name).count_where("simulation_id = ?", [simulation_id])
        for definition in read_structure(db.conn).content.values()
        if definition.merged
    )


def _groups(db: Database, by: str | None) -> dict[str, list[str]]:
    """Return the simulations that belong into each file, by what names it."""
    if by is None:
        return {simulation_id: [simulation_id] for simulation_id in chosen_simulations(db.conn)}
    groups: dict[str, list[str]] = {}
    known = False
    for row in db.query("SELECT simulation_id, parameters FROM simulations ORDER BY simulation_id"):
        value: Any = parsed_object(row["parameters"])
        for name in [by] if by in value else by.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        known = known or value is not None
        text = value if isinstance(value, str) else json.dumps(value)
        groups.setdefault(f"{by}={text}", []).append(row["simulation_id"])
    if not known:
        names = parameter_names(db.conn)
        raise FarmMergeError(with_nearest(f"no simulation has a parameter {by}", by, names))
    return groups


def _write_part(part: Path, database: Path, structure: Structure, ids: list[str]) -> None:
    """Write some simulations into a database of their own, with all tables of the whole."""
    content = [definition for definition in structure.content.values() if definition.merged]
    with (
        building(part) as connection,
        attached(connection, file_uri(database, mode="ro"), "whole"),
        transaction(connection),
    ):
        create_schema(connection, registry_only=True)
        change(connection, registry(), structure)
        for definition in (*content, structure.tables["simulations"], structure.tables[LEDGER]):
            table = quoted(definition.name)
            columns = ", ".join(dict.fromkeys(column_list(definition)))
            connection.execute(
                f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM whole.{table}"
                " WHERE simulation_id IN (SELECT value FROM json_each(?))",
                (json.dumps(ids),),
            )
        columns = ", ".join(column_list(structure.tables["experiments"]))
        connection.execute(
            f"INSERT INTO main.experiments ({columns}) SELECT {columns} FROM whole.experiments"
            " WHERE experiment_id IN (SELECT experiment_id FROM main.simulations)"
        )
