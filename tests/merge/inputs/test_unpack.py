"""An input that is compressed is read from a private copy."""

from __future__ import annotations

import gzip
import sys

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge import Action, merge_shards
from farm_merge.merge.inputs.formats import format_of
from farm_merge.merge.inputs.unpack import starts_like_a_database, unpack
from tests.conftest import content
from tests.merge.checks import actions, ids, snapshot

zstandard = pytest.importorskip("zstandard")

PACK = {"gz": gzip.compress, "zst": lambda data: zstandard.ZstdCompressor().compress(data)}


@pytest.fixture(params=["gz", "zst"])
def pack(request, tmp_path):
    """Write bytes into a compressed file."""

    def write(data, name="a.db"):
        path = tmp_path / "in" / f"{name}.{request.param}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(PACK[request.param](data))
        return path

    return write


def kind(path):
    return format_of(path.read_bytes()[:100])


def test_a_packed_shard_is_merged_and_stays_as_it_is(make_shard, pack, tmp_path):
    shard = make_shard("a")
    path, output = pack(shard.read_bytes()), tmp_path / "out" / "exp.db"
    before = snapshot(path.parent)
    merge_shards([path], output, verify="content")
    assert content(output) == content(shard)
    assert actions(merge_shards([path], output)) == {"a": Action.ALREADY_MERGED}
    assert snapshot(path.parent) == before
    assert [it.name for it in output.parent.iterdir()] == ["exp.db"]


def test_a_packed_file_and_its_original_are_one_run(make_shard, pack, tmp_path):
    shard = make_shard("a")
    merge_shards([shard, pack(shard.read_bytes())], tmp_path / "exp.db")
    assert ids(tmp_path / "exp.db") == ["a"]


def test_a_packed_file_in_a_folder_is_taken_by_what_it_holds(make_shard, pack):
    shard = make_shard("a")
    good, text = pack(shard.read_bytes()), pack(b"nothing", "notes")
    assert starts_like_a_database(good, kind(good))
    assert not starts_like_a_database(text, kind(text))


def test_a_packed_file_that_holds_something_else_is_named(pack, tmp_path):
    path = pack(b"nothing" * 50)
    with pytest.raises(ShardError, match="that holds no SQLite database: not a SQLite") as caught:
        merge_shards([path], tmp_path / "exp.db")
    assert f"{path}: " in str(caught.value)


def test_no_more_is_unpacked_than_a_database_has(make_shard, pack, tmp_path):
    """A few kilobytes can hold a billion zeros."""
    shard = make_shard("a").read_bytes()
    bomb = pack(shard + bytes(64 << 20))
    with pytest.raises(ShardError, match="holds much more than a database of its size"):
        unpack(bomb, kind(bomb), tmp_path / "copy")
    assert (tmp_path / "copy").stat().st_size < 4 << 20
    other = pack(b"SQLite" + bytes(64 << 20), "b.db")
    with pytest.raises(ShardError, match=r"no SQLite database|much more"):
        merge_shards([other], tmp_path / "exp.db")
    longer = pack(shard + bytes(4096), "c.db")
    merge_shards([longer], tmp_path / "exp.db")
    assert ids(tmp_path / "exp.db") == ["a"]


def test_a_packed_file_that_is_torn_is_named(make_shard, pack, tmp_path):
    path = pack(make_shard("a").read_bytes())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ShardError, match=r"cannot be unpacked|no SQLite database") as caught:
        merge_shards([path], tmp_path / "exp.db")
    assert f"{path}: " in str(caught.value)
    assert not (tmp_path / "exp.db").exists()


def test_a_copy_is_never_written_over_another(make_shard, pack, tmp_path):
    path = pack(make_shard("a").read_bytes())
    (tmp_path / "copy").write_text("mine")
    with pytest.raises(ShardError, match="File exists"):
        unpack(path, kind(path), tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "mine"


def test_without_the_package_a_file_is_named_with_the_remedy(make_shard, tmp_path, monkeypatch):
    path = tmp_path / "a.db.zst"
    path.write_bytes(PACK["zst"](make_shard("a").read_bytes()))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert starts_like_a_database(path, kind(path))  # so it is reported
    with pytest.raises(ShardError, match="zstandard is not installed; unpack it"):
        unpack(path, kind(path), tmp_path / "copy")
