"""The ledger: what came from where, and what follows for a file that is met again.

Only this module knows the columns of the table `merged_shards`, and what its JSON is made of.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from farm_merge import __version__
from farm_merge.errors import OutputError, ShardError
from farm_merge.merge.inputs.file import Identity, companions, identify
from farm_merge.merge.inputs.sidecar import json_object
from farm_merge.merge.tables.definition import folded
from farm_merge.schema import LEDGER, now
from farm_merge.sqlite import sqlite3, storable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from farm_merge.merge.inputs.input import Choices, Input

__all__ = [
    "LedgerEntry",
    "Origin",
    "Recalled",
    "carry_history",
    "enter",
    "expected_rows",
    "forget",
    "keep_digest",
    "path_text",
    "read_digests",
    "read_ledger",
    "recall",
    "summarize_ledger",
]

_IN_FILE = "simulations_in_file"
_OWN_ID = "own_id"
_JOINED = "joined"
_DIGEST = "digest"

Origin = tuple[str, "str | None"]
"""What a run came from: the hash of a file, and its id in there if the file holds several."""

_COLUMNS = (
    "simulation_id", "fingerprint", "source_path", "source_schema", "device", "inode",
    "size_bytes", "mtime_ns", "ctime_ns", "row_counts", "choices", "merged_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """What the ledger records about a simulation of a file.

    Attributes:
        simulation_id: What was merged.
        fingerprint: The hash of the file's bytes.
        source_path: Where the file was.
        source_schema: What its schema is called.
        identity: Which file it was, and when it was changed last.
        row_counts: Rows by table.
        choices: What was not carried as it is.
        merged_at: When, in UTC.
    """

    simulation_id: str
    fingerprint: str
    source_path: str
    source_schema: str
    identity: Identity
    row_counts: Mapping[str, int] = field(hash=False)
    choices: Mapping[str, Any] = field(hash=False)
    merged_at: str

    @property
    def in_file(self) -> int:
        """How many simulations the file holds."""
        return int(self.choices.get(_IN_FILE, 1))

    @property
    def own_id(self) -> str | None:
        """What the file calls the simulation; None where it does not."""
        own_id: str | None = self.choices.get(_OWN_ID, self.simulation_id)
        return own_id

    @property
    def origin(self) -> Origin:
        """What the simulation came from."""
        return self.fingerprint, None if self.in_file == 1 else self.own_id

    @property
    def is_joined(self) -> bool:
        """Whether it is one of several files of the simulation."""
        return _JOINED in self.choices


class Recalled(NamedTuple):
    """A file that the ledger knows and nobody touched since: it needs no reading.

    Attributes:
        path: The file.
        entries: What the ledger records about its simulations.
    """

    path: Path
    entries: tuple[LedgerEntry, ...]


def path_text(path: Path) -> str:
    """Return an absolute path as text; bytes that are no UTF-8 are escaped."""
    # Path.absolute takes five times as long, and this is asked several times of each of thousands.
    return storable(path if path.is_absolute() else os.path.join(os.getcwd(), path))  # noqa: PTH109, PTH118


def expected_rows(entries: Iterable[LedgerEntry]) -> dict[str, Counter[str]]:
    """Return the rows by table that each simulation has, according to the ledger.

    Args:
        entries: The ledger, the oldest entry first.

    Returns:
        By simulation the rows by table, in lower case: those of the newest file, or of all files
        that were joined.
    """
    counts: dict[str, Counter[str]] = {}
    for entry in entries:
        rows: Counter[str] = Counter()
        for table, number in entry.row_counts.items():
            rows[folded(table)] += number
        before = counts.get(entry.simulation_id, Counter())
        counts[entry.simulation_id] = before + rows if entry.is_joined else rows
    return counts


def read_ledger(connection: sqlite3.Connection, schema: str = "main") -> tuple[LedgerEntry, ...]:
    """Return the ledger of a database, the oldest entry first.

    Raises:
        OutputError: If an entry is none; one of an input was looked at when that was inspected.
    """
    rows = connection.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM {schema}.{LEDGER} ORDER BY merged_at"
    )
    return tuple(
        LedgerEntry(
            simulation_id,
            fingerprint,
            path,
            schema,
            Identity(*identity),
            _of_entry(connection, simulation_id, row_counts, int),
            _of_entry(connection, simulation_id, choices or "{}"),
            merged_at,
        )
        for (
            simulation_id, fingerprint, path, schema, *identity, row_counts, choices, merged_at,
        ) in rows
    )  # fmt: skip


def _of_entry(
    connection: sqlite3.Connection, simulation_id: object, text: object, kind: type = object
) -> dict[str, Any]:
    """Return a JSON object of an entry.

    Args:
        connection: The database.
        simulation_id: Whose entry it is.
        text: The object.
        kind: What its values are.

    Raises:
        OutputError: If it is none.
    """
    found = json_object(text)
    if found is None or not all(isinstance(value, kind) for value in found.values()):
        _, _, path = connection.execute("PRAGMA database_list").fetchone()
        name = str(simulation_id).replace("'", "''")
        raise OutputError(
            f"the entry of simulation {simulation_id!r} is damaged",
            path=path,
            table=LEDGER,
            remedy=f"DELETE FROM {LEDGER} WHERE simulation_id = '{name}' forgets what it came from",
        )
    return found


def recall(
    paths: Iterable[Path], ledger: Iterable[LedgerEntry], simulation_ids: Collection[str]
) -> dict[Path, Recalled]:
    """Return the files of which all was merged and that did not change since.

    Args:
        paths: Files.
        ledger: The ledger, the oldest entry first.
        simulation_ids: The simulations that are in the output.
    """
    by_path: dict[str, list[LedgerEntry]] = {}
    for entry in ledger:
        found = by_path.setdefault(entry.source_path, [])
        if found and found[0].fingerprint != entry.fingerprint:
            found.clear()  # another file was there later
        if entry.simulation_id in simulation_ids:
            found.append(entry)
    return {
        path: Recalled(path, tuple(entries))
        for path in paths
        if (entries := by_path.get(path_text(path))) and _is_unchanged(path, entries)
    }


def _is_unchanged(path: Path, entries: list[LedgerEntry]) -> bool:
    """Return whether the file is there still, by its inode, size and times.

    A WAL or a journal beside it may hold more than the file, so then it is read.
    """
    if len(entries) != entries[0].in_file:
        return False
    try:
        return identify(path) == entries[0].identity and not companions(path)
    except ShardError:
        return False


def enter(
    connection: sqlite3.Connection,
    simulation_id: str,
    source: Input,
    row_counts: Mapping[str, int],
    *,
    own_id: str | None,
    replaced: bool,
    joined: bool,
) -> None:
    """Write down where a simulation came from.

    Args:
        connection: The output.
        simulation_id: The simulation.
        source: The input that it came from, with its contents.
        row_counts: The rows by table that it got from there.
        own_id: What the input calls it.
        replaced: Whether it took the place of other data.
        joined: Whether its rows were added to those of another file.
    """
    assert source.contents is not None  # noqa: S101  (what was written was read)
    fingerprint, identity = source.contents.fingerprint, source.file.identity
    choices = _choices(source.contents.choices)
    if replaced:
        choices["replaced"] = True
    if joined:
        choices[_JOINED] = True
    if len(source.simulations) > 1:
        choices[_IN_FILE] = len(source.simulations)
    if own_id != simulation_id:
        choices[_OWN_ID] = own_id
    row = {
        "simulation_id": simulation_id,
        "fingerprint": fingerprint,
        "source_path": path_text(source.path),
        "source_schema": source.schema,
        "size_bytes": identity.size_bytes,
        "device": identity.device,
        "inode": identity.inode,
        "mtime_ns": identity.mtime_ns,
        "ctime_ns": identity.ctime_ns,
        "merged_at": now(),
        "row_counts": json.dumps(dict(row_counts), sort_keys=True),
        "choices": json.dumps(choices, sort_keys=True),
        "software": json.dumps(
            {
                "farm-merge": __version__,
                "python": sys.version.partition(" ")[0],
                "sqlite": sqlite3.sqlite_version,
            }
        ),
    }
    connection.execute(
        f"DELETE FROM main.{LEDGER} WHERE simulation_id = ? AND fingerprint = ?",
        (simulation_id, fingerprint),
    )
    connection.execute(
        f"INSERT INTO main.{LEDGER} ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})",
        tuple(row.values()),
    )


def _choices(chosen: Choices) -> dict[str, Any]:
    """Return what of a file was not carried as it is."""
    choices: dict[str, Any] = {}
    if chosen.duplicate_rows:
        choices["duplicate_rows"] = {
            table: {"kept": kept, "left_out": rows}
            for table, (kept, rows) in chosen.duplicate_rows.items()
        }
    if chosen.unresolved:
        choices["unresolved"] = dict(chosen.unresolved)
    if chosen.orphan_rows:
        kept = "keep" if chosen.carries_orphans else "skip"
        choices["orphan_rows"] = {"chosen": kept, "rows": dict(chosen.orphan_rows)}
    return choices


def carry_history(
    connection: sqlite3.Connection, simulation_id: str, columns: Iterable[str]
) -> None:
    """Bring along what the ledger of a merged input records: it is history.

    Args:
        connection: The output, with the input attached as `shard`.
        simulation_id: The simulation.
        columns: The quoted columns of the input's ledger.
    """
    names = ", ".join(columns)
    connection.execute(
        f"INSERT OR IGNORE INTO main.{LEDGER} ({names})"
        f" SELECT {names} FROM shard.{LEDGER} WHERE simulation_id = ?",
        (simulation_id,),
    )


def forget(connection: sqlite3.Connection, simulation_id: str) -> None:
    """Remove the entries of a simulation."""
    connection.execute(f"DELETE FROM main.{LEDGER} WHERE simulation_id = ?", (simulation_id,))


def read_digests(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the digests that were kept of the content of simulations, by their ids."""
    rows = connection.execute(
        f"SELECT simulation_id, choices FROM main.{LEDGER} ORDER BY merged_at"
    ).fetchall()
    found = {
        name: _of_entry(connection, name, choices or "{}").get(_DIGEST) for name, choices in rows
    }
    return {name: digest for name, digest in found.items() if digest}


