"""Origin: what a page was made of, by what, and how to make it again."""

from __future__ import annotations

import platform
import shlex
from collections import Counter
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from farm_merge import __version__
from farm_merge.digest import digest_simulations
from farm_merge.merge.ledger import read_digests
from farm_merge.read.open import reading
from farm_merge.report.tables import Table
from farm_merge.sqlite import sqlite3

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from farm_merge.merge.ledger import LedgerEntry
    from farm_merge.progress import ReportCount
    from farm_merge.report.runs import Runs

__all__ = ["command_of", "made_of", "origin_tables"]

_PACKAGES = ("altair", "vl-convert-python", "pandas", "scipy", "numpy")


def made_of(
    database: Path, runs: Runs, command: str, *, digest: bool, progress: ReportCount | bool | None
) -> list[tuple[str, str]]:
    """Return when and by what a page is made, the command for it, and the digest of its data."""
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    facts = [
        ("made", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("by", f"farm-merge {__version__}, {versions}"),
        ("with", ", ".join(f"{name} {version(name)}" for name in _PACKAGES)),
        ("again", command),
    ]
    ids = sorted(runs.all.index)
    if digest:
        found = {
            it.simulation_id: it.digest
            for it in digest_simulations(database, ids, progress=progress)
        }
    else:
        with reading(database) as connection:
            found = read_digests(connection)
    if found.keys() >= {*ids}:
        kind = "digest of the data" if digest else "digest in the ledger"
        facts.append((kind, _digest(found, ids)))
    else:
        facts.append(("digest of the data", "all data are read for it: --digest adds it here"))
    return facts


def command_of(database: Path, output: Path, options: Iterable[tuple[str, Any]]) -> str:
    """Return the command that makes a page again.

    Args:
        database: The experiment database.
        output: The page.
        options: Their names and values; what is None or empty is left out, True is a flag.
    """
    words = ["farm-merge", "report", str(database), "-o", str(output)]
    for name, value in options:
        if value is True:
            words.append(name)
        elif value:
            words += [name, str(value)]
    return shlex.join(words)


def origin_tables(runs: Runs, facts: dict[str, Any], ledger: list[LedgerEntry]) -> list[Table]:
    """Return what the ledger counts, which versions of the code simulated, and the ledger."""
    commits = Counter(runs.all["git_commit"].dropna())
    counts = [
        *((f"schema {name}", number) for name, number in facts["schemas"].items()),
        *((f"merged by farm-merge {name}", number) for name, number in facts["versions"].items()),
        *((f"code at commit {name}", number) for name, number in commits.items()),
        *((f"choice: {name}", number) for name, number in facts["choices"].items()),
    ]
    rows = [
        (it.simulation_id, it.source_path, it.source_schema, it.merged_at, it.fingerprint)
        for it in ledger
    ]
    names = ["simulation", "file", "schema", "merged (UTC)", "fingerprint"]
    tables = (
        Table(["what", "simulations"], counts),
        Table(names, rows, f"The ledger: {len(rows):,} entries"),
    )
    return [table for table in tables if table.rows]


def _digest(digests: dict[str, str], ids: list[str]) -> str:
    """Return the digest of what `farm-merge digest` prints of simulations."""
    lines = "".join(f"{digests[it]}  {it}\n" for it in ids)
    return blake2b(lines.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
