"""What a file is by its first bytes, and how the names of databases end."""

from __future__ import annotations

import gzip
import io
import zipfile

import pytest

from farm_merge.merge.inputs.formats import (
    GZIP,
    HEAD_BYTES,
    SQLITE,
    format_of,
    has_known_ending,
    without_known_ending,
)
from tests.merge.eras import write_nameless


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a"), "b")  # of no date: it is in the name of a test
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (gzip.compress(b"x", mtime=0), "a gzip file"),
        (zipped(), "a zip archive"),
        (b"\x28\xb5\x2f\xfd rest", "a Zstandard file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer, and not the file itself"),
        (b"PRAGMA foreign_keys=OFF;\nBEGIN", "a SQL dump"),
        (b"", "not a SQLite database (or an encrypted one)"),
        (b"SQLite format 2\0", "not a SQLite database (or an encrypted one)"),
    ],
)  # fmt: skip
def test_a_file_is_called_by_its_name(data, name):
    assert format_of(data).name == name


def test_a_database_is_one(tmp_path):
    path = write_nameless(tmp_path / "x", 1)
    assert format_of(path.read_bytes()[:HEAD_BYTES]) is SQLITE
    assert format_of(gzip.compress(b"", mtime=0)) is GZIP


def test_what_duckdb_and_parquet_write_is_known(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(tmp_path / "x.duckdb")) as connection:
        connection.execute("CREATE TABLE t AS SELECT 1 AS x")
        connection.execute(f"COPY t TO '{tmp_path}/x.parquet'")
    heads = {path.suffix: path.read_bytes()[:HEAD_BYTES] for path in tmp_path.glob("x.*")}
    assert format_of(heads[".duckdb"]).name == "a DuckDB database"
    assert format_of(heads[".parquet"]).name == "a Parquet file"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("run.db", "run"),
        ("run.SQLite3", "run"),
        ("run.db.gz", "run"),
        ("run.gz", "run"),
        ("beta_0.1", "beta_0.1"),
        ("beta_0.1.db", "beta_0.1"),
        ("General-0.sca", "General-0.sca"),
        (".db", ".db"),
        ("run.db.db", "run.db"),
    ],
)
def test_only_known_endings_are_no_part_of_a_name(name, stem):
    assert without_known_ending(name) == stem


@pytest.mark.parametrize(
    ("name", "known"),
    [("a.db", True), ("a.DB.GZ", True), ("a.gz", False), ("a.txt", False), ("a", False), (".db", False)],
)  # fmt: skip
def test_what_is_called_like_a_database(name, known):
    assert has_known_ending(name) == known
