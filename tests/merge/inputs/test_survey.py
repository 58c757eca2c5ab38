"""All inputs are inspected, several at once; what is wrong with any costs only itself."""

from __future__ import annotations

import shutil

import pytest

from farm_merge.merge import merge_shards
from farm_merge.merge.inputs.survey import survey
from farm_merge.merge.options import Options
from tests.conftest import query
from tests.merge.checks import ids
from tests.merge.eras import write_nameless


@pytest.fixture
def surveyed(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()

    def survey_(*paths, brief=False, **options):
        events = []
        options = Options(**options)
        found = survey(paths, lambda _: brief, options, folder, events.append)
        assert [(it.phase, it.done, it.total) for it in events] == [
            ("inspect", number, len(paths)) for number in range(1, len(paths) + 1)
        ]
        return found

    return survey_


@pytest.mark.parametrize("jobs", [1, 4])
def test_inputs_come_in_the_order_in_which_they_were_found(make_shard, tmp_path, surveyed, jobs):
    paths = [make_shard(f"s{n}", steps=1 + 40 * (n % 3 == 0)) for n in range(12)]
    bad = tmp_path / "bad.db"
    bad.write_text("nothing")
    found = surveyed(*paths[:6], bad, *paths[6:], tmp_path / "gone.db", jobs=jobs)
    assert [it.path for it in found.sources] == paths
    assert {path.name: error.reason for path, error in found.bad.items()} == {
        "bad.db": "not a SQLite database (or an encrypted one)",
        "gone.db": "no such file",
    }
    assert found.running == {}


def test_a_file_under_two_names_is_read_under_both(make_shard, surveyed):
    """While one thread has it open, the other finds it open in this process, and tries again."""
    path = make_shard("a", steps=500)
    links = [path.with_name(f"link{n}.db") for n in range(4)]
    for link in links:
        link.hardlink_to(path)
    assert len(surveyed(path, *links, jobs=5).sources) == 5


def test_shards_that_are_alike_share_one_mapping_whichever_process_saw_them(make_shard, surveyed):
    paths = [make_shard(f"s{number:02}") for number in range(70)]
    sources = surveyed(*paths, brief=True, jobs=2).sources
    assert [it.path for it in sources] == paths
    assert len({id(it.mapping) for it in sources}) == 1
    assert len({id(it.structure) for it in sources}) == 1


def test_briefly_where_that_will_do(make_shard, tmp_path, surveyed):
    paths = [make_shard("a"), make_shard("b", "c"), write_nameless(tmp_path / "d.db", 1)]
    found = surveyed(*paths, brief=True)
    assert [it.contents is None for it in found.sources] == [True, False, False]
    found.read_whole({paths[0]})
    assert [it.contents is None for it in found.sources] == [False, False, False]
    assert [it.path for it in found.sources] == paths


@pytest.mark.parametrize("brief", [True, False])
def test_a_shard_that_is_being_written_is_running(make_shard, writer, surveyed, brief):
    """However large: its pages are not copied meanwhile."""
    path, other = make_shard("a", steps=3000), make_shard("b")
    query(path, "CREATE TABLE t (k INTEGER PRIMARY KEY, v)")
    writer(path, "DELETE")
    found = surveyed(path, other, brief=brief)
    assert [it.path for it in found.sources] == [other]
    assert {path.name: error.reason for path, error in found.running.items()} == {
        "a.db": "its run is writing it"
    }
    assert found.bad == {}


def test_what_is_committed_is_read_from_a_copy_where_that_is_wanted(tmp_path, writer, surveyed):
    path = write_nameless(tmp_path / "a.db", "x")
    writer(path, "WAL")
    found = surveyed(path, include_running=True)
    (source,) = found.sources
    assert source.path == path
    assert source.file.snapshot.parent == tmp_path / "work"
    assert source.contents.row_counts == ({"t": 2},)
    assert found.running == {}


def test_a_damaged_shard_that_was_inspected_briefly_is_named_later(make_shard, surveyed):
    path = make_shard("a")
    found = surveyed(path, brief=True)
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xee" * (len(data) - 4096)
    path.write_bytes(data)
    found.read_whole({path})
    assert found.sources == []
    assert found.bad.keys() == {path}


def test_a_copy_of_one_that_runs_is_another_file(tmp_path, writer):
    path = write_nameless(tmp_path / "in" / "a.db", "x")
    copy = shutil.copy(path, tmp_path / "in" / "b.db")
    writer(path, "DELETE")
    report = merge_shards([tmp_path / "in"], tmp_path / "exp.db")
    assert [left.path for left in report.left_out] == [path]
    assert ids(tmp_path / "exp.db") == [copy.stem]
