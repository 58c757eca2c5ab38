"""Archives: byte for byte what was archived, or refused."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import sys
from contextlib import closing

import pytest

from farm_merge.archive import archive_database, restore_database
from farm_merge.errors import InvalidOptionError, OutputError, ShardError
from farm_merge.merge import merge_shards
from farm_merge.sqlite import sqlite3
from tests.conftest import query
from tests.limits import killed_at


@pytest.fixture
def experiment(make_shard, tmp_path):
    merge_shards([make_shard(name, steps=200) for name in "abc"], tmp_path / "exp.db")
    return tmp_path / "exp.db"


def test_what_was_archived_comes_back_byte_for_byte(experiment, tmp_path):
    archived = []
    sizes = archive_database(
        experiment, tmp_path / "a.zst", progress=lambda *how_far: archived.append(how_far)
    )
    assert (sizes.before, sizes.after) == (
        experiment.stat().st_size, (tmp_path / "a.zst").stat().st_size,
    )  # fmt: skip
    assert archived[-1] == (sizes.before, sizes.before)
    assert restore_database(tmp_path / "a.zst", tmp_path / "back.db") == sizes.before
    assert (tmp_path / "back.db").read_bytes() == experiment.read_bytes()


def test_any_zstandard_reader_takes_an_archive(experiment, tmp_path):
    import zstandard

    archive_database(experiment, tmp_path / "a.zst")
    with zstandard.open(tmp_path / "a.zst", "rb") as file:
        assert file.read() == experiment.read_bytes()


@pytest.mark.parametrize("damage", ["cut", "flip", "seal", "other"])
def test_a_damaged_archive_is_refused(experiment, tmp_path, damage):
    archive = tmp_path / "a.zst"
    archive_database(experiment, archive)
    data = bytearray(archive.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "flip":
        data[len(data) // 2] ^= 1
    elif damage == "seal":
        data[-30] ^= 1
    else:
        data[:] = b"something else"
    archive.write_bytes(data)
    with pytest.raises(ShardError, match=str(archive)):
        restore_database(archive, tmp_path / "back.db")
    assert not (tmp_path / "back.db").exists()


def test_an_archive_has_what_a_wal_holds(experiment, tmp_path):
    with closing(sqlite3.connect(str(experiment))) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("UPDATE simulations SET status = 'changed'")
        connection.commit()
        archive_database(experiment, tmp_path / "a.zst")
    restore_database(tmp_path / "a.zst", tmp_path / "back.db")
    assert query(tmp_path / "back.db", "SELECT DISTINCT status FROM simulations") == [("changed",)]


def test_errors_say_what_and_where(tmp_path):
    with pytest.raises(ShardError, match="nowhere"):
        restore_database(tmp_path / "nowhere.zst", tmp_path / "x.db")
    (tmp_path / "x.db").write_text("")
    with pytest.raises(OutputError, match="is there already"):
        restore_database(tmp_path / "nowhere.zst", tmp_path / "x.db")


def test_the_seal_is_the_checksum_of_the_database(experiment, tmp_path):
    archive_database(experiment, tmp_path / "a.zst")
    data = (tmp_path / "a.zst").read_bytes()
    seal = json.loads(data[data.rindex(b"{") :])
    assert seal == {
        "sha256": hashlib.sha256(experiment.read_bytes()).hexdigest(),
        "size_bytes": experiment.stat().st_size,
    }


def test_an_archive_whose_bytes_went_wrong_on_the_way_does_not_appear(experiment, tmp_path):
    archive = tmp_path / "a.zst"

    def damage(_done, _total):
        (partial,) = tmp_path.glob(".a.zst.*.work/partial")
        with partial.open("r+b") as file:  # where its magic number will be
            file.truncate(8)
            file.seek(20)
            file.write(b"damaged on its way to the disk")

    with pytest.raises(ShardError, match="damaged"):
        archive_database(experiment, archive, progress=damage)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exp.db", "shards"]


def test_a_writer_is_not_kept_waiting_and_what_is_archived_is_what_one_commit_left(
    experiment, tmp_path
):
    """The archive notices that somebody wants to write, and goes on from a copy."""
    script = (
        "import sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)\n"
        "connection.execute('BEGIN IMMEDIATE')\n"
        "connection.execute('UPDATE simulations SET status = ?', ['changed'])\n"
        "connection.execute('UPDATE agents SET genome_id = ?', ['changed'])\n"
        "print('begun', flush=True)\n"
        "connection.execute('COMMIT')\n"
    )
    writers = []

    def write(_done, _total):
        if not writers:
            writers.append(
                subprocess.Popen(
                    [sys.executable, "-c", script, experiment], stdout=subprocess.PIPE, text=True
                )
            )
            assert writers[0].stdout.readline() == "begun\n"

    archive_database(experiment, tmp_path / "a.zst", progress=write)
    writers[0].communicate(timeout=60)
    assert writers[0].returncode == 0
    restore_database(tmp_path / "a.zst", tmp_path / "back.db")
    both = (
        "SELECT DISTINCT status = 'changed', genome_id IS 'changed'"
        " FROM simulations JOIN agents USING (simulation_id)"
    )
    assert query(tmp_path / "back.db", both) in ([(0, 0)], [(1, 1)])
    assert query(tmp_path / "back.db", "PRAGMA integrity_check") == [("ok",)]
    assert query(experiment, both) == [(1, 1)]


def test_an_archive_that_holds_more_than_its_seal_says_is_not_unpacked(tmp_path):
    import zstandard

    packed = zstandard.ZstdCompressor().compress(bytes(64 << 20))
    seal = json.dumps({"sha256": "0" * 64, "size_bytes": 4096}).encode()
    bomb = tmp_path / "bomb.zst"
    bomb.write_bytes(packed + struct.pack("<II", 0x184D2A50, len(seal)) + seal)
    written = []
    with pytest.raises(ShardError, match="holds more than was archived"):
        restore_database(bomb, tmp_path / "x.db", progress=lambda done, _: written.append(done))
    assert written == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bomb.zst"]


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_nothing_is_restored_beside_what_sqlite_would_replay(experiment, tmp_path, suffix):
    archive_database(experiment, tmp_path / "a.zst")
    stray = tmp_path / f"back.db{suffix}"
    stray.write_bytes(b"of another database")
    with pytest.raises(OutputError, match="is there without its database"):
        restore_database(tmp_path / "a.zst", tmp_path / "back.db")
    assert not (tmp_path / "back.db").exists()
    assert stray.read_bytes() == b"of another database"


def test_a_kill_leaves_no_half_of_an_archive(experiment, tmp_path):
    before = experiment.read_bytes()
    killed_at(4096, "archive", experiment, "-o", tmp_path / "a.zst")
    assert not (tmp_path / "a.zst").exists()
    assert experiment.read_bytes() == before
    archive_database(experiment, tmp_path / "a.zst")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zst", "exp.db", "shards"]


def test_a_kill_leaves_no_half_of_a_database(experiment, tmp_path):
    archive_database(experiment, tmp_path / "a.zst")
    killed_at(4096, "restore", tmp_path / "a.zst", "-o", tmp_path / "back.db")
    assert not (tmp_path / "back.db").exists()
    restore_database(tmp_path / "a.zst", tmp_path / "back.db")
    assert (tmp_path / "back.db").read_bytes() == experiment.read_bytes()


@pytest.mark.parametrize("level", [0, 23, "high"])
def test_a_wrong_level_is_refused(experiment, tmp_path, level):
    with pytest.raises(InvalidOptionError, match="it takes a number from 1 to 22"):
        archive_database(experiment, tmp_path / "a.zst", level=level)
