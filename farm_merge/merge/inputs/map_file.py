"""Map a file: how all of its tables are carried."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from farm_merge.merge.inputs.classify import target_names
from farm_merge.merge.inputs.mapping import FileMapping, SourceTables
from farm_merge.merge.inputs.own_tables import map_own_table
from farm_merge.merge.inputs.todays_tables import map_todays_table
from farm_merge.merge.tables.definition import folded
from farm_merge.merge.tables.trial import Candidate, accepted
from farm_merge.schema import METADATA_TABLES, OUR_TABLES

if TYPE_CHECKING:
    from farm_merge.merge.inputs.mapping import Kind, TableMapping, Traits
    from farm_merge.merge.tables.structure import Structure

__all__ = ["map_file"]


@lru_cache(maxsize=256)
def map_file(structure: Structure, kind: Kind, traits: Traits) -> FileMapping:
    """Return how every table of a file is carried."""
    names = target_names(structure, kind, alone=traits.alone)
    file = SourceTables(structure, kind, names, traits)
    ours = METADATA_TABLES if traits.alone else OUR_TABLES
    mappings = {
        table: map_todays_table(file, table) if names[table] in ours else map_own_table(file, table)
        for table in structure.tables
    }
    own = [table for table in mappings if names[table] not in ours]
    tried = accepted(
        (Candidate(mappings[table].definition, mappings[table].indexes) for table in own),
        alone=traits.alone,
    )
    # What a function computed that SQLite does not have is carried as it was stored.
    lost = {
        f"{table}.{folded(column.name)}"
        for table, candidate in zip(own, tried, strict=True)
        for column in mappings[table].definition.columns
        if column.generated and column.is_stored and not candidate.definition.column(column.name)
    }
    if lost:
        return map_file(structure, kind, traits._replace(stored=traits.stored | lost))
    mappings |= {
        table: _as_accepted(mappings[table], candidate)
        for table, candidate in zip(own, tried, strict=True)
    }
    return FileMapping(tuple(mappings.values()))


def _as_accepted(mapping: TableMapping, candidate: Candidate) -> TableMapping:
    """Return a mapping with what SQLite makes of its table."""
    definition = candidate.definition
    return replace(
        mapping,
        definition=definition,
        indexes=candidate.indexes,
        columns=tuple(pair for pair in mapping.columns if definition.column(pair[0])),
        notes=(*mapping.notes, *candidate.notes),
    )
