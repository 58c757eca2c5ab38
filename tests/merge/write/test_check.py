"""What is published is proved: in order, whole, and every row with the simulation it belongs to."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from farm_merge.errors import ConflictError, DamagedGraftError, OutputError, ShardError
from farm_merge.merge import merge_shards
from farm_merge.merge.pages.join import GrowingFile
from farm_merge.merge.plan.plan import Action, Outcome
from farm_merge.merge.write import graft, write
from farm_merge.merge.write.check import check_new_output
from farm_merge.schema import DATA_TABLES
from farm_merge.sqlite import file_uri, sqlite3
from tests.conftest import content, query, union, vacuumed
from tests.merge import damage
from tests.merge.pages.raw import Raw

ENGINES = ["graft", "attach"]
EVERY_DAMAGE = {**damage.OUT_OF_ORDER, **damage.MALFORMED}


@pytest.fixture
def shards(make_shard):
    """Three shards whose trees have many pages; the one in the middle is to be damaged."""
    return [small_pages(make_shard(name, steps=150, agents=20)) for name in "amz"]


def small_pages(path):
    return vacuumed(path, "PRAGMA page_size = 512")


def scan(path):
    """Return the rows of all tables of data as SQLite reads them from first to last."""
    with closing(sqlite3.connect(file_uri(path, mode="ro"), uri=True)) as connection:
        connection.text_factory = bytes
        return {
            table: Counter(connection.execute(f"SELECT * FROM {table}")) for table in DATA_TABLES
        }


def require_proved(output, sources):
    """Check that an output is in order and holds the rows of its sources, by simulation."""
    assert query(output, "PRAGMA integrity_check") == [("ok",)]
    expected = [scan(source) for source in sources]
    found = scan(output)
    for table in DATA_TABLES:
        assert found[table] == sum((counts[table] for counts in expected), Counter())
        by_key = Counter()
        for (simulation_id,) in query(output, f"SELECT DISTINCT simulation_id FROM {table}"):
            rows = f"SELECT count(*) FROM {table} WHERE simulation_id = ?"
            by_key[simulation_id] = query(output, rows, simulation_id)[0][0]
        assert by_key.total() == found[table].total()


def require_refused_or_proved(sources, suspect, output, engine):
    """Merge files of which one is suspect: it is left out by name, or all is as SQLite reads it."""
    try:
        report = merge_shards(sources, output, on_bad_shard="skip", engine=engine)
    except ConflictError as conflict:  # it claims a simulation of another file
        message = str(conflict)
    if not output.exists():
        assert str(suspect) in message
        return "conflict"
    left_out = [left.path for left in report.left_out]
    assert left_out in ([], [suspect])
    require_proved(output, [source for source in sources if source not in left_out])
    return "refused" if left_out else "merged"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("change", EVERY_DAMAGE.values(), ids=EVERY_DAMAGE)
def test_a_damaged_shard_is_left_out_by_name_and_the_others_are_merged(
    shards, tmp_path, engine, change
):
    first, bad, last = shards
    damage.damaged(bad, change)
    output = tmp_path / "exp.db"
    report = merge_shards(shards, output, on_bad_shard="skip", engine=engine)
    assert [left_out.path for left_out in report.left_out] == [bad]
    assert "damaged" in report.left_out[0].reason
    assert [outcome.simulation_id for outcome in report.simulations] == ["a", "z"]
    require_proved(output, [first, last])
    assert content(output) == union(first, last)


@pytest.mark.parametrize("change", EVERY_DAMAGE.values(), ids=EVERY_DAMAGE)
def test_a_damaged_shard_stops_the_merge_by_name(shards, tmp_path, change):
    damage.damaged(shards[1], change)
    with pytest.raises(ShardError, match=r"m\.db: damaged; SQLite's integrity_check reports: "):
        merge_shards(shards, tmp_path / "exp.db", engine="graft")
    assert list(tmp_path.iterdir()) == [tmp_path / "shards"]


@pytest.mark.parametrize("change", damage.OUT_OF_ORDER.values(), ids=damage.OUT_OF_ORDER)
def test_a_damaged_shard_is_not_appended(shards, tmp_path, change):
    output = tmp_path / "exp.db"
    merge_shards([shards[0]], output)
    damage.damaged(shards[1], change)
    report = merge_shards(shards, output, on_bad_shard="skip")
    assert [left_out.path for left_out in report.left_out] == [shards[1]]
    require_proved(output, [shards[0], shards[2]])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["b", "q"])
def test_rows_at_the_end_of_another_simulation_are_of_that_simulation(
    shards, tmp_path, engine, name
):
    """Keys still ascend, so nothing is damaged: the file holds two simulations."""
    raw = Raw(shards[1])
    row = raw.rows(raw.roots["agent_states"])[0 if name == "b" else -1]
    _, value = damage.id_of(raw, row)
    raw.data[value] = ord(name)
    raw.save()
    output = tmp_path / "exp.db"
    assert require_refused_or_proved(shards, shards[1], output, engine) == "merged"
    rows = "SELECT count(*) FROM agent_states WHERE simulation_id = ?"
    assert query(output, rows, name) == [(1,)]
    assert query(output, rows, "m") == [(150 * 20 - 1,)]


@pytest.mark.parametrize("engine", ENGINES)
def test_rows_at_the_end_of_a_simulation_of_another_file_are_a_conflict(shards, tmp_path, engine):
    raw = Raw(shards[1])
    _, value = damage.id_of(raw, raw.rows(raw.roots["agent_states"])[-1])
    raw.data[value] = ord("z")
    raw.save()
    assert require_refused_or_proved(shards, shards[1], tmp_path / "exp.db", engine) == "conflict"


@pytest.mark.parametrize("seed", range(8))
def test_no_bit_that_flips_is_published_as_damage(make_shard, tmp_path, seed):
    """One bit of the pages of a tree at a time: refused by name, or as SQLite reads it."""
    choose = random.Random(seed)
    good = [make_shard(name, steps=20) for name in "az"]
    whole = make_shard("m", steps=20)
    if seed % 2:
        small_pages(whole)
    raw = Raw(whole)
    pages = [page for root in raw.roots.values() for page in raw.tree(root)]
    suspect = tmp_path / "suspect.db"
    seen = Counter()
    for number in range(12):
        place = raw.at(choose.choice(pages)) + choose.randrange(raw.page_size)
        bit = 1 << choose.randrange(8)
        raw.data[place] ^= bit
        raw.save(suspect)
        raw.data[place] ^= bit
        output = tmp_path / f"exp-{number}.db"
        sources = [good[0], suspect, good[1]]
        seen[require_refused_or_proved(sources, suspect, output, ENGINES[seed % 4 == 3])] += 1
    assert seen["merged"]


@pytest.mark.parametrize("seed", range(25))
def test_no_bytes_at_random_are_published_as_damage(make_shard, tmp_path, seed):
    """Anywhere behind the header, in the schema too: tables may have other names and columns."""
    choose = random.Random(seed)
    bad, good = make_shard("a", steps=300), make_shard("z")
    data = bytearray(bad.read_bytes())
    for _ in range(choose.choice([1, 5, 50])):
        data[choose.randrange(100, len(data))] = choose.randrange(256)
    bad.write_bytes(data)
    output = tmp_path / "exp.db"
    report = merge_shards([bad, good], output, on_bad_shard="skip", engine="graft")
    assert query(output, "PRAGMA integrity_check") == [("ok",)]
    sources = [
        path for path in (bad, good) if path not in [left_out.path for left_out in report.left_out]
    ]
    assert good in sources
    tables = {table for path in sources for table in tables_of(path)}
    for table in tables:
        expected = sum((counts(path, table) for path in sources), Counter())
        assert counts(output, table) == expected


def tables_of(path):
    listed = "SELECT name FROM sqlite_schema WHERE type = 'table'"
    about = {"simulations", "experiments", "merged_shards"}
    return {name for (name,) in query(path, listed)} - about


def counts(path, table):
    """Return the rows of a table by simulation, by a scan."""
    if table not in tables_of(path):
        return Counter()
    rows = query(path, f'SELECT +simulation_id, count(*) FROM "{table}" GROUP BY 1')
    return Counter(dict(rows))


FOLDER = os.environ.get("FARM_MERGE_FAULTS")


@pytest.mark.skipif(not FOLDER, reason="FARM_MERGE_FAULTS names no folder of damaged files")
@pytest.mark.parametrize("engine", ENGINES)
def test_files_that_were_damaged_elsewhere_cost_only_themselves(make_shard, tmp_path, engine):
    good = [small_pages(make_shard(name)) for name in "az"]
    paths = sorted(Path(str(FOLDER)).glob("*.db"))
    assert paths
    for path in paths:
        suspect = Path(shutil.copy(path, tmp_path))
        sources, output = [good[0], suspect, good[1]], tmp_path / f"{path.stem}-exp.db"
        require_refused_or_proved(sources, suspect, output, engine)
        assert output.exists(), path


def test_an_index_out_of_order_is_not_published(make_shard, tmp_path):
    """SQLite would not find the rows by it, or find those of another simulation."""
    shards = [make_shard(name, steps=60) for name in "amz"]
    for shard in shards:
        query(shard, "CREATE TABLE notes (simulation_id VARCHAR(64) NOT NULL, n INTEGER, x TEXT,"
              " PRIMARY KEY (simulation_id, n)) WITHOUT ROWID")  # fmt: skip
        query(shard, "CREATE INDEX by_x ON notes (simulation_id, x)")
        rows = "WITH RECURSIVE c (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM c WHERE n < 900)"
        query(shard, f"INSERT INTO notes {rows} SELECT ?, n, 'x' || n FROM c", shard.stem)
    raw = Raw(shards[1])
    damage.swap_pointers(raw, "by_x")
    raw.save()
    output = tmp_path / "exp.db"
    report = merge_shards(shards, output, on_bad_shard="skip", engine="graft")
    assert [left_out.path for left_out in report.left_out] == [shards[1]]
    require_proved(output, [shards[0], shards[2]])
    assert query(output, "SELECT count(*) FROM notes INDEXED BY by_x WHERE simulation_id = 'z'"
                 " AND x > 'x'") == [(900,)]  # fmt: skip


@pytest.fixture
def messages():
    return []


def merged_with(messages, shards, output):
    return merge_shards(
        shards, output, engine="graft", jobs=1, progress=lambda done: messages.append(done.message)
    )


def test_pages_that_were_lost_on_the_way_are_copied_as_rows(
    shards, tmp_path, monkeypatch, messages
):
    """A fault of ours would cost time, and no row."""
    honest = graft.transplant

    def lose_a_leaf(*arguments):
        branches = honest(*arguments)
        large = next(number for number, branch in enumerate(branches) if len(branch.leaves) > 3)
        kept = branches[large]
        branches[large] = type(kept)(
            kept.leaves[1:],
            kept.separators[kept.lengths[0] :],
            kept.lengths[1:],
            kept.tail,
        )
        return branches

    monkeypatch.setattr(graft, "transplant", lose_a_leaf)
    merged_with(messages, shards, tmp_path / "exp.db")
    assert any("rows in the shards" in message for message in messages)
    require_proved(tmp_path / "exp.db", shards)


def test_an_index_with_fewer_rows_than_its_table_is_not_grafted(shards, tmp_path, monkeypatch):
    added = []
    honest = GrowingFile.add
    monkeypatch.setattr(GrowingFile, "add", lambda *args: (added.append(1), honest(*args)))
    for shard in shards:
        query(shard, "CREATE TABLE notes (simulation_id VARCHAR(64) NOT NULL, n INTEGER,"
              " PRIMARY KEY (simulation_id, n)) WITHOUT ROWID")  # fmt: skip
        query(shard, "CREATE INDEX by_n ON notes (simulation_id, n DESC)")
        query(shard, "INSERT INTO notes VALUES (?, 1), (?, 2)", shard.stem, shard.stem)
    raw = Raw(shards[1])
    raw.put(raw.at(raw.roots["by_n"]) + 3, 1, 2)
    raw.save()
    report = merge_shards(shards, tmp_path / "exp.db", on_bad_shard="skip", engine="graft")
    assert [left_out.path for left_out in report.left_out] == [shards[1]]
    assert len(added) == 2
    require_proved(tmp_path / "exp.db", [shards[0], shards[2]])


def test_what_fails_its_check_row_by_row_as_well_is_not_published(shards, tmp_path, monkeypatch):
    def fails(*_):
        raise DamagedGraftError("row not in order", table="agents")

    monkeypatch.setattr(write, "check_new_output", fails)
    with pytest.raises(OutputError, match=r"exp\.db: does not pass its check.*table agents"):
        merge_shards(shards, tmp_path / "exp.db", engine="graft")
    assert not (tmp_path / "exp.db").exists()


def test_a_full_disk_is_not_damage_of_pages(shards, tmp_path, monkeypatch, messages):
    """The same again row by row would only fill it once more."""

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(graft, "register_grafted", full)
    with pytest.raises(OutputError, match=r"exp\.db: cannot be written \(database or disk is full"):
        merged_with(messages, shards, tmp_path / "exp.db")
    assert not any("row by row" in message for message in messages)
    assert not (tmp_path / "exp.db").exists()


@pytest.fixture
def output(shards, tmp_path):
    merge_shards(shards, tmp_path / "exp.db", engine="graft")
    return tmp_path / "exp.db"


def plans(output, **changes):
    """Return what was merged into an output, by its rows and some changes, as the check takes it."""
    changed = {
        tuple(name.split("__")): difference for name, difference in changes.items()
    }  # simulation__table
    return [
        SimpleNamespace(
            simulation_id=simulation_id,
            source=SimpleNamespace(simulations=("several", "simulations")),
            outcome=Outcome(simulation_id, output, "", Action.COPY, "", {
                table: counts(output, table)[simulation_id]
                + changed.get((simulation_id, table), 0)
                for table in DATA_TABLES
            }),
        )
        for simulation_id in "amz"
    ]  # fmt: skip


def test_rows_are_counted_by_simulation_where_a_file_holds_several(output):
    check_new_output(output, plans(output))
    with pytest.raises(DamagedGraftError, match=r"simulation '[am]': .* rows in the shards"):
        check_new_output(output, plans(output, a__agents=1, m__agents=-1))


def test_rows_of_nobody_are_found(output):
    query(output, "UPDATE agents SET simulation_id = 'x' WHERE simulation_id = 'z'")
    listed = plans(output)
    listed[-1].outcome.row_counts["agents"] = 0
    with pytest.raises(DamagedGraftError, match="simulation 'x': 0 rows in the shards, 20 in"):
        check_new_output(output, listed)


@pytest.mark.parametrize("change", EVERY_DAMAGE.values(), ids=EVERY_DAMAGE)
def test_damage_in_the_output_is_damage_of_the_graft(output, change):
    """Also where SQLite gives no verdict but an error: then nobody blames the disk."""
    listed = plans(output)
    change(raw := Raw(output))
    raw.save()
    with pytest.raises(DamagedGraftError):
        check_new_output(output, listed)


def test_the_check_leaves_the_file_as_it_was(output):
    """It hides a computed column for a while, and has to bring it back."""
    schema = query(output, "SELECT * FROM sqlite_schema")
    before = output.read_bytes()
    check_new_output(output, plans(output))
    assert query(output, "SELECT * FROM sqlite_schema") == schema
    assert output.stat().st_size == len(before)
    assert output.read_bytes()[512 * 20 :] == before[512 * 20 :]
    assert query(output, "PRAGMA integrity_check") == [("ok",)]
    assert query(output, "SELECT id FROM agent_states LIMIT 1") == [("a:agent_0-0",)]


@pytest.mark.parametrize(
    ("changes", "is_hidden"),
    [
        ([], True),
        (["CREATE INDEX by_id ON agent_states (simulation_id, id)"], False),
        (["ALTER TABLE agent_states ADD COLUMN mood TEXT CHECK (id <> 'x')"], False),
    ],
)
def test_computed_ids_are_hidden_while_rows_are_checked(output, changes, is_hidden):
    """SQLite would compute the id of every row; but not where another part of the schema needs it."""
    for statement in changes:
        query(output, statement)
    seen = []

    def look(partial):  # called when the check has begun
        seen.extend(query(partial, "SELECT sql FROM sqlite_schema WHERE name = 'agent_states'"))

    check_new_output(output, plans(output), look)
    ((text,),) = seen
    assert ("GENERATED" not in text) == is_hidden
    assert query(output, "PRAGMA integrity_check") == [("ok",)]
    assert query(output, "SELECT id FROM agent_states LIMIT 1") == [("a:agent_0-0",)]


def test_tables_with_more_columns_than_todays_are_checked(shards, tmp_path):
    query(shards[1], "ALTER TABLE agent_states ADD COLUMN mood TEXT")
    query(shards[1], "UPDATE agent_states SET mood = 'good'")
    output = tmp_path / "exp.db"
    merge_shards(shards, output, engine="graft")
    assert query(output, "PRAGMA integrity_check") == [("ok",)]
    moods = "SELECT simulation_id, mood, count(*) FROM agent_states GROUP BY 1, 2"
    assert query(output, moods) == [("a", None, 3000), ("m", "good", 3000), ("z", None, 3000)]
