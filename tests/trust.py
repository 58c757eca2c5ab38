"""Keeps what the long runs found in `docs/trust/`, and writes it into `docs/trust.md`.

    python -m tests.trust

The page has a place `<!-- NAME -->…<!-- / -->` for the figures of a run, and one for its table.
"""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from farm_merge.sqlite import sqlite3

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "trust.md"
RESULTS = ROOT / "docs" / "trust"

_FIGURES = {
    "faults": "{points:,} points, {violations:,} violations (POINTS={setting})",
    "fuzz": "{setting:,} files: {left_out:,} left out with a reason, {merged:,} merged;"
    " {violations:,} violations",
    "concurrency": "{setting:,} rounds, {rows:,} rows; {violations:,} violations",
    "mutants": "{mutants:,} changes (at most {setting} a module): {same:,} make no difference,"
    " {noticed:,} are noticed, {missed:,} are not",
}


def keep(name: str, setting: int, **found: Any) -> None:
    """Keep what a run found, with when, of which commit, and with which SQLite.

    Args:
        name: Of the run.
        setting: How much of it was asked for.
        **found: Its figures, and the rows of its table.
    """
    kept = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": _commit(),
        "sqlite": sqlite3.sqlite_version,
        "setting": setting,
        **found,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(f"{json.dumps(kept, indent=1)}\n", encoding="utf-8")


def _commit() -> str:
    """Return the last commit that changed code or tests, and whether they are as it left them."""
    commit = _git("log", "-1", "--format=%h") or "unknown"
    return f"{commit} with changes" if _git("status", "--porcelain") else commit


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words, "--", "farm_merge", "tests"],
        cwd=ROOT, check=False, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout.strip()


def filled(page: str) -> str:
    """Return a page with what was kept in its places."""
    for name, words in _FIGURES.items():
        path = RESULTS / f"{name}.json"
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            origin = "; {date}, commit {commit}, SQLite {sqlite}".format(**kept)
            page = _put(page, name, words.format(**kept) + origin)
            if rows := kept.get("table"):
                page = _put(page, f"{name}, table", f"\n{_markdown(rows)}\n")
    return page


def _put(page: str, name: str, text: str) -> str:
    page, places = re.subn(
        f"(<!-- {name} -->).*?(<!-- / -->)", lambda it: it[1] + text + it[2], page, flags=re.DOTALL
    )
    if places != 1:
        raise ValueError(f"{PAGE} has {places} places for {name}")
    return page


def _markdown(rows: list[list[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
