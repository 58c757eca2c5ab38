"""The first hundred bytes of a file decide whether its pages can be part of another."""

from __future__ import annotations

import pytest

from farm_merge.merge.pages.header import HEADER_BYTES, read_header
from tests.conftest import query


def head_of(path):
    return path.read_bytes()[:HEADER_BYTES]


@pytest.mark.parametrize("page_size", [512, 4096, 32768, 65536])
def test_sizes_are_those_that_sqlite_reports(make_database, page_size):
    path = make_database(page_size=page_size).path
    header = read_header(head_of(path))
    assert header.page_size == header.usable == page_size
    assert [(header.pages,)] == query(path, "PRAGMA page_count")
    assert header.size_bytes == path.stat().st_size
    assert header.allows_grafting


@pytest.mark.parametrize("head", [b"", b"SQLite format 3\0" + bytes(83), b"x" * 100])
def test_what_is_no_database_is_refused(head):
    with pytest.raises(ValueError, match="not a SQLite database"):
        read_header(head)


def test_bytes_that_are_reserved_hold_no_content(make_database):
    head = bytearray(head_of(make_database(page_size=4096).path))
    head[20] = 32
    assert read_header(bytes(head)).usable == 4064


@pytest.mark.parametrize("statement", ["PRAGMA auto_vacuum = FULL", "PRAGMA encoding = 'UTF-16le'"])
def test_pages_of_other_kinds_of_files_are_not_copied(make_database, statement):
    assert not read_header(head_of(make_database(before=[statement]).path)).allows_grafting


@pytest.mark.parametrize("place", [20, 44, 47, 52, 55, 56, 59])
def test_reserved_bytes_and_other_formats_are_not_copied(make_database, place):
    """Reserved bytes, the schema's format, auto-vacuum, the encoding: all bytes of each count."""
    head = bytearray(head_of(make_database().path))
    head[place] ^= 32
    assert not read_header(bytes(head)).allows_grafting


def test_a_file_may_have_more_pages_than_fit_into_three_bytes(make_database):
    head = bytearray(head_of(make_database().path))
    head[28:32] = b"\1\2\3\4"
    assert read_header(bytes(head)).pages == 0x01020304


@pytest.mark.parametrize(("encoding", "is_utf16"), [("UTF-8", False), ("UTF-16le", True),
                                                    ("UTF-16be", True)])  # fmt: skip
def test_utf_16_is_seen(make_database, encoding, is_utf16):
    path = make_database(before=[f"PRAGMA encoding = '{encoding}'"]).path
    assert read_header(head_of(path)).is_utf16 is is_utf16


def test_a_wal_is_seen(make_database):
    assert not read_header(head_of(make_database().path)).is_wal
    path = make_database(name="wal.db", after=["PRAGMA journal_mode = WAL"]).path
    assert read_header(head_of(path)).is_wal


@pytest.mark.parametrize("place", [18, 19])
def test_one_who_only_writes_or_only_reads_a_wal_is_seen(make_database, place):
    head = bytearray(head_of(make_database().path))
    head[place] = 2
    assert read_header(bytes(head)).is_wal