def keep_digest(connection: sqlite3.Connection, simulation_id: str, digest: str | None) -> bool:
    """Keep the digest of a simulation's content, or none; return whether it has an entry."""
    change = "json_remove(choices, '$.' || :key)"
    if digest is not None:
        change = "json_set(choices, '$.' || :key, :digest)"
    changed = connection.execute(
        f"UPDATE main.{LEDGER} SET choices = {change} WHERE simulation_id = :id",
        {"key": _DIGEST, "digest": digest, "id": simulation_id},
    ).rowcount
    return bool(changed)


def summarize_ledger(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return a summary of a ledger.

    Returns:
        `files`, `first_merged` and `last_merged` (UTC), and how many entries there are by
        `schemas`, by `versions` of farm-merge, and by `choices`.
    """
    files, first, last = connection.execute(
        f"SELECT count(DISTINCT source_path), min(merged_at), max(merged_at) FROM main.{LEDGER}"
    ).fetchone()
    schemas = connection.execute(
        f"SELECT source_schema, count(*) FROM main.{LEDGER} GROUP BY 1 ORDER BY 1"
    )
    versions: Counter[str] = Counter()
    choices: Counter[str] = Counter()
    entries = connection.execute(f"SELECT simulation_id, software, choices FROM main.{LEDGER}")
    for name, software, chosen in entries.fetchall():
        by = _of_entry(connection, name, software).get("farm-merge", "unknown")
        versions[str(by)] += 1
        found = _of_entry(connection, name, chosen or "{}")
        choices.update(found.keys() - {_IN_FILE, _OWN_ID, _DIGEST})
    return {
        "files": files,
        "first_merged": first,
        "last_merged": last,
        "schemas": dict(schemas),
        "versions": dict(versions),
        "choices": dict(choices),
    }
