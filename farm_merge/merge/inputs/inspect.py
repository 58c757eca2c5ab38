"""Inspect: what is this file, which simulations are in it, is it whole, and can it be carried?

There are two depths. A file whose pages can be copied is inspected briefly: its rows are counted,
and its bytes hashed, when they pass, and damage shows when the output is checked. Every other file
is read whole, since what it holds decides how it is carried.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from farm_merge.errors import ShardError, StillWrittenError
from farm_merge.merge.inputs.file import fingerprint, look_at, opened, require_unchanged
from farm_merge.merge.inputs.input import Contents, Input, SimulationInFile
from farm_merge.merge.inputs.map_file import map_file
from farm_merge.merge.inputs.mapping import Traits
from farm_merge.merge.inputs.reading import read_tables, require_health
from farm_merge.merge.inputs.rows import read_rows
from farm_merge.merge.inputs.simulations import (
    experiments_of,
    registered_ids,
    simulation_ids,
    statuses_of,
)
from farm_merge.merge.inputs.traits import read_traits
from farm_merge.merge.tables.definition import folded
from farm_merge.merge.tables.structure import today
from farm_merge.schema import METADATA_TABLES
from farm_merge.sqlite import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from farm_merge.merge.inputs.file import InputFile
    from farm_merge.merge.inputs.input import Choices
    from farm_merge.merge.inputs.mapping import TableMapping
    from farm_merge.merge.inputs.reading import Reading
    from farm_merge.merge.options import OnDuplicateRow
    from farm_merge.merge.tables.structure import Structure

__all__ = [
    "inspect_briefly",
    "inspect_file",
    "inspect_shard",
    "with_common_keys",
]


def inspect_shard(path: Path, on_duplicate_row: OnDuplicateRow = "error") -> Input:
    """Read a file and return what it holds; nothing is written, and its code never runs.

    Args:
        path: A shard, a legacy file, or any SQLite database of one run.
        on_duplicate_row: Which of several rows with one key is carried.

    Raises:
        StillWrittenError: If another process is writing the file.
        ShardError: If the file is missing, unreadable or damaged, changes while it is read, or
            holds rows that cannot be carried; all reasons are named.
    """
    return inspect_file(look_at(path), on_duplicate_row)


def inspect_file(file: InputFile, on_duplicate_row: OnDuplicateRow = "error") -> Input:
    """Read all of a file that was looked at, and return what it holds.

    Raises:
        StillWrittenError, ShardError: As `inspect_shard` does.
    """
    digest = fingerprint(file)
    with opened(file) as connection:
        reading = read_tables(file.path, connection)
        require_health(reading)
        source = _read_whole(reading, file, digest, on_duplicate_row)
    try:
        require_unchanged(file)
    except ShardError as exc:
        raise StillWrittenError(exc.reason, path=file.path, remedy=exc.remedy) from exc
    return source


def inspect_briefly(file: InputFile) -> Input | None:
    """Read only what a plan needs of a shard with one simulation whose pages can be copied.

    Returns:
        What is known, without its contents; None if the file has to be read whole.
    """
    try:
        with opened(file) as connection:
            return _read_brief(read_tables(file.path, connection), file)
    except ShardError:
        return None  # the whole reading finds out why


def with_common_keys(sources: Iterable[Input], output: Structure | None) -> list[Input]:
    """Give tables of one name one key: where one file has NULL in it, no file's key is taken.

    Args:
        sources: The inputs.
        output: The tables of the output, whose rows may be numbered already.
    """
    sources = list(sources)
    keyless = {
        folded(table.target)
        for source in sources
        for table in source.mapping.tables
        if folded(table.source) in source.traits.null_keys
    }
    present = {} if output is None else output.content

    def is_concerned(table: TableMapping) -> bool:
        target = folded(table.target)
        there = present.get(target)
        others_numbered = there and there.is_numbered and there.key != table.definition.key
        return target in keyless or bool(others_numbered)

    return [_without_keys(source, is_concerned) for source in sources]


def _without_keys(source: Input, is_concerned: Callable[[TableMapping], bool]) -> Input:
    concerned = {
        folded(table.source)
        for table in source.mapping.tables
        if is_concerned(table) and not source.structure.tables[folded(table.source)].merged
    }
    if concerned <= source.traits.null_keys:
        return source
    traits = replace(source.traits, null_keys=source.traits.null_keys | concerned)
    return replace(source, traits=traits, mapping=map_file(source.structure, source.kind, traits))


def _read_whole(
    reading: Reading, file: InputFile, digest: str, on_duplicate_row: OnDuplicateRow
) -> Input:
    ids = simulation_ids(reading)
    traits = read_traits(reading, ids)
    mapping = map_file(reading.structure, reading.kind, traits)
    if all(table.target in METADATA_TABLES for table in mapping.tables):
        raise ShardError("holds no table of data", path=file.path)
    keep = None if on_duplicate_row == "error" else on_duplicate_row
    rows = read_rows(reading, mapping, ids, traits, keep)
    odd = [f"has a simulation_id that is no text: {ids.odd!r}"] if ids.odd is not None else []
    if problems := [*odd, *rows.problems]:
        raise ShardError("; ".join(problems), path=file.path)
    if not rows.counts or (reading.kind == "today" and not ids.texts):
        raise ShardError("holds no simulation", path=file.path)
    statuses = statuses_of(reading, ids.texts)
    found = sorted(rows.counts, key=lambda simulation_id: simulation_id or "")
    return Input(
        file=file,
        schema=reading.schema,
        kind=reading.kind,
        structure=reading.structure,
        simulations=tuple(SimulationInFile(name, statuses.get(name)) for name in found),
        traits=traits,
        mapping=mapping,
        experiments=experiments_of(reading),
        notes=(*_not_carried(reading), *_unresolved_notes(rows.choices)),
        contents=Contents(digest, tuple(rows.counts[name] for name in found), rows.choices),
    )


def _read_brief(reading: Reading, file: InputFile) -> Input | None:
    tables = [quoted(table.name) for table in reading.structure.content.values() if table.merged]
    if reading.kind != "today" or len(tables) < len(reading.structure.content):
        return None
    ends = ", ".join(
        f"(SELECT {end}(simulation_id) FROM source.{table})"
        for table in tables
        for end in ("min", "max")
    )
    ids = ({*reading.ask(f"SELECT {ends}")} | registered_ids(reading)) - {None}
    if len(ids) != 1 or not isinstance(simulation_id := ids.pop(), str):
        return None
    traits = Traits("one")
    status = statuses_of(reading, frozenset({simulation_id})).get(simulation_id)
    return Input(
        file=file,
        schema=reading.schema,
        kind=reading.kind,
        structure=reading.structure,
        simulations=(SimulationInFile(simulation_id, status),),
        traits=traits,
        mapping=map_file(reading.structure, reading.kind, traits),
        experiments=experiments_of(reading),
        notes=tuple(_not_carried(reading)),
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


def _unresolved_notes(choices: Choices) -> Iterator[str]:
    for name, rows in choices.unresolved.items():
        yield f"agent_actions.{name}: {rows:,} references point at no state, and are NULL"
