"""The tables of the output in which the rows of all inputs have their place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from farm_merge.errors import ShardError
from farm_merge.merge import plan_merge
from farm_merge.merge.plan.target import make_target
from farm_merge.merge.tables.structure import registry, today
from farm_merge.schema import DATA_TABLES, ddl, registry_ddl
from tests.conftest import query
from tests.merge.checks import merge_checked
from tests.merge.eras import write_rows
from tests.merge.values import FOLDER, output, shard, source, structure, table


def test_the_plan_shows_which_columns_are_added(tmp_path):
    merge_checked(
        tmp_path / "exp.db",
        write_rows(tmp_path / "a.db", "CREATE TABLE t (k INTEGER PRIMARY KEY)", "1"),
    )
    second = write_rows(
        tmp_path / "b.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, z TEXT)", "1, 'z'"
    )
    target = plan_merge([second], tmp_path / "exp.db").target
    assert [(table, column.name) for table, column in target.added_columns] == [("t", "z")]


def targeted(*sources, before=None, alone=True):
    sources = [it.remapped(it.traits._replace(alone=alone)) for it in sources]
    return make_target(sources, before or output(), alone=alone)


def there(*statements):
    """Return an output that has these tables beside the registry."""
    found = structure(*registry_ddl(), *statements, merged_form=True)
    return output("before", tables=found)


KEYED = "CREATE TABLE t (k INTEGER PRIMARY KEY, v)"
HAVE_T = table("k INTEGER PRIMARY KEY, v").create()


def test_a_new_output_of_shards_is_todays():
    target, misfits = targeted(shard("a.db"), shard("b.db"), alone=False)
    assert (target.want.tables, target.want.indexes) == (today().tables, today().indexes)
    assert (target.added_tables, target.added_columns, target.added_indexes) == ([], [], [])
    assert (target.notes, target.to_try, misfits) == ((), frozenset(), {})


def test_a_new_output_of_foreign_runs_has_their_tables_and_the_registry():
    target, _ = targeted(source("a.db", KEYED), source("b.db", "CREATE TABLE u (x)"))
    assert target.want.tables.keys() == {*registry().tables, "t", "u"}
    assert [it.name for it in target.added_tables] == ["t", "u"]
    assert [it.name for it in target.want.tables["u"].columns] == ["row_number", "x"]


def test_an_output_of_foreign_runs_gains_todays_tables():
    target, _ = targeted(shard("a.db"), before=there(HAVE_T), alone=False)
    assert target.want.tables.keys() == {*today().tables, "t"}
    assert {it.name for it in target.added_tables} == set(DATA_TABLES)


def test_files_that_differ_get_one_table():
    target, misfits = targeted(
        source("a.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v NOT NULL, w CHECK (w > 0))"),
        source("b.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, x TEXT, v)"),
    )
    columns = [str(it).replace('"', "") for it in target.want.tables["t"].columns]
    assert columns == ["k INTEGER", "v", "w CHECK (w > 0)", "x TEXT"]
    assert misfits == {}


def test_an_index_that_only_the_second_file_brings_comes_along():
    target, _ = targeted(
        source("a.db", KEYED), source("b.db", KEYED, "CREATE INDEX i ON t (v DESC) WHERE v > 0")
    )
    (index,) = target.want.indexes["t"]
    assert (index.name, index.terms, index.where) == ("i", ('"v" DESC',), "v > 0")
    assert target.added_indexes == [index]


@pytest.mark.parametrize(("both", "unique"), [(True, True), (False, False)])
def test_an_index_is_unique_where_all_files_have_it(both, unique):
    made = "CREATE UNIQUE INDEX i ON t (v)"
    other = source("b.db", KEYED, *([made.replace(" i ", " j ")] if both else []))
    target, _ = targeted(source("a.db", KEYED, made), other)
    (index,) = target.want.indexes["t"]
    assert index.unique == unique
    assert target.notes == (() if both else ("index i is not UNIQUE, since not all files have it",))


def test_an_index_of_the_output_is_loosened_where_a_file_lacks_it():
    before = there(HAVE_T, 'CREATE UNIQUE INDEX i ON t (simulation_id, "v")')
    target, _ = targeted(source("a.db", KEYED), before=before)
    (index,) = target.want.indexes["t"]
    assert not index.unique
    kept, _ = targeted(source("a.db", KEYED, "CREATE UNIQUE INDEX x ON t (v)"), before=before)
    assert kept.want.indexes["t"] == before.structure.indexes["t"]


def test_every_index_gets_a_name_that_nothing_else_has():
    target, _ = targeted(
        source("a.db", KEYED, "CREATE INDEX i ON t (v)", "CREATE TABLE t_i (k INT PRIMARY KEY)"),
        source("b.db", KEYED, "CREATE INDEX I ON t (k)", "CREATE TABLE u (k INT PRIMARY KEY)",
               "CREATE INDEX j ON u (k)"),
        source("c.db", "CREATE TABLE j (k INT PRIMARY KEY)"),
    )  # fmt: skip
    assert [it.name for it in target.want.indexes["t"]] == ["i", "t_I_2"]
    assert [it.name for it in target.want.indexes["u"]] == ["u_j"]


@pytest.mark.parametrize(
    ("statement", "before", "reason"),
    [
        ("CREATE TABLE t (k, v PRIMARY KEY)", [HAVE_T], "its key is"),
        (KEYED, ["CREATE VIEW T AS SELECT 1"], "the output has a view of that name"),
    ],
)
def test_what_an_output_cannot_take_is_refused_with_a_command_that_works(statement, before, reason):
    target, misfits = targeted(
        source("bad.db", statement),
        source("good.db", "CREATE TABLE u (x)"),
        before=there(*before),
    )
    (error,) = misfits.values()
    assert error.path == FOLDER / "bad.db"
    assert error.reason.startswith("table t: ")
    assert reason in error.reason
    command = f"farm-merge {FOLDER}/exp.db {FOLDER}/bad.db -o NEW.db"
    assert error.remedy == f"make a new one of both: {command}"
    assert "u" in target.want.tables


def test_among_inputs_the_remedy_is_another():
    _, misfits = targeted(
        source("a.db", KEYED), source("b.db", "CREATE TABLE t (k, v PRIMARY KEY)")
    )
    (error,) = misfits.values()
    assert (error.path, error.remedy) == (FOLDER / "b.db", "")


def test_another_models_table_under_a_name_of_ours_takes_no_rows_of_ours():
    before = there(table("id INTEGER PRIMARY KEY, mood", name="agents").create())
    _, misfits = targeted(shard("a.db"), before=before, alone=False)
    (error,) = misfits.values()
    assert error.reason == "table agents: the output has a table agents of another model"


def test_rows_that_an_output_could_refuse_are_tried():
    before = there(table("k INTEGER PRIMARY KEY, v, UNIQUE (v)").create())
    target, misfits = targeted(source("a.db", KEYED), source("b.db", "CREATE TABLE u (x)"),
                               before=before)  # fmt: skip
    assert target.to_try == {FOLDER / "a.db"}
    assert misfits == {}
    same = source("a.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v UNIQUE)")
    assert targeted(same, before=before)[0].to_try == frozenset()


def test_a_reference_that_nothing_unique_answers_any_more_is_not_declared():
    """Only in one of two files a name is unique, so it is not, and nothing can refer to it."""
    child = "CREATE TABLE c (k INTEGER PRIMARY KEY, name REFERENCES p (name))"
    target, _ = targeted(
        source("a.db", "CREATE TABLE p (k INTEGER PRIMARY KEY, name UNIQUE)", child),
        source("b.db", "CREATE TABLE p (k INTEGER PRIMARY KEY, name)"),
    )
    assert target.want.tables["c"].foreign_keys == ()
    assert any("table c: its references are not declared" in note for note in target.notes)


def test_a_shard_fits_where_its_rows_are_stored_as_they_are():
    plain = shard("a.db")
    foreign = source("f.db", KEYED)
    target, _ = targeted(plain, foreign, alone=False)
    assert target.fits(plain)
    assert not target.fits(foreign)
    renamed = plain.named(["another"])
    assert not target.fits(renamed)


def test_a_shard_with_a_type_that_the_output_does_not_have_does_not_fit():
    own = structure(*ddl(), table("k INTEGER PRIMARY KEY, v TEXT").create(), merged_form=True)
    other = structure(*ddl(), table("k INTEGER PRIMARY KEY, v").create(), merged_form=True)
    typed, free = shard("a.db", tables=own), shard("b.db", tables=other)
    target, _ = targeted(free, typed, alone=False)
    assert target.want.tables["t"].column("v").declared_type == ""
    assert target.fits(typed)  # a column without a type takes all as it is
    assert target.fits(free)
    before = output("x", tables=own)
    target, _ = targeted(typed, before=before, alone=False)
    assert target.fits(typed)
    assert not target.fits(free)


def test_a_shard_is_made_with_the_tables_of_its_file_alone():
    one, other = (
        source("a.db", KEYED, "CREATE INDEX i ON t (v)"),
        source("b.db", "CREATE TABLE u (x)"),
    )
    one, other = (it.remapped(it.traits._replace(alone=True)) for it in (one, other))
    target, _ = make_target([one, other], output(), alone=True)
    assert target.shard_tables(one.mapping) == [*registry_ddl(), target.want.tables["t"].create()]
    assert target.shard_indexes(one.mapping) == [target.want.indexes["t"][0].create()]
    assert target.shard_tables(other.mapping) == [*registry_ddl(), target.want.tables["u"].create()]
    assert target.shard_indexes(other.mapping) == []


@pytest.mark.parametrize(
    ("statement", "is_lean"),
    [
        ("CREATE INDEX i ON agents (simulation_id, genome_id)", True),
        ("ALTER TABLE agent_states ADD COLUMN mood", True),
        ("CREATE INDEX i ON agent_states (simulation_id, id)", False),
        ("ALTER TABLE agent_states ADD COLUMN short AS (substr(id, 1, 9))", False),
    ],
)
def test_a_shard_computes_ids_only_where_something_is_made_of_them(statement, is_lean):
    have = structure(*ddl(), statement, merged_form=True)
    one = shard("a.db")
    target, _ = targeted(one, before=output("before", tables=have), alone=False)
    made = structure(
        *target.shard_tables(one.mapping), *target.shard_indexes(one.mapping), merged_form=True
    )
    states, wanted = made.tables["agent_states"], target.want.tables["agent_states"]
    assert states.columns == (wanted.stored if is_lean else wanted.columns)
    assert states.create() == replace(wanted, columns=states.columns).create()


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize(("declared", "words"), [("", "without type"), ("TEXT", "TEXT")])
def test_a_column_that_gets_no_type_is_noted_with_what_files_declare(
    tmp_path, declared, words, is_there
):
    first = write_rows(tmp_path / "a.db", "CREATE TABLE t (k INTEGER PRIMARY KEY, v INT)", "1, 5")
    if is_there:
        merge_checked(tmp_path / "exp.db", first)
    second = write_rows(
        tmp_path / "b.db", f"CREATE TABLE t (k INTEGER PRIMARY KEY, V {declared})", "1, '007'"
    )
    plan = plan_merge([first, second], tmp_path / "exp.db")
    note = (
        f"table t, column V is declared {words} in {second}, elsewhere INT: it gets no type,"
        " since 1 values would change"
    )
    # A new column gets the type of the second file where the values of the first allow it.
    assert plan.target.notes == ((note,) if declared or is_there else ())
    assert plan.target.want.tables["t"].column("v").declared_type == ""


def test_values_that_todays_types_would_change_are_counted_and_refused(make_shard, tmp_path):
    """The note shows what the file declares, and that it declares nothing."""
    path = make_shard("a")
    ((sql,),) = query(path, "SELECT sql FROM sqlite_schema WHERE name = 'resource_states'")
    query(path, "DROP TABLE resource_states")
    query(path, sql.replace("amount FLOAT", "amount"))
    query(
        path,
        "INSERT INTO resource_states (simulation_id, id, amount) VALUES ('a', 1, '1e3'), ('a', 2, 7)",
    )
    with pytest.raises(
        ShardError,
        match="amount: 1 values would change: it is declared without type, in the output FLOAT",
    ):
        plan_merge([path], tmp_path / "exp.db")
    query(path, "DELETE FROM resource_states WHERE id = 1")
    (note,) = [it for it in plan_merge([path], tmp_path / "exp.db").details if "numbers" in it]
    assert "1 numbers become equal numbers of type FLOAT (declared without type)" in note
