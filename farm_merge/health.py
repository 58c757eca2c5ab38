"""Health: SQLite looks through a whole database, on several cores."""

from __future__ import annotations

from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
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

    tables: deque[str] = deque()
    dangling: Counter[tuple[str, str]] = Counter()

    def look_for_dangling(connection: sqlite3.Connection) -> None:
        with suppress(IndexError):  # the other thread took the last
            while True:
                name = quoted(tables.popleft())
                rows = connection.execute(f"PRAGMA main.foreign_key_check({name})")
                dangling.update((table, parent) for table, _, parent, _ in rows)

    def references() -> None:
        with connected() as connection:
            tables.extend(table_names(connection))
            look_for_dangling(connection)

    def damage() -> tuple[str, ...]:
        with connected() as connection:
            verdicts = tuple(text for (text,) in connection.execute(f"PRAGMA main.{check}"))
            look_for_dangling(connection)
        return () if verdicts == ("ok",) else verdicts

    with ThreadPoolExecutor(2) as pool:
        damaged, referred = pool.submit(damage), pool.submit(references)

        def findings() -> Findings:
            verdicts = damaged.result()
            referred.result()
            return Findings(verdicts, dangling)

        try:
            yield findings
        except BaseException:  # nobody waits for the rest, which may take long
            stop.set()
            raise
