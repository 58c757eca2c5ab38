"""Inspect: what is this file, which simulations are in it, is it whole, and can it be carried?

There are two depths. A file whose pages can be copied is inspected briefly: its rows are counted,
and its bytes hashed, when they pass, and damage shows when the output is checked. Every other file
is read whole, since what it holds decides how it is carried.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from farm_merge.errors import ShardError, StillWrittenError
from farm_merge.merge.inputs.file import fingerprint, look_into, opened, require_unchanged
from farm_merge.merge.inputs.input import Contents, Input, SimulationInFile
from farm_merge.merge.inputs.map_file import map_file
from farm_merge.merge.inputs.mapping import UNATTRIBUTED, Traits
from farm_merge.merge.inputs.reading import read_tables, require_health
from farm_merge.merge.inputs.rows import Problem, read_rows
from farm_merge.merge.inputs.simulations import (
    experiments_of,
    has_history,
    registered_ids,
    registered_runs,
    simulation_ids,
)
from farm_merge.merge.inputs.traits import read_traits
from farm_merge.merge.options import Options
from farm_merge.merge.tables.structure import today
from farm_merge.schema import EXPERIMENT_MARK, METADATA_TABLES, SHARD_MARK
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

    from farm_merge.merge.inputs.file import InputFile
    from farm_merge.merge.inputs.input import Choices
    from farm_merge.merge.inputs.reading import Reading
    from farm_merge.merge.options import OnDuplicateRow, OnOrphanRows, SourceSchema

__all__ = [
    "inspect_briefly",
    "inspect_file",
    "inspect_shard",
]


def inspect_shard(
    path: str | PathLike[str],
    *,
    on_duplicate_row: OnDuplicateRow = "error",
    on_orphan_rows: OnOrphanRows = "keep",
    schema: SourceSchema | None = None,
) -> Input:
    """Read a file and return what it holds; nothing is written, and its code never runs.

    Args:
        path: A shard, a legacy file, or any SQLite database of one run; it may be compressed.
        on_duplicate_row: Which of several rows with one key is carried.
        on_orphan_rows: What becomes of rows that belong to none of several simulations.
        schema: The family of its schema, where it is not to be recognised.

    Raises:
        InvalidOptionError: If an option has a value that it does not know.
        StillWrittenError: If another process is writing the file.
        ShardError: If the file is missing, unreadable or damaged, changes while it is read, or
            holds rows that cannot be carried; all reasons are named.
    """
    options = Options(
        on_duplicate_row=on_duplicate_row, on_orphan_rows=on_orphan_rows, schema=schema
    )
    with TemporaryDirectory(prefix="farm-merge-") as folder:
        return inspect_file(look_into(Path(path), Path(folder)), options)


def inspect_file(file: InputFile, options: Options) -> Input:
    """Read all of a file that was looked at, and return what it holds.

    Raises:
        StillWrittenError, ShardError: As `inspect_shard` does.
    """
    try:
        # Raw reads end before SQLite opens the file: closing one would drop the other's locks.
        digest = fingerprint(file)
        with opened(file) as connection:
            reading = read_tables(file.path, connection, options.schema)
            require_health(reading)
            return _read_whole(reading, file, digest, options)
    finally:  # what seems damaged may be half written
        _require_at_rest(file)


def _require_at_rest(file: InputFile) -> None:
    try:
        require_unchanged(file)
    except ShardError as exc:
        raise StillWrittenError(exc.reason, path=file.path, remedy=exc.remedy) from exc


def inspect_briefly(file: InputFile) -> Input | None:
    """Read only what a plan needs of a shard with one simulation whose pages can be copied.

    Returns:
        What is known, without its contents; None if the file has to be read whole.
    """
    if file.header.application_id not in {SHARD_MARK, EXPERIMENT_MARK}:
        return None
    try:
        with opened(file) as connection:
            return _read_brief(read_tables(file.path, connection, None), file)
    except ShardError:
        return None  # the whole reading finds out why


def _read_whole(reading: Reading, file: InputFile, digest: str, options: Options) -> Input:
    ids = simulation_ids(reading)
    traits = read_traits(reading, ids)
    try:
        mapping = map_file(reading.structure, reading.kind, traits)
    except ShardError as exc:
        raise ShardError(exc.reason, path=file.path, table=exc.table, remedy=exc.remedy) from exc
    if all(table.target in METADATA_TABLES for table in mapping.tables):
        raise _holds_no_data(reading)
    keep = None if options.on_duplicate_row == "error" else options.on_duplicate_row
    rows = read_rows(reading, mapping, ids, traits, keep, options.on_orphan_rows)
    problems = list(rows.problems)
    if ids.odd is not None:
        problems.insert(0, Problem(f"has a simulation_id that is no text: {ids.odd!r}"))
    if problems:
        remedies = dict.fromkeys(problem.remedy for problem in problems if problem.remedy)
        reasons = "; ".join(problem.reason for problem in problems)
        raise ShardError(reasons, path=file.path, remedy="; ".join(remedies))
    # Only in a shard does the name have to be in the file; elsewhere the path gives one.
    if not rows.counts or (reading.kind == "today" and not ids.texts):
        raise ShardError("holds no simulation", path=file.path)
    runs = registered_runs(reading, ids.texts)
    if len(ids.texts) > 1:
        runs[None] = UNATTRIBUTED, False
    found = sorted(rows.counts, key=lambda simulation_id: simulation_id or "")
    return Input(
        file=file,
        schema=reading.schema,
        kind=reading.kind,
        structure=reading.structure,
        simulations=tuple(SimulationInFile(name, *runs.get(name, (None, False))) for name in found),
        traits=traits,
        mapping=mapping,
        experiments=experiments_of(reading),
        notes=(*_not_carried(reading), *_notes_on(rows.choices)),
        contents=Contents(digest, tuple(rows.counts[name] for name in found), rows.choices),
        has_history=has_history(reading),
    )


def _holds_no_data(reading: Reading) -> ShardError:
    virtual = reading.structure.virtual
    if not virtual:
        return ShardError("holds no table of data", path=reading.path)
    return ShardError(
        f"holds no table of data but virtual ones, which are not carried: {', '.join(virtual)}",
        path=reading.path,
        remedy="copy what they hold into a table, with CREATE TABLE … AS SELECT",
    )


def _read_brief(reading: Reading, file: InputFile) -> Input | None:
    tables = [quoted(table.name) for table in reading.structure.content.values() if table.merged]
    if reading.kind != "today" or len(tables) < len(reading.structure.content):
        return None
    # Rows are in the order of their simulation, so where the first and the last row of all tables
    # are of one, there is no other.
    ends = ", ".join(
        f"(SELECT {end}(simulation_id) FROM source.{table})"
        for table in tables
        for end in ("min", "max")
    )
    ids = ({*reading.ask(f"SELECT {ends}")} | registered_ids(reading)) - {None}
    if len(ids) != 1 or not isinstance(simulation_id := ids.pop(), str):
        return None
    traits = Traits("one")
    runs = registered_runs(reading, frozenset({simulation_id}))
    run = SimulationInFile(simulation_id, *runs.get(simulation_id, (None, False)))
    return Input(
        file=file,
        schema=reading.schema,
        kind=reading.kind,
        structure=reading.structure,
        simulations=(run,),
        traits=traits,
        mapping=map_file(reading.structure, reading.kind, traits),
        experiments=experiments_of(reading),
        notes=tuple(_not_carried(reading)),
        has_history=has_history(reading),
    )


def _not_carried(reading: Reading) -> Iterator[str]:
    """Report what holds no data, or holds it in a way that no merge can carry."""
    structure = reading.structure
    if structure.virtual:
        names = ", ".join(structure.virtual)
        yield f"WARNING: virtual tables are not carried, with what they hold: {names}"
    indexes = [
        f"index {index.name}"
        for table, found in structure.indexes.items()
        if reading.kind == "today" and reading.names[table] in today().tables
        for index in found
        if index not in today().indexes.get(table, ())
    ]
    if others := [*structure.views, *indexes]:
        yield f"holds no data, so not carried: {', '.join(others)}"
    if structure.not_understood:
        yield f"not understood, so not carried: {', '.join(structure.not_understood)}"


def _notes_on(choices: Choices) -> Iterator[str]:
    """Report what of the rows is not carried as it is."""
    for name, rows in choices.unresolved.items():
        yield f"agent_actions.{name}: {rows:,} references point at no state, and are NULL"
    if choices.orphan_rows:
        tables = ", ".join(f"{table} {rows:,}" for table, rows in choices.orphan_rows.items())
        carried = "are carried as a simulation of their own"
        what = carried if choices.carries_orphans else "are not carried"
        yield f"rows that belong to none of its simulations {what}: {tables}"
