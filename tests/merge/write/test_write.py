"""A plan is carried out: what is built from pages is checked, and what fails costs what it must."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing

import pytest

from farm_merge.errors import OutputError
from farm_merge.merge import merge_shards
from farm_merge.merge.write import attach, graft, write
from farm_merge.sqlite import connect, file_uri
from tests.conftest import content, query, union
from tests.merge.checks import ids
from tests.merge.eras import write_era


def test_rows_that_pages_lost_are_noticed_and_come_by_rows(make_shard, tmp_path, monkeypatch):
    """As if a leaf had gone on its way: the check counts, and all begins anew row by row."""
    honest, events = graft.register_grafted, []

    def lossy(connection, grafted, *others):
        honest(connection, grafted, *others)
        if grafted:
            connection.execute("DELETE FROM agent_states WHERE step_number = 3")

    monkeypatch.setattr(graft, "register_grafted", lossy)
    shards = [make_shard("a"), make_shard("b")]
    output = tmp_path / "out" / "exp.db"
    merge_shards(shards, output, engine="graft", progress=events.append)
    (message,) = [event.message for event in events if "row by row" in event.message]
    assert message.endswith("table agent_states: 30 rows in the shards, 24 in the output")
    assert content(output) == union(*shards)
    assert [path.name for path in output.parent.iterdir()] == ["exp.db"]


def test_a_value_that_pages_changed_is_noticed_where_content_is_verified(
    make_shard, tmp_path, monkeypatch
):
    honest = graft.register_grafted

    def dishonest(connection, grafted, *others):
        honest(connection, grafted, *others)
        connection.execute("UPDATE agents SET position_x = position_x + 1")

    monkeypatch.setattr(graft, "register_grafted", dishonest)
    events = []
    shard, output = make_shard("a"), tmp_path / "exp.db"
    merge_shards([shard], output, engine="graft", verify="content", progress=events.append)
    (message,) = [event.message for event in events if "row by row" in event.message]
    assert "table agents: the output differs" in message
    assert content(output) == content(shard)


def with_pages(path, size):
    """Write a file anew with pages of another size."""
    with closing(connect(file_uri(path))) as connection:
        connection.execute(f"PRAGMA page_size = {size}")
        connection.execute("VACUUM")
    return path


@pytest.mark.parametrize(("sizes", "expected"), [([8192, 4096], 8192), ([1024], 1024), ([], 4096)])
@pytest.mark.parametrize("engine", ["graft", "attach"])
def test_an_output_has_the_pages_of_its_first_shard(make_shard, tmp_path, sizes, expected, engine):
    """Older files are rewritten into shards of the usual size."""
    inputs = [write_era(tmp_path / "a_old.db", 8, "a")]
    for number, size in enumerate(sizes):
        inputs.append(with_pages(make_shard(f"s{number}"), size))
    output = tmp_path / "exp.db"
    merge_shards(inputs, output, engine=engine)
    assert query(output, "PRAGMA page_size") == [(expected,)]
    assert query(output, "PRAGMA integrity_check") == [("ok",)]
    assert len(ids(output)) == len(inputs)


def test_what_fails_while_rows_are_copied_leaves_the_transactions_before(
    make_shard, tmp_path, monkeypatch
):
    output = tmp_path / "exp.db"
    merge_shards([make_shard("z")], output)
    honest = attach.register

    def failing(connection, planned, *others):
        honest(connection, planned, *others)
        if planned.simulation_id == "b":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(attach, "register", failing)
    shards = [make_shard(name) for name in "abc"]
    with pytest.raises(OutputError, match=r"No space left on device.*what was committed stays"):
        merge_shards(shards, output)
    assert ids(output) == ["a", "z"]
    assert query(output, "PRAGMA integrity_check") == [("ok",)]
    monkeypatch.undo()
    merge_shards(shards, output)
    assert ids(output) == ["a", "b", "c", "z"]


def test_what_fails_while_a_new_output_is_built_leaves_nothing(make_shard, tmp_path, monkeypatch):
    def failing(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write, "check_new_output", failing)
    output = tmp_path / "out" / "exp.db"
    with pytest.raises(OutputError, match=r"No space left on device.*nothing was written"):
        merge_shards([make_shard("a")], output)
    assert list(output.parent.iterdir()) == []


def test_progress_counts_rows_and_names_simulations(make_shard, tmp_path):
    shards = [make_shard("a"), make_shard("b")]
    for engine in ("graft", "attach"):
        events = []
        report = merge_shards(
            shards, tmp_path / f"{engine}.db", engine=engine, progress=events.append
        )
        copied = [event for event in events if event.phase == "copy"]
        assert copied[-1].done == report.rows
        assert all(event.done <= event.total for event in copied)
        assert copied[0].total == copied[-1].total == report.rows  # the files are of one size
        assert [event.message for event in copied if event.message] == [
            f"merged: {path} [{path.stem}] (new)" for path in shards
        ]
        assert [event.done for event in copied] == sorted(event.done for event in copied)


def test_a_shard_that_is_left_for_rows_is_counted_first(make_shard, tmp_path):
    """It was inspected briefly, for its pages; these do not fit beside those of the first."""
    first, other = make_shard("a", steps=3000), with_pages(make_shard("b", steps=3000), 8192)
    output = tmp_path / "exp.db"
    report = merge_shards([first, other], output)
    assert content(output) == union(first, other)
    assert report.rows == sum(map(len, content(output).values()))


def test_little_is_copied_row_by_row_without_numpy(make_shard, tmp_path):
    """NumPy would take longer to start than all else that a merge of so little does."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "from farm_merge.merge import merge_shards\n"
            "merge_shards(sys.argv[1:2], sys.argv[2])\n"
            "print('numpy' in sys.modules)",
            make_shard("a"),
            tmp_path / "exp.db",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
    assert content(tmp_path / "exp.db") == content(tmp_path / "shards" / "a.db")
