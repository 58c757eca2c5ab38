"""Files of one merge that differ in what they declare."""

from __future__ import annotations

import shutil

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge import Action, merge_shards
from farm_merge.merge.inputs.file import fingerprint, look_at
from tests.conftest import query
from tests.merge import damage
from tests.merge.checks import ids, merge_checked, require_sound
from tests.merge.eras import write, write_era, write_rows


def test_missing_columns_become_null_and_new_ones_are_added(tmp_path):
    first = write_rows(
        tmp_path / "a.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, x, y DEFAULT 5)", "1, 2, 3"
    )
    second = write_rows(
        tmp_path / "b.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, x, z TEXT)", "1, 4, 'z'"
    )
    for output, sources in (("ab.db", (first, second)), ("ba.db", (second, first))):
        merge_checked(tmp_path / output, *sources)
        found = query(tmp_path / output, "SELECT simulation_id, x, y, z FROM t")
        assert found == [("a", 2, 3, None), ("b", 4, None, "z")]
    report = merge_checked(tmp_path / "append.db", first)
    report = merge_checked(tmp_path / "append.db", second)
    assert [outcome.action for outcome in report.simulations] == [Action.COPY]
    found = query(tmp_path / "append.db", "SELECT simulation_id, x, y, z FROM t")
    assert found == [("a", 2, 3, None), ("b", 4, None, "z")]


@pytest.mark.parametrize(
    "rows", [("1, '007'",), ("1, '7.0'", "2, 'x'"), ("1, 9007199254740993.0",)]
)
def test_a_foreign_column_whose_type_would_change_values_gets_no_type(tmp_path, rows):
    first = write_rows(
        tmp_path / "a.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER)", "1, 5"
    )
    second = write_rows(tmp_path / "b.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)", *rows)
    merge_checked(tmp_path / "exp.db", first, second)
    asked = "SELECT quote(v), typeof(v) FROM t WHERE simulation_id = 'b'"
    assert query(tmp_path / "exp.db", asked) == query(second, "SELECT quote(v), typeof(v) FROM t")


def test_a_type_that_changes_nothing_stays(tmp_path):
    first = write_rows(
        tmp_path / "a.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER)", "1, 5"
    )
    second = write_rows(
        tmp_path / "b.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)", "1, 'word'"
    )
    merge_checked(tmp_path / "exp.db", first, second)
    assert query(
        tmp_path / "exp.db", "SELECT type FROM pragma_table_info('t') WHERE name = 'v'"
    ) == [("INTEGER",)]


def test_a_column_of_the_output_loses_a_type_that_would_change_values(tmp_path):
    output = tmp_path / "exp.db"
    merge_checked(
        output,
        write_rows(tmp_path / "a.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v INTEGER)", "1, 5"),
    )
    second = write_rows(
        tmp_path / "b.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)", "1, '007'", "2, '08'"
    )
    merge_checked(output, second)
    assert query(output, "SELECT quote(v) FROM t") == [("5",), ("'007'",), ("'08'",)]


def test_a_column_of_the_output_that_holds_nothing_gets_the_type_of_its_first_values(tmp_path):
    output = tmp_path / "exp.db"
    merge_checked(
        output,
        write_rows(tmp_path / "a.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT)", "1, NULL"),
    )
    merge_checked(
        output,
        write_rows(tmp_path / "b.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v REAL)", "1, 0.5"),
    )
    assert query(output, "SELECT quote(v) FROM t") == [("NULL",), ("0.5",)]
    types = "SELECT type FROM pragma_table_info('t') WHERE name = 'v'"
    assert query(output, types) == [("REAL",)]
    query(output, "INSERT INTO t VALUES ('b', 2, '1')")  # others read the new declaration
    assert query(output, "SELECT quote(v) FROM t WHERE k = 2") == [("1.0",)]


