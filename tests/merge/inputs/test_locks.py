"""Locks of other processes, asked of the kernel."""

from __future__ import annotations

import pytest

from farm_merge.merge.inputs.locks import is_locked, is_wal_locked
from tests.merge.eras import write


def locks(path):
    with path.open("rb", buffering=0) as file:
        return is_locked(file), is_wal_locked(path)


@pytest.mark.parametrize(
    ("journal_mode", "expected"), [("DELETE", (True, False)), ("WAL", (False, True))]
)
def test_a_transaction_of_another_process_is_seen(writer, tmp_path, journal_mode, expected):
    path = write(tmp_path / "live.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v)")
    assert locks(path) == (False, False)
    process = writer(path, journal_mode)
    assert locks(path) == expected
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"
    assert locks(path) == (False, False)
