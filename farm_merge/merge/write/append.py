"""Append: simulations get into an output that exists as pages, all of them in one moment.

They are built in a database of their own, the *addition*, as a new output is, and checked there.
Its pages have numbers behind the end of the output, so they are copied there as they are
(`pages.splice`), and SQLite's rollback journal lets the few pages of the output that point at them
change at once. `splicer.py` does that, in a process of its own.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from farm_merge.errors import OutputError
from farm_merge.merge.pages.header import HEADER_BYTES, read_header
from farm_merge.merge.pages.transplant import write_at
from farm_merge.merge.tables.definition import folded
from farm_merge.merge.write.splicer import (
    Made,
    Splicer,
    ddl_of,
    require_led,
    roll_back,
    tables_written,
)
from farm_merge.publish import building
from farm_merge.schema import EXPERIMENT_MARK, METADATA_TABLES, SCHEMA_VERSION
from farm_merge.sqlite import attached, file_uri, sqlite3
from farm_merge.workers import WorkerDiedError, own_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from farm_merge.merge.write.splicer import Counts, Request

__all__ = ["Addition", "appending"]


@contextmanager
def appending(output: Path, folder: Path) -> Iterator[Addition | None]:
    """Yield an addition to an output; None where none can be made.

    Args:
        output: The output.
        folder: A private folder, in the same file system.
    """
    addition = folder / "addition.db"
    try:
        with own_process(Splicer(output, addition)) as ask:
            yield Addition(output, addition, ask) if ask else None
    except BaseException:  # that process may have been killed while pages changed
        with suppress(sqlite3.Error):
            roll_back(output)
        raise
    finally:
        addition.unlink(missing_ok=True)


class Addition:
    """What is to be put into an output.

    Args:
        output: The output.
        path: Where the addition is made.
        ask: Has something done to the output by the process that may.

    Attributes:
        path: The database in which it is built.
    """

    def __init__(self, output: Path, path: Path, ask: Callable[[Request], None]) -> None:
        self.path = path
        self._output = output
        self._ask = ask
        self._made = Made(0, [])

    def create(self, connection: sqlite3.Connection, tables: Iterable[str]) -> None:
        """Make the tables of an output, empty, in a database whose next page is behind its end.

        Args:
            connection: The output.
            tables: Which of them get rows.

        Raises:
            ValueError: If that cannot be, or it is of no use: then nothing is built in vain.
        """
        if connection.execute("PRAGMA auto_vacuum").fetchone() != (0,):
            raise ValueError("the output's pages are of another form")
        for table in tables:
            require_led(connection, table)
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        self._made = Made(pages, ddl_of(connection))
        with building(self.path) as made:
            made.execute(f"PRAGMA page_size={page_size}")
            written = tables_written(connection) | METADATA_TABLES
            for table, _, sql in self._made.statements:
                if folded(table) in written:
                    made.execute(sql)
            made.execute(f"PRAGMA application_id={EXPERIMENT_MARK}")
            made.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        _lengthen(self.path, pages)

    def leave_out_experiments(self, connection: sqlite3.Connection) -> None:
        """Leave out the experiments that the output has.

        Args:
            connection: The addition, when all is in it.
        """
        with attached(connection, file_uri(self._output, mode="ro"), "output"):
            connection.execute(
                "DELETE FROM main.experiments WHERE experiment_id IN"
                " (SELECT experiment_id FROM output.experiments)"
            )

    def prepare(self) -> None:
        """Write all that is new behind the end of the output, where nobody sees it.

        Raises:
            ValueError: If its keys do not go where they should, or others write to the output, or
                have it open in a way that stands against that.
        """
        self._do(("prepare", self._made))

    def insert(self, counts: Counts) -> None:
        """Let all simulations of the addition appear in the output.

        Args:
            counts: The rows that they must have then; empty if they are not counted.

        Raises:
            ValueError: If others read or write the output.
            DamagedGraftError: If they have more or fewer rows.
        """
        self._do(("insert", counts))

    def forget(self) -> None:
        """Cut off what was prepared; what stays when that fails is in nobody's way."""
        with suppress(OutputError, OSError, sqlite3.Error):
            self._do(("forget",))

    def _do(self, request: Request) -> None:
        try:
            self._ask(request)
        except WorkerDiedError as exc:
            reason = "the process that was writing to it was killed; it is as it was"
            remedy = "run the merge again"
            raise OutputError(reason, path=self._output, remedy=remedy) from exc


def _lengthen(path: Path, pages: int) -> None:
    """Let a database have so many pages, most of which are a hole in the file and in no use.

    Raises:
        ValueError: If it has more, or if the file system knows no holes.
    """
    descriptor = os.open(path, os.O_RDWR)
    try:
        head = bytearray(os.pread(descriptor, HEADER_BYTES, 0))
        header = read_header(bytes(head))
        if header.pages > pages:
            raise ValueError("the output is smaller than its tables")
        os.ftruncate(descriptor, pages * header.page_size)
        head[28:32] = pages.to_bytes(4, "big")
        write_at(descriptor, bytes(head), 0)
        if os.fstat(descriptor).st_blocks * 512 > header.size_bytes + pages * header.page_size / 8:
            raise ValueError("the file system knows no files with holes")
    finally:
        os.close(descriptor)
