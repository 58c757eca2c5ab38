"""Archives: byte for byte what was archived, or refused."""

from __future__ import annotations

import hashlib
import json
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
        partial = tmp_path / ".a.zst.partial"
        with partial.open("r+b") as file:  # where its magic number will be
            file.truncate(8)
            file.seek(20)
            file.write(b"damaged on its way to the disk")

    with pytest.raises(ShardError, match="damaged"):
        archive_database(experiment, archive, progress=damage)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exp.db", "shards"]


def test_a_database_that_changes_while_it_is_archived_is_no_archive(experiment, tmp_path):
    def change(_done, _total):
        query(experiment, "UPDATE simulations SET status = 'changed'")

    with pytest.raises(ShardError, match="changed while it was archived; archive it again"):
        archive_database(experiment, tmp_path / "a.zst", progress=change)
    assert not (tmp_path / "a.zst").exists()


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
