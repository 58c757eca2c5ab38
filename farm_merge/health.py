"""Health: SQLite looks through a whole database, on several cores."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING, Literal, NamedTuple

from farm_merge.sqlite import quoted, table_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from farm_merge.sqlite import sqlite3

__all__ = ["Findings", "examining"]

_STEPS_AT_ONCE = 100_000
"""After so many steps of SQLite, some milliseconds, it is asked whether it shall stop."""


class Findings(NamedTuple):
    """What SQLite found.

    Attributes:
        damage: What is wrong with the file; nothing if it is sound.
        dangling: How many rows of a table refer to rows that another does not have, by both.
    """

    damage: tuple[str, ...]
    dangling: dict[tuple[str, str], int]


@contextmanager
def examining(
    connecting: Callable[[], AbstractContextManager[sqlite3.Connection]],
    check: Literal["quick_check", "integrity_check"],
) -> Iterator[Callable[[], Findings]]:
    """Have a database looked through while the block does something else.

    Args:
        connecting: Opens the database, once for each thread.
        check: How thoroughly (https://www.sqlite.org/pragma.html#pragma_integrity_check).

    Yields:
        What waits for the findings and returns them, or raises what SQLite raised.
    """
    stop = Event()

    @contextmanager
    def connected() -> Iterator[sqlite3.Connection]:
        with connecting() as connection:
            connection.set_progress_handler(stop.is_set, _STEPS_AT_ONCE)
            yield connection

    def damage() -> tuple[str, ...]:
        with connected() as connection:
            verdicts = tuple(text for (text,) in connection.execute(f"PRAGMA main.{check}"))
        return () if verdicts == ("ok",) else verdicts

    def dangling() -> dict[tuple[str, str], int]:
        found: Counter[tuple[str, str]] = Counter()
        with connected() as connection:
            for name in table_names(connection):
                rows = connection.execute(f"PRAGMA main.foreign_key_check({quoted(name)})")
                found.update((table, parent) for table, _, parent, _ in rows)
        return found

    with ThreadPoolExecutor(2) as pool:
        futures = pool.submit(damage), pool.submit(dangling)
        try:
            yield lambda: Findings(futures[0].result(), futures[1].result())
        except BaseException:  # nobody waits for the rest, which may take long
            stop.set()
            raise
