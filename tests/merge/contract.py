"""What a merge promises, whatever way its rows take.

`Promises` holds for every way of writing; `NewOutputPromises` and `ExistingOutputPromises` add what
makes sense for an output that is new, or that is there. A way is a subclass that defines what its
inputs are, and with which engine they are merged; `test_contract` has them all.

Rows are read and compared without the package: by name, by value and by type.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import xxhash

from farm_merge.errors import ConflictError, OutputError, ShardError
from farm_merge.merge import Action, describe_plan, merge_shards, plan_merge
from farm_merge.merge.write import write
from farm_merge.sqlite import sqlite3
from tests.conftest import query, write_shard
from tests.merge.checks import (
    actions,
    content_of,
    counts_of,
    ids,
    require_arrived,
    require_sound,
    snapshot,
)
from tests.merge.eras import write_era
from tests.merge.killing import kill_at_steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from farm_merge.merge import MergeReport, Progress

AWKWARD = (
    None, 2**63 - 1, -(2**63), 9007199254740993, 1e999, -1e999, 5e-324, 0.1, -0.0,
    b"", b"\0\xff", "", "nul\0inside", "☃", "007", " 5", "'; DROP TABLE agents; --", "x" * 5000,
)  # fmt: skip


def add_awkward_values(path: Path, simulation_id: str | None) -> None:
    """Add a table without types, with values that are easily changed on their way."""
    own = "simulation_id VARCHAR(64) NOT NULL, " if simulation_id else ""
    key = "PRIMARY KEY (simulation_id, k)) WITHOUT ROWID" if simulation_id else "PRIMARY KEY (k))"
    ids_ = [simulation_id] if simulation_id else []
    marks = "?, " * len(ids_)
    with closing(sqlite3.connect(str(path), isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute(f"CREATE TABLE odd ({own}k INTEGER NOT NULL, v, w TEXT, {key}")
        rows = [(*ids_, number, value, value) for number, value in enumerate(AWKWARD)]
        connection.executemany(f"INSERT INTO odd VALUES ({marks}?, ?, ?)", rows)
        # Text that is no UTF-8.
        text = "CAST(x'ff61fe' AS TEXT)"
        connection.execute(f"INSERT INTO odd VALUES ({marks}-1, {text}, {text})", ids_)
        connection.execute("COMMIT")


@dataclass
class Place:
    """Where a way works: its inputs, its output, and nothing else beside that.

    Attributes:
        inputs: The folder of the inputs.
        output: The output.
        options: What the way merges with.
        held: The simulations that the output has before, each with the file it came from.
        write: Writes an input.
    """

    inputs: Path
    output: Path
    options: dict[str, Any]
    held: dict[str, Path]
    write: Callable[..., Path]

    def merge(self, *paths: Path, **options: Any) -> MergeReport:
        return merge_shards(paths, self.output, **{**self.options, **options})

    def before(self) -> bytes | None:
        """Return the bytes of the output; None where there is none."""
        return self.output.read_bytes() if self.output.exists() else None

    def require_merged(self, *paths: Path) -> None:
        """Check that the output is sound, and holds what it held, these inputs, and no more."""
        sources = {**self.held, **{path.stem: path for path in paths}}
        require_sound(self.output)
        assert ids(self.output) == sorted(sources)
        for simulation_id, source in sources.items():
            require_arrived(self.output, source, simulation_id)


def when_inspected(number: int, do: Callable[[], object]) -> Callable[[Progress], None]:
    """Do something when the last of so many inputs was inspected, and nothing was written yet."""

    def progress(event: Progress) -> None:
        if event.phase == "inspect" and event.done == number:
            do()

    return progress


class Promises:
    """A merge, by a way of writing: one promise a test.

    Attributes:
        engine: What the way merges with.
        is_legacy: Whether its inputs are of an older schema, and are rewritten first.
        has_output: Whether its output is there already.
        copies_pages: Whether rows travel by the page.
    """

    engine = "attach"
    is_legacy = False
    has_output = False
    copies_pages = False

    @pytest.fixture
    def place(self, tmp_path):
        """Make room for a merge, and see afterwards that nothing is left beside the output."""
        output = tmp_path / "out" / "exp.db"
        output.parent.mkdir()
        place = Place(tmp_path / "in", output, {"engine": self.engine}, {}, self.write)
        if self.has_output:
            first = self.write(tmp_path / "before" / "m_first.db", shift=7.0)
            place.merge(first)
            place.held["m_first"] = first
        yield place
        assert [path.name for path in output.parent.iterdir()] in ([], ["exp.db"])

    @classmethod
    def write(cls, path: Path, *, shift: float = 0.0, steps: int = 5) -> Path:
        """Write an input with one simulation, called by the file's stem."""
        return cls.write_as(path.stem, path, shift=shift, steps=steps)

    @classmethod
    def write_as(
        cls, simulation_id: str, path: Path, *, shift: float = 0.0, steps: int = 5
    ) -> Path:
        """Write an input with one simulation; other data under the same keys where it shifts."""
        if not cls.is_legacy:
            write_shard(path, simulation_id, steps=steps, shift=shift)
            add_awkward_values(path, simulation_id)
            return path
        write_era(path, 8, simulation_id)
        query(path, "UPDATE agent_states SET position_x = position_x + ?", shift)
        add_awkward_values(path, None)
        return path

    @pytest.fixture
    def three(self, place):
        """Write three inputs that differ in their rows."""
        return [
            place.write(place.inputs / f"{name}.db", steps=steps, shift=steps / 2)
            for name, steps in (("a", 5), ("b", 40), ("z", 1))
        ]

    def test_the_way_is_the_one_that_it_claims(self, place, three, monkeypatch):
        """Else all that follows could hold for another."""
        mappings = describe_plan(plan_merge(three, place.output))["mappings"]
        assert bool(mappings) == self.is_legacy
        by_rows = []
        honest = write.copy_simulation

        def copy(connection, planned, *others):
            by_rows.append(planned.simulation_id)
            return honest(connection, planned, *others)

        monkeypatch.setattr(write, "copy_simulation", copy)
        place.merge(*three)
        assert by_rows == ([] if self.copies_pages else ["a", "b", "z"])

    def test_every_row_of_every_input_arrives_value_and_type(self, place, three):
        report = place.merge(*three)
        place.require_merged(*three)
        assert actions(report) == dict.fromkeys("abz", Action.COPY)
        assert query(place.output, "PRAGMA foreign_key_check") == []
        assert query(place.output, "PRAGMA journal_mode") == [("delete",)]

    @pytest.mark.parametrize("verify", ["none", "content"])
    def test_what_arrives_does_not_depend_on_how_it_is_verified(self, place, three, verify):
        place.merge(*three, verify=verify)
        place.require_merged(*three)

    def test_merging_again_changes_nothing_byte_for_byte(self, place, three):
        place.merge(*three)
        before = place.before()
        for touch in (False, True):
            if touch:  # then the ledger does not recall the file, and its content decides
                for path in three:
                    os.utime(path, ns=(1, 1))
            report = place.merge(*three)
            assert actions(report) == dict.fromkeys("abz", Action.ALREADY_MERGED)
            assert report.rows == 0
            assert place.before() == before

    def test_one_simulation_in_two_files_is_merged_once(self, place, three):
        copy = shutil.copy(three[0], place.inputs / "copy.db")
        vacuumed = place.inputs / "vacuumed.db"
        query(three[0], "VACUUM INTO ?", str(vacuumed))
        report = place.merge(three[0], copy, vacuumed)
        found = [outcome.action for outcome in report.simulations]
        assert found == [Action.COPY, Action.ALREADY_MERGED, Action.ALREADY_MERGED]
        place.require_merged(three[0])

    def test_a_merge_in_parts_is_the_merge_of_all(self, place, three):
        place.merge(three[1])
        place.merge(*three)
        place.require_merged(*three)

    def test_inputs_and_their_folder_stay_byte_for_byte(self, place, three):
        rival = place.write(place.inputs / "more" / "a.db", shift=99.0)
        before = snapshot(place.inputs)
        with pytest.raises(ConflictError):
            place.merge(*three, rival)
        place.merge(*three, rival, on_conflict="skip")
        place.merge(*three)
        assert snapshot(place.inputs) == before

    def test_the_ledger_records_what_came_from_where(self, place, three):
        place.merge(*three)
        columns = (
            "fingerprint, source_path, source_schema, size_bytes, inode, row_counts, choices"
            " FROM merged_shards WHERE simulation_id = ?"
        )
        for path in three:
            ((digest, source, schema, size, inode, counts, choices),) = query(
                place.output, f"SELECT {columns}", path.stem
            )
            data = path.read_bytes()
            assert digest == xxhash.xxh3_128_hexdigest(data)
            assert (source, size, inode) == (str(path), len(data), path.stat().st_ino)
            assert schema.startswith("AgentFarm era 8" if self.is_legacy else "farm-merge 1")
            assert json.loads(counts) == counts_of(path)
            assert json.loads(choices) == {}

    def test_the_report_adds_up(self, place, three):
        text = place.inputs / "text.db"
        text.write_text("not a database " * 100)
        place.merge(three[0])
        report = place.merge(*three, text, on_bad_shard="skip")
        assert report.files == {"merged": 2, "already there": 1, "left out": 1}
        assert [left.path for left in report.left_out] == [text]
        found = {it.simulation_id: (it.path, it.action, it.row_counts) for it in report.simulations}
        assert found == {
            path.stem: (
                path,
                Action.ALREADY_MERGED if path == three[0] else Action.COPY,
                counts_of(path),
            )
            for path in three
        }
        assert report.counts == {Action.COPY: 2, Action.ALREADY_MERGED: 1}
        assert report.rows == sum(sum(counts_of(path).values()) for path in three[1:])
        assert report.output == place.output

    def bad_inputs(self, place, good):
        files = {
            name: place.inputs / f"{name}.db"
            for name in ("empty", "text", "torn", "bare", "hole", "missing", "link", "pipe")
        }
        files["empty"].touch()
        files["text"].write_text("not a database " * 100)
        data = bytearray(good.read_bytes())
        files["torn"].write_bytes(data[: len(data) // 2])
        query(files["bare"], "CREATE VIEW v AS SELECT 1")
        for page in range(5, len(data) // 4096, 2):
            data[page * 4096 : (page + 1) * 4096] = random.Random(page).randbytes(4096)
        files["hole"].write_bytes(data)
        files["link"].symlink_to(place.inputs / "nowhere.db")
        os.mkfifo(files["pipe"])
        return files

    def test_everything_that_is_wrong_with_inputs_is_named_in_one_go(self, place, three):
        files = self.bad_inputs(place, three[1])
        before = place.before()
        with pytest.raises(ShardError) as caught:
            place.merge(*three[::2], *files.values())
        named = str(caught.value)
        # Pages that are copied are looked at when they pass, if nothing else is wrong.
        found = {name for name, path in files.items() if f"{path}: " in named}
        assert files.keys() - found <= ({"hole"} if self.copies_pages else set())
        assert place.before() == before

    def test_a_damaged_input_is_named_and_nothing_is_written(self, place, three):
        hole = self.bad_inputs(place, three[1])["hole"]
        before = place.before()
        with pytest.raises(ShardError) as caught:
            place.merge(*three[::2], hole)
        assert f"{hole}: " in str(caught.value)
        assert place.before() == before

    def test_a_bad_input_costs_only_itself(self, place, three):
        good = three[::2]
        files = self.bad_inputs(place, three[1])
        report = place.merge(*files.values(), *good, on_bad_shard="skip")
        assert {left.path for left in report.left_out} == set(files.values())
        place.require_merged(*good)

    def test_an_input_that_changes_after_the_plan_costs_only_itself(self, place, three):
        late = when_inspected(3, lambda: query(three[1], "DELETE FROM agents"))
        report = place.merge(*three, on_bad_shard="skip", progress=late)
        assert [(left.path, left.reason) for left in report.left_out] == [
            (three[1], "changed after it was inspected")
        ]
        place.require_merged(*three[::2])
        place.merge(*three)
        place.require_merged(*three)

    def test_an_input_that_changes_after_the_plan_is_named(self, place, three):
        late = when_inspected(3, lambda: query(three[1], "DELETE FROM agents"))
        with pytest.raises(ShardError, match="changed after it was inspected") as caught:
            place.merge(*three, progress=late)
        assert f"{three[1]}: " in str(caught.value)
        if self.has_output:
            # What was committed stays; pages come all at once.
            place.require_merged(*([] if self.copies_pages else three[:1]))
        else:
            assert not place.output.exists()

    def test_an_input_that_vanishes_after_the_plan_costs_only_itself(self, place, three):
        late = when_inspected(3, three[1].unlink)
        report = place.merge(*three, on_bad_shard="skip", progress=late)
        assert [(left.path, left.reason) for left in report.left_out] == [
            (three[1], "no such file")
        ]
        assert actions(report).keys() == {"a", "z"}
        place.require_merged(*three[::2])

    def test_a_merge_that_is_killed_at_any_step_is_finished_by_the_same_command(
        self, place, three, tmp_path
    ):
        before = place.output if self.has_output else None
        killed = kill_at_steps(tmp_path / "killed", three, before, 8, engine=self.engine)
        held = len(place.held)
        place.merge(*three)
        whole = content_of(place.output)
        for output in killed:
            if output.exists():
                self.require_what_was_committed(output, place.held, three)
            else:
                assert not self.has_output
            report = merge_shards(three, output, engine=self.engine)
            assert content_of(output) == whole
            require_sound(output)
            assert len(report.simulations) == len(three)
            assert query(output, "SELECT count(*) FROM merged_shards") == [(held + len(three),)]
            assert [path.name for path in output.parent.iterdir()] == ["exp.db"]

    def require_what_was_committed(self, output, held, inputs):
        """Check that an output has whole simulations alone, each with its entry in the ledger."""
        require_sound(output)
        sources = {**held, **{path.stem: path for path in inputs}}
        found = ids(output)
        for simulation_id in found:
            require_arrived(output, sources[simulation_id], simulation_id)
        ledger = query(output, "SELECT simulation_id FROM merged_shards ORDER BY 1")
        assert [name for (name,) in ledger] == found
        assert found == sorted(sources) if not self.has_output else set(held) <= set(found)

    def test_only_what_is_merged_moves_to_the_archive(self, place, three, tmp_path):
        files = self.bad_inputs(place, three[1])
        archive = tmp_path / "archive"
        report = place.merge(*files.values(), *three[::2], on_bad_shard="skip", archive=archive)
        moved = [archive / three[0].name, archive / three[2].name]
        assert sorted(archive.iterdir()) == moved
        assert report.archived == tuple(zip(three[::2], moved, strict=True))
        stay = {three[1], *files.values()} - {files["missing"]}
        assert set(place.inputs.iterdir()) == stay
        place.require_merged(*moved)

    def test_nothing_moves_when_nothing_is_merged(self, place, three, tmp_path):
        files = self.bad_inputs(place, three[1])
        with pytest.raises(ShardError):
            place.merge(*files.values(), *three, archive=tmp_path / "archive")
        assert all(path.exists() for path in three)
        assert not (tmp_path / "archive").exists()


class NewOutputPromises(Promises):
    """What holds for an output that is new."""

    @pytest.fixture
    def rivals(self, place):
        """Write two inputs that hold different data of one simulation."""
        return [
            place.write(place.inputs / "a.db"),
            place.write(place.inputs / "other" / "a.db", shift=1.0),
        ]

    def test_a_conflict_is_named_before_anything_is_written(self, place, rivals):
        with pytest.raises(ConflictError, match="'a'") as caught:
            place.merge(*rivals)
        assert all(str(path) in str(caught.value) for path in rivals)
        assert not place.output.exists()

    @pytest.mark.parametrize("choice", ["skip", "replace"])
    def test_among_inputs_the_first_wins_and_the_other_is_named(self, place, rivals, choice):
        report = place.merge(*rivals, on_conflict=choice)
        assert [(left.path, left.simulation_id) for left in report.left_out] == [(rivals[1], "a")]
        place.require_merged(rivals[0])

    @pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
    def test_a_stray_companion_of_the_output_is_refused(self, place, three, suffix):
        stray = place.output.with_name(f"exp.db{suffix}")
        stray.write_bytes(b"old")
        with pytest.raises(OutputError, match=stray.name):
            place.merge(*three)
        assert stray.read_bytes() == b"old"
        stray.unlink()

    def test_an_output_that_appears_meanwhile_is_never_replaced(self, place, three):
        def intrude(event):
            if event.phase == "verify":
                place.output.write_bytes(b"somebody else's")

        with pytest.raises(OutputError, match="appeared"):
            place.merge(*three, progress=intrude)
        assert place.output.read_bytes() == b"somebody else's"

    def test_nothing_is_there_before_all_is(self, place, three):
        seen = []
        place.merge(*three, progress=lambda event: seen.append(place.output.exists()))
        assert seen
        assert not any(seen)
        assert place.output.exists()


class ExistingOutputPromises(Promises):
    """What holds for an output that is there."""

    has_output = True

    @pytest.fixture
    def rival(self, place):
        """Write an input that holds other data of a simulation that the output has."""
        return place.write(place.inputs / "more" / "m_first.db", shift=1.0)

    def test_all_conflicts_are_named_before_anything_is_written(self, place, three, rival):
        place.merge(three[0])
        rivals = [rival, place.write(place.inputs / "more" / "a.db", shift=1.0)]
        before = place.before()
        with pytest.raises(ConflictError, match="'m_first'") as caught:
            place.merge(*three, *rivals)
        assert all(f"{path}: " in str(caught.value) for path in rivals)
        assert place.before() == before

    def test_what_is_there_can_be_kept(self, place, three, rival):
        report = place.merge(*three, rival, on_conflict="skip")
        assert [(left.path, left.simulation_id) for left in report.left_out] == [(rival, "m_first")]
        place.require_merged(*three)

    def test_what_is_there_can_be_replaced(self, place, three, rival):
        report = place.merge(*three, rival, on_conflict="replace")
        assert report.left_out == ()
        assert actions(report)["m_first"] is Action.REPLACE
        place.require_merged(*three, rival)
        ledger = "SELECT source_path, choices FROM merged_shards WHERE simulation_id = 'm_first'"
        assert query(place.output, ledger) == [(str(rival), '{"replaced": true}')]

    def test_a_simulation_that_is_there_is_not_written_again(self, place, three):
        place.merge(three[0])
        copied = place.inputs / "copy" / "a.db"
        copied.parent.mkdir()
        query(three[0], "VACUUM INTO ?", str(copied))
        before = place.before()
        assert actions(place.merge(copied)) == {"a": Action.ALREADY_MERGED}
        assert place.before() == before

    def test_readers_go_on_while_the_output_grows(self, place, three, monkeypatch):
        """A reader that comes meanwhile neither waits nor sees half of anything."""
        monkeypatch.setattr("farm_merge.sqlite.BUSY_TIMEOUT_SECONDS", 1)
        asked = "SELECT count(*) FROM agents"
        with closing(sqlite3.connect(str(place.output), isolation_level=None, timeout=0)) as reader:
            before = reader.execute(asked).fetchone()
            seen = []

            def read(event):
                if event.phase == "copy":
                    if not reader.in_transaction:
                        reader.execute("BEGIN")
                    seen.append(reader.execute(asked).fetchone())

            place.merge(*three, progress=read)
            assert set(seen) == {before}
            reader.execute("COMMIT")
            agents = sum(counts_of(path)["agents"] for path in three)
            assert reader.execute(asked).fetchone() == (before[0] + agents,)

    def test_the_file_alone_is_whole_though_somebody_has_it_open(self, place, three, tmp_path):
        with closing(sqlite3.connect(str(place.output), isolation_level=None)) as reader:
            asked = "SELECT count(*) FROM agents"
            place.merge(*three, progress=lambda _: reader.execute(asked).fetchone())
            # In another process: closing a file here would drop the locks of this one.
            subprocess.run(["cp", place.output, tmp_path / "copy.db"], check=True)
            assert content_of(tmp_path / "copy.db") == content_of(place.output)
        place.require_merged(*three)