def test_whole_numbers_of_a_real_column_stay_real_when_it_loses_its_type(tmp_path):
    """SQLite stores 1.0 as the integer 1 in a REAL column, in rows and in indexes."""
    create = "CREATE TABLE t (k INTEGER PRIMARY KEY, v {})"
    reals = write_rows(tmp_path / "reals.db", create.format("REAL"), "1, 1.0", "2, 0.5")
    query(reals, "CREATE INDEX by_value ON t (v)")
    whole = write_rows(tmp_path / "whole.db", create.format("INT"), "1, 1", "2, 3")
    for name, parts in (("whole.db", [[reals, whole]]), ("parts.db", [[reals], [whole]])):
        output = tmp_path / "outputs" / name
        output.parent.mkdir(exist_ok=True)
        for part in parts:
            merge_checked(output, *part)
        found = query(output, "SELECT quote(v) FROM t NOT INDEXED ORDER BY simulation_id, k")
        assert found == [("1.0",), ("0.5",), ("1",), ("3",)]
        found = query(
            output, "SELECT quote(v) FROM t INDEXED BY by_value ORDER BY simulation_id, v"
        )
        assert found == [("0.5",), ("1.0",), ("1",), ("3",)]


def test_a_table_takes_its_name_from_an_index_of_the_output(tmp_path):
    output = tmp_path / "exp.db"
    create = "CREATE TABLE t (k INTEGER PRIMARY KEY, v)"
    first = write(
        tmp_path / "a.db", create, "CREATE INDEX u ON t (v)", "INSERT INTO t VALUES (1, 2)"
    )
    merge_checked(output, first)
    for name, tables in (("b", [create, "CREATE TABLE u (x)"]), ("c", ["CREATE TABLE t_u (x)"])):
        merge_checked(
            output,
            write(
                tmp_path / f"{name}.db",
                *tables,
                f"INSERT INTO {tables[-1].split()[2]} VALUES (5)",
            ),
        )
    assert query(output, "SELECT x FROM u") == [(5,)]
    assert query(output, "SELECT x FROM t_u") == [(5,)]
    (index,) = query(
        output, "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = 't'"
    )
    assert index[0] not in {"u", "t_u"}


def test_a_strict_table_of_the_output_takes_what_other_files_have(tmp_path):
    """Whatever their types are, and whatever is STRICT."""
    output = tmp_path / "exp.db"
    for name, create, row in (
        ("a", "CREATE TABLE t (k INTEGER PRIMARY KEY, v INT, w ANY) STRICT", "1, 5, '007'"),
        ("b", "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT, w ANY) STRICT", "1, 'x', '1e3'"),
        ("c", "CREATE TABLE t (k INTEGER PRIMARY KEY, v, w, x VARCHAR)", "1, 0.5, '1.0', 'y'"),
        ("d", "CREATE TABLE t (k INTEGER PRIMARY KEY, z ANY) STRICT", "1, '08'"),
    ):
        merge_checked(output, write_rows(tmp_path / f"{name}.db", create, row))
    assert query(output, "SELECT quote(v), quote(w), quote(z) FROM t") == [
        ("5", "'007'", "NULL"),
        ("'x'", "'1e3'", "NULL"),
        ("0.5", "'1.0'", "NULL"),
        ("NULL", "NULL", "'08'"),
    ]


def test_a_column_of_todays_tables_with_another_type(make_shard, tmp_path):
    """The values decide: equal numbers are noted, others are a problem."""
    shard = make_shard("a")
    sql = query(shard, "SELECT sql FROM sqlite_schema WHERE name = 'simulation_steps'")[0][0]
    for name, value in (("whole", "3"), ("big", "9007199254740993"), ("text", "'1e3'")):
        other = tmp_path / f"{name}.db"
        shutil.copy(shard, other)
        query(other, "DROP TABLE simulation_steps")
        query(other, sql.replace("total_resources FLOAT", "total_resources BLOB"))
        query(other, f"INSERT INTO simulation_steps (simulation_id, step_number, total_resources)"
              f" VALUES ('a', 0, {value})")  # fmt: skip
    report = merge_checked(tmp_path / "exp.db", tmp_path / "whole.db")
    assert any(
        "1 numbers become equal numbers of type FLOAT" in detail for detail in report.details
    )
    found = query(tmp_path / "exp.db", "SELECT quote(total_resources) FROM simulation_steps")
    assert found == [("3.0",)]
    for name in ("big", "text"):
        with pytest.raises(ShardError, match="total_resources: 1 values would change"):
            merge_shards([tmp_path / f"{name}.db"], tmp_path / f"{name}-exp.db")


