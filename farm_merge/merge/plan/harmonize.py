"""Harmonise: where files differ in the form of a table, all are read in a form that they share.

A key that not all have is nobody's: the rows of all are numbered. A column that is computed in one
file and stored in another is stored. Where no file is a shard or AgentFarm's, today's tables stay
away, and a table called `agents` keeps its name.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from farm_merge.merge.plan.reconcile import plain_key
from farm_merge.merge.tables.definition import folded
from farm_merge.merge.tables.structure import is_ours
from farm_merge.schema import DATA_TABLES, METADATA_TABLES, OUR_TABLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from farm_merge.merge.inputs.input import Input
    from farm_merge.merge.inputs.mapping import FileMapping, TableMapping
    from farm_merge.merge.tables.definition import TableDefinition
    from farm_merge.merge.tables.structure import Structure

__all__ = ["harmonized"]


def harmonized(sources: Sequence[Input], output: Structure | None) -> tuple[list[Input], bool]:
    """Return inputs whose tables of one name have one form, as far as their content allows.

    Args:
        sources: The inputs.
        output: The tables of the output, which stay as they are; None where it is new.

    Returns:
        The inputs, and whether the output has no tables of today's schema but the registry.
    """
    alone = not any(map(_brings_ours, sources)) and not _has_ours(output)
    if alone:
        sources = [source.remapped(source.traits._replace(alone=True)) for source in sources]
    present = {} if output is None else output.content
    ours = METADATA_TABLES if alone else OUR_TABLES
    numbered = _numbered_tables(sources, present) - ours
    stored = {name for name in _stored_columns(sources, present) if name[0] not in ours}
    return [_in_common_form(source, numbered, stored) for source in sources], alone


def _brings_ours(source: Input) -> bool:
    """Return whether an input has tables of today's schema beside the registry."""
    return source.kind == "AgentFarm" or any(
        is_ours(source.structure, table) for table in DATA_TABLES
    )


def _has_ours(output: Structure | None) -> bool:
    return output is not None and any(is_ours(output, table) for table in DATA_TABLES)


def _numbered_tables(sources: Iterable[Input], present: Mapping[str, TableDefinition]) -> set[str]:
    """Return the tables, by lower-case name in the output, whose rows are numbered in all files.

    The key of a table that the output has stays; a file without it is refused, with the remedy.
    """
    keys: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    numbered = {name for name, table in present.items() if table.is_numbered}
    for table in _tables(sources):
        name = folded(table.target)
        keys[name].add(tuple(plain_key(table.definition.key)))
        if table.definition.is_numbered and name not in present:
            numbered.add(name)
    return numbered | {
        name for name, found in keys.items() if len(found) > 1 and name not in present
    }


def _stored_columns(
    sources: Iterable[Input], present: Mapping[str, TableDefinition]
) -> set[tuple[str, str]]:
    """Return the columns, by table, that are computed in some files and stored in others."""
    stored: set[tuple[str, str]] = set()
    computed: set[tuple[str, str]] = set()
    definitions = [
        *((folded(table.target), table.definition) for table in _tables(sources)),
        *present.items(),
    ]
    for name, definition in definitions:
        for column in definition.columns:
            (computed if column.generated else stored).add((name, folded(column.name)))
    return stored & computed


def _tables(sources: Iterable[Input]) -> list[TableMapping]:
    """Return how tables are carried, once for all files that are alike."""
    mappings: dict[FileMapping, None] = dict.fromkeys(source.mapping for source in sources)
    return [table for mapping in mappings for table in mapping.tables]


def _in_common_form(source: Input, numbered: set[str], stored: set[tuple[str, str]]) -> Input:
    tables = source.mapping.tables
    concerned = {
        folded(table.source)
        for table in tables
        if folded(table.target) in numbered and not table.definition.is_numbered
    }
    computed = {
        f"{folded(table.source)}.{folded(column.name)}"
        for table in tables
        for column in table.definition.columns
        if column.generated and (folded(table.target), folded(column.name)) in stored
    }
    if not concerned and not computed:
        return source
    traits = source.traits
    return source.remapped(
        traits._replace(numbered=traits.numbered | concerned, stored=traits.stored | computed)
    )
