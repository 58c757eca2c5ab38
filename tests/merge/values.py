"""Values of a merge, made by hand: what a file is known to hold, without a file."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from farm_merge.merge.inputs.classify import classify
from farm_merge.merge.inputs.file import Identity, InputFile
from farm_merge.merge.inputs.input import Contents, Input, SimulationInFile
from farm_merge.merge.inputs.map_file import map_file
from farm_merge.merge.inputs.mapping import Traits
from farm_merge.merge.ledger import LedgerEntry
from farm_merge.merge.pages.header import Header
from farm_merge.merge.plan.output import Output
from farm_merge.merge.tables.parser import parse_table
from farm_merge.merge.tables.structure import Structure, read_structure, today
from farm_merge.sqlite import sqlite3

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from farm_merge.merge.tables.definition import ColumnDefinition, TableDefinition

__all__ = [
    "column", "entry", "output", "run", "shard", "source", "structure", "table",
]  # fmt: skip

FOLDER = Path("/runs")


def table(columns: str, options: str = "", *, name: str = "t") -> TableDefinition:
    """Return a table as it is in its own run: `table("a INT, b")`."""
    return parse_table(f"CREATE TABLE {name} ({columns}) {options}", merged_form=False)


def column(text: str) -> ColumnDefinition:
    """Return a column: `column("a INT NOT NULL")`."""
    return table(text).columns[0]


def structure(*statements: str, merged_form: bool = False) -> Structure:
    """Return what a database has that these statements made, in memory."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for statement in statements:
            connection.execute(statement)
        return read_structure(connection, merged_form=merged_form)


def input_file(name: str = "run.db", *, size: int = 8192) -> InputFile:
    """Return a file that nobody looked for."""
    header = Header(
        4096, 0, size // 4096, 4, auto_vacuum=False, encoding=1, is_wal=False, application_id=0
    )
    return InputFile(FOLDER / name, Identity(1, hash(name) % 2**32, size, 5, 6), header)


def run(
    own_id: str | None = None, status: str | None = "completed", **more: Any
) -> SimulationInFile:
    """Return a simulation in a file, whose name in the output is its own where it has one."""
    return SimulationInFile(own_id, status, **{"simulation_id": own_id or "", **more})


def source(
    name: str = "run.db",
    *statements: str,
    runs: Iterable[SimulationInFile] = (SimulationInFile(None),),
    fingerprint: str | None = "1",
    rows: Mapping[str, int] | None = None,
    traits: Traits | None = None,
    tables: Structure | None = None,
    **more: Any,
) -> Input:
    """Return an input of any schema, of which everything is known.

    Args:
        name: Of the file.
        statements: What made its tables.
        runs: The simulations in it.
        fingerprint: The hash of its bytes; None where it was not read whole.
        rows: The rows of each simulation, by table; one in each by default.
        traits: What its content decided.
        tables: Its tables, where no statements are given.
        more: Other fields of an input.
    """
    runs = tuple(runs)
    found = tables or structure(*(statements or ("CREATE TABLE t (k INTEGER PRIMARY KEY, v)",)))
    kind, schema = classify(found, current=False)
    number = "none" if runs[0].own_id is None else "one" if len(runs) == 1 else "many"
    traits = traits or Traits(number)
    mapping = map_file(found, kind, traits)
    counts = {it.target: 1 for it in mapping.tables} if rows is None else rows
    contents = Contents(fingerprint, (counts,) * len(runs)) if fingerprint else None
    return Input(
        **{
            "file": input_file(name),
            "schema": schema,
            "kind": kind,
            "structure": found,
            "simulations": runs,
            "traits": traits,
            "mapping": mapping,
            "experiments": {},
            "contents": contents,
            **more,
        }
    )


def shard(
    name: str = "run.db", *runs: SimulationInFile, tables: Structure | None = None, **more: Any
) -> Input:
    """Return a shard of today's schema, which may have tables of its own."""
    runs = runs or (run(Path(name).stem),)
    traits = Traits("one" if len(runs) == 1 else "many")
    tables = tables or today()
    return source(
        name,
        runs=runs,
        traits=traits,
        tables=tables,
        kind="today",
        schema="farm-merge 1",
        mapping=map_file(tables, "today", traits),
        **{"rows": {"agents": 2, "agent_states": 3}, **more},
    )


def entry(
    simulation_id: str, name: str = "run.db", *, fingerprint: str = "1", **choices: Any
) -> LedgerEntry:
    """Return what a ledger records about a file that was merged."""
    file = input_file(name)
    return LedgerEntry(
        simulation_id, fingerprint, str(file.path), "foreign", file.identity, {"t": 1}, choices,
        f"2026-01-01 00:00:{hash(name) % 60:02}",
    )  # fmt: skip


def output(
    *simulation_ids: str, ledger: Iterable[LedgerEntry] = (), tables: Structure | None = None
) -> Output:
    """Return an output with simulations; a new one where there are none."""
    ledger = tuple(ledger)
    ids = frozenset(simulation_ids) | {found.simulation_id for found in ledger}
    return Output(FOLDER / "exp.db", (tables or today()) if ids else tables, ids, ledger)