@pytest.mark.parametrize("other", ["k, v PRIMARY KEY", "k INT, v"])
def test_a_key_that_not_all_have_is_nobodys(tmp_path, other):
    first = write_rows(
        tmp_path / "a.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v)", "3, 5", "9, 6"
    )
    second = write_rows(tmp_path / "b.db", f"CREATE TABLE t ({other})", "1, 5")
    report = merge_checked(tmp_path / "exp.db", first, second)
    rows = [("a", 3, 3, 5), ("a", 9, 9, 6), ("b", 1, 1, 5)]
    assert query(tmp_path / "exp.db", "SELECT simulation_id, row_number, k, v FROM t") == rows
    assert any("numbered by row_number" in note for note in report.details)
    whole = tmp_path / "whole.db"
    merge_checked(tmp_path / "one.db", first)
    merge_checked(whole, tmp_path / "one.db", second)
    assert query(whole, "SELECT simulation_id, k, v FROM t") == [(a, k, v) for a, _, k, v in rows]


def test_a_key_that_the_output_has_stays_and_the_remedy_works(tmp_path):
    first = write_rows(tmp_path / "a.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v)", "1, 5")
    second = write_rows(tmp_path / "b.db", "CREATE TABLE t (k, v PRIMARY KEY)", "1, 5")
    output, new = tmp_path / "exp.db", tmp_path / "NEW.db"
    merge_checked(output, first)
    with pytest.raises(ShardError, match=rf"farm-merge {output} {second} -o NEW\.db"):
        merge_shards([second], output)
    merge_checked(new, output, second)
    assert query(new, "SELECT simulation_id, k, v FROM t") == [("a", 1, 5), ("b", 1, 5)]


def test_constraints_that_not_all_have_are_not_asked_of_all(tmp_path):
    strict = write_rows(
        tmp_path / "a.db",
        "CREATE TABLE t (k INTEGER PRIMARY KEY, v INT NOT NULL UNIQUE CHECK (v > 0)) STRICT",
        "1, 5",
    )
    loose = write_rows(
        tmp_path / "b.db",
        "CREATE TABLE t (k INTEGER PRIMARY KEY, v INT)",
        "1, NULL",
        "2, -1",
        "3, -1",
        "4, 'x'",
    )
    for name, sources in (("ab.db", (strict, loose)), ("ba.db", (loose, strict))):
        merge_checked(tmp_path / name, *sources)
        assert query(tmp_path / name, "SELECT count(*) FROM t") == [(5,)]


def test_an_output_asks_no_more_than_all_files_do(tmp_path):
    create = "CREATE TABLE t (k INTEGER PRIMARY KEY, v INT NOT NULL CHECK (v > 0))"
    output = tmp_path / "exp.db"
    merge_checked(output, write_rows(tmp_path / "a.db", create, "1, 5"))
    loose = "CREATE TABLE t (k INTEGER PRIMARY KEY, v INT)"
    merge_checked(output, write_rows(tmp_path / "b.db", loose, "1, NULL", "2, -1"))
    assert query(output, "SELECT v FROM t") == [(5,), (None,), (-1,)]


def test_what_is_unique_in_an_output_refuses_before_it_is_written(tmp_path):
    create = "CREATE TABLE t (k INTEGER PRIMARY KEY, v INT UNIQUE)"
    output = tmp_path / "exp.db"
    merge_checked(output, write_rows(tmp_path / "a.db", create, "1, 5"))
    before = output.read_bytes()
    good = write_rows(tmp_path / "good.db", create, "1, 5")
    loose = "CREATE TABLE t (k INTEGER PRIMARY KEY, v INT)"
    bad = write_rows(tmp_path / "twins.db", loose, "1, 5", "2, 5")
    with pytest.raises(ShardError, match=r"twins\.db: table t: .* constraint failed"):
        merge_shards([good, bad], output)
    assert output.read_bytes() == before
    merge_checked(output, write_rows(tmp_path / "fine.db", loose, "1, 9"))


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_column_that_is_computed_here_and_stored_there_is_stored(tmp_path, order):
    files = [
        write_rows(tmp_path / "a.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v AS (k + 1))"),
        write_rows(tmp_path / "b.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v)", "1, 7"),
    ]
    query(files[0], "INSERT INTO t (k) VALUES (4)")
    merge_checked(tmp_path / "exp.db", *(files[number] for number in order))
    assert query(tmp_path / "exp.db", "SELECT * FROM t") == [("a", 4, 5), ("b", 1, 7)]


def test_one_reference_that_others_lack_does_not_break_the_output(tmp_path):
    first = write(
        tmp_path / "a.db",
        "CREATE TABLE p (k INTEGER PRIMARY KEY, name TEXT UNIQUE)",
        "CREATE TABLE c (k INTEGER PRIMARY KEY, name TEXT REFERENCES p (name))",
        "INSERT INTO p VALUES (1, 'x')",
        "INSERT INTO c VALUES (1, 'x')",
    )
    second = write(
        tmp_path / "b.db",
        "CREATE TABLE p (k INTEGER PRIMARY KEY, name TEXT)",
        "INSERT INTO p VALUES (1, 'x'), (2, 'x')",
    )
    merge_checked(tmp_path / "exp.db", first, second)
    assert query(tmp_path / "exp.db", "PRAGMA foreign_key_check") == []


def test_a_shard_that_is_rewritten_is_read_whole_before(make_shard, tmp_path):
    """Where shards declare one column otherwise, it loses its type, and pages do not fit."""
    shards = [make_shard(name, steps=500) for name in "ab"]
    for shard, declared in zip(shards, ("REAL", "TEXT"), strict=True):
        query(shard, f"ALTER TABLE agents ADD COLUMN mood {declared}")
        query(shard, "UPDATE agents SET mood = '1.5'")
    merge_checked(tmp_path / "exp.db", *shards)
    assert query(tmp_path / "exp.db", "SELECT fingerprint FROM merged_shards ORDER BY 1") == sorted(
        (fingerprint(look_at(shard)),) for shard in shards
    )
    damage.damaged(shards[0], damage.empty_leaf)
    with pytest.raises(ShardError, match=r"a\.db: damaged"):
        merge_shards(shards, tmp_path / "other.db")


def test_legacy_and_shards_and_foreign_files_in_one_merge(make_shard, tmp_path):
    sources = [
        make_shard("shard"),
        write_era(tmp_path / "era3.db", 3),
        write_era(tmp_path / "era8.db", 8),
        write_rows(tmp_path / "foreign.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v)", "1, 1"),
    ]
    merge_checked(tmp_path / "exp.db", *sources)
    merge_checked(tmp_path / "again.db", *sources[::-1])
    merge_checked(tmp_path / "whole.db", tmp_path / "exp.db", tmp_path / "again.db")
    assert ids(tmp_path / "whole.db") == ["era3", "foreign", "shard", "sim_one"]


NOTES = (
    "CREATE TABLE notes (n INTEGER PRIMARY KEY, simulation TEXT REFERENCES simulations, note TEXT)"
)


@pytest.mark.parametrize("engine", ["attach", "graft"])
def test_a_table_that_a_user_made_in_the_output_stays_as_it_is(make_shard, tmp_path, engine):
    """It has no simulation_id, and refers to a table that no run has."""
    output = tmp_path / "exp.db"
    merge_shards([make_shard("a")], output)
    query(output, NOTES)
    query(output, "INSERT INTO notes VALUES (1, 'a', 'good')")
    merge_shards([make_shard("b")], output, engine=engine)
    require_sound(output)
    assert query(output, "SELECT sql FROM sqlite_schema WHERE name = 'notes'") == [(NOTES,)]
    assert query(output, "SELECT * FROM notes") == [(1, "a", "good")]
    other = make_shard("c")
    query(
        other, "CREATE TABLE notes (simulation_id, n, PRIMARY KEY (simulation_id, n)) WITHOUT ROWID"
    )
    with pytest.raises(ShardError, match="a table notes whose rows are no simulation's"):
        merge_shards([other], output, engine=engine)
    assert query(output, "SELECT * FROM notes") == [(1, "a", "good")]
